"""An entry of the audit log as its view."""

from heldout.views.audit_log import AuditEntryView
from models.tables import AuditRow


def audit_entry_view(row: AuditRow) -> AuditEntryView:
    """The entry as its owner sees it."""
    return AuditEntryView(
        id=row.id,
        object="audit_entry",
        action=row.action,
        subject=row.subject,
        key_id=row.key_id,
        address=row.address,
        request_id=row.request_id,
        created_at=row.created_at,
    )
