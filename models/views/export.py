"""Exports of a job as their views."""

from collections.abc import Iterable

from heldout.stored.artifacts import ExportFormat
from heldout.views.export import ExportErrorView, ExportList, ExportReportView, ListedExportView
from models.tables import ExportRow


def export_list(job_id: str, rows: Iterable[ExportRow]) -> ExportList:
    """Every format, in order, with what is known of it."""
    known = {row.format: row for row in rows}
    return ExportList(data=[_listed(job_id, format_, known.get(format_)) for format_ in ExportFormat])


def _listed(job_id: str, format_: ExportFormat, row: ExportRow | None) -> ListedExportView:
    return ListedExportView(
        job_id=job_id,
        format=format_,
        status="absent" if row is None else row.status,
        error=ExportErrorView.model_validate(row.error) if row is not None and row.error else None,
        report=ExportReportView.model_validate(row.report) if row is not None and row.report else None,
    )
