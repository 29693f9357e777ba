"""The audit log of an owner: who did what to what, from where."""

from typing import Annotated

from fastapi import Query

from api.http.auth import CallerDep
from api.http.deps import ReadSessionDep
from api.http.parameters import AskedPage, make_page_dependency
from api.http.problems import document_errors
from api.http.routing import make_router
from heldout.errors import InvalidCursor
from heldout.views.base import make_view
from heldout.views.key import AuditEntryView, AuditLogPage
from models.store import audit_log
from models.tables import AuditRow

router = make_router("/v1/audit", "audit", scope="admin")

Wanted = Annotated[str | None, Query(max_length=160)]


@router.get("", responses=document_errors(InvalidCursor))
def list_audit_log(
    caller: CallerDep,
    session: ReadSessionDep,
    asked: Annotated[AskedPage, make_page_dependency("aud")],
    action: Wanted = None,
    key: Wanted = None,
    subject: Wanted = None,
) -> AuditLogPage:
    """What was changed of this owner's, newest first. Requests that only read are not in it, nor those refused."""
    rows, more = audit_log.list_page(
        session, caller.owner, after=asked.after, limit=asked.limit, action=action, key_id=key, subject=subject
    )
    return AuditLogPage(
        object="list",
        data=[audit_entry_view(row) for row in rows],
        has_more=more,
        next=rows[-1].id if more else None,
    )


def audit_entry_view(row: AuditRow) -> AuditEntryView:
    """The entry as its owner sees it."""
    return make_view(AuditEntryView, row, object="audit_entry")
