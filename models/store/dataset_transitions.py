"""The only functions that change a dataset's status; each change also writes an event."""

from typing import Any

from sqlalchemy import ColumnElement, update
from sqlalchemy.orm import Session

from heldout.lifecycle.dataset import DatasetEvent, DatasetStatus, RejectionCode, next_dataset_status
from models.store import events
from models.tables import DatasetRow


def move_datasets(
    session: Session,
    status: DatasetStatus,
    event: DatasetEvent,
    *which: ColumnElement[bool],
    message: str,
    data: dict[str, Any] | None = None,
    **values: Any,
) -> list[str]:
    """Move the datasets that meet `which` and are in `status`, write `values` with it, and tell of each in an event.

    Gives the ids of those that were moved, in order: one that has left `status` meanwhile is not among them.

    Args:
        message, data: of the event `dataset.<status>`.
    Raises:
        ImpossibleDatasetTransition: if the table of transitions has no such row.
    """
    after = next_dataset_status(status, event)
    moved = session.execute(
        update(DatasetRow)
        .where(DatasetRow.status == status, *which)
        .values(status=after, **values)
        .returning(DatasetRow.id, DatasetRow.deleted_at)
        .execution_options(synchronize_session=False)
    ).all()
    for dataset_id, deleted_at in sorted(moved, key=lambda row: row.id):
        # `dataset.deleted` is the last event of a dataset that was deleted during its ingest.
        if deleted_at is None:
            level: events.Level = "error" if after is DatasetStatus.REJECTED else "info"
            events.add(session, dataset_id, f"dataset.{after.value}", message, level=level, data=data)
    return sorted(row.id for row in moved)


def reject_datasets(
    session: Session,
    status: DatasetStatus,
    event: DatasetEvent,
    *which: ColumnElement[bool],
    error: dict[str, Any],
    **values: Any,
) -> list[str]:
    """Move datasets to `rejected`. `error` is what `rejection` makes. Gives their ids as `move_datasets` does."""
    data = {"error": error}
    return move_datasets(session, status, event, *which, message=error["detail"], data=data, error=error, **values)


def rejection(code: RejectionCode, detail: str, member: str | None = None) -> dict[str, Any]:
    """The `error` of a rejected dataset."""
    return {"code": code.value, "detail": detail, "member": member}


def reject_ingested(session: Session, dataset_id: str | None, error: dict[str, Any] | None) -> None:
    """Reject a dataset whose ingest ended without images; nothing if it is not `checking` any more.

    `error` has `code`, `detail` and perhaps `member`; null if the ingest was cancelled.
    """
    why = error or rejection(RejectionCode.CANCELLED, "The ingest was cancelled.")
    reject_datasets(
        session,
        DatasetStatus.CHECKING,
        DatasetEvent.REJECT,
        DatasetRow.id == dataset_id,
        error={"member": None, **why},
    )
