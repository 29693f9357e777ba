"""What follows the end of a job, for each kind, in the transaction that ends it."""

from collections.abc import Callable, Mapping
from typing import Any

from sqlalchemy import update
from sqlalchemy.orm import Session

from heldout.kinds import JobKind
from heldout.lifecycle import JobStatus
from models.store import events
from models.tables import DatasetRow, JobRow

Error = dict[str, Any]


def _nothing_follows(session: Session, job: JobRow, status: JobStatus, error: Error | None) -> None:
    """The job's own row says all."""


def _reject_unchecked_dataset(session: Session, job: JobRow, status: JobStatus, error: Error | None) -> None:
    """A dataset whose check did not end well is rejected, so that it does not wait for its check for ever."""
    if status is JobStatus.SUCCEEDED:
        return
    why = {"member": None, **(error or {"code": "cancelled", "detail": "The check was called off."})}
    rejected = session.execute(
        update(DatasetRow)
        .where(DatasetRow.id == job.dataset_id, DatasetRow.status == "checking")
        .values(status="rejected", error=why)
        .returning(DatasetRow.id, DatasetRow.deleted_at)
        .execution_options(synchronize_session=False)
    ).one_or_none()
    # `dataset.deleted` is the last event of a dataset that was deleted while it was checked.
    if rejected is not None and rejected.deleted_at is None:
        events.add(session, rejected.id, "dataset.rejected", why["detail"], level="error", data={"error": why})


AFTER_END: Mapping[JobKind, Callable[[Session, JobRow, JobStatus, Error | None], None]] = {
    JobKind.TRAIN: _nothing_follows,
    JobKind.INGEST: _reject_unchecked_dataset,
}
