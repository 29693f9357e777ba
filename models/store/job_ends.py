"""What follows the end of a job, for each kind, in the transaction that ends it."""

from collections.abc import Callable, Mapping
from typing import Any

from sqlalchemy.orm import Session

from heldout.kinds import JobKind
from heldout.lifecycle import JobStatus
from models.store.dataset_transitions import reject_ingested
from models.tables import JobRow

Error = dict[str, Any]


def _nothing_follows(session: Session, job: JobRow, status: JobStatus, error: Error | None) -> None:
    """The job's own row says all."""


def _reject_dataset(session: Session, job: JobRow, status: JobStatus, error: Error | None) -> None:
    """A dataset whose ingest did not end well is rejected, so that it does not wait for it for ever."""
    if status is not JobStatus.SUCCEEDED:
        reject_ingested(session, job.dataset_id, error)


AFTER_END: Mapping[JobKind, Callable[[Session, JobRow, JobStatus, Error | None], None]] = {
    JobKind.TRAIN: _nothing_follows,
    JobKind.INGEST: _reject_dataset,
}
