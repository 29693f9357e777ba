"""The one way in which a dataset's row changes its state."""

from typing import Any

from sqlalchemy import ColumnElement, update
from sqlalchemy.orm import Session

from heldout.dataset_lifecycle import DatasetEvent, DatasetStatus, RejectionCode, next_dataset_status
from models.tables import DatasetRow


def move_datasets(
    session: Session, status: DatasetStatus, event: DatasetEvent, *which: ColumnElement[bool], **values: Any
) -> list[str]:
    """Move the datasets that meet `which` and are in `status`, and write `values` with it.

    Gives the ids of those that were moved: one that has left `status` meanwhile is not among them.

    Raises:
        ImpossibleDatasetTransition: if the table of transitions has no such row.
    """
    moved = session.scalars(
        update(DatasetRow)
        .where(DatasetRow.status == status, *which)
        .values(status=next_dataset_status(status, event), **values)
        .returning(DatasetRow.id)
        .execution_options(synchronize_session=False)
    )
    return list(moved)


def rejection(code: RejectionCode, detail: str, member: str | None = None) -> dict[str, Any]:
    """The `error` of a rejected dataset."""
    return {"code": code.value, "detail": detail, "member": member}


def reject_ingested(session: Session, dataset_id: str | None, error: dict[str, Any] | None) -> None:
    """Reject a dataset whose ingest ended without images; nothing if it is not `checking` any more.

    `error` has `code`, `detail` and perhaps `member`; null if the ingest was cancelled.
    """
    why = error or rejection(RejectionCode.CANCELLED, "The ingest was cancelled.")
    move_datasets(
        session,
        DatasetStatus.CHECKING,
        DatasetEvent.REJECT,
        DatasetRow.id == dataset_id,
        error={"member": None, **why},
    )
