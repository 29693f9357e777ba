"""The registry of kinds: what sets the jobs of each kind apart in the database."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError
from sqlalchemy import update
from sqlalchemy.orm import Session

from heldout.json_pointer import pointer_to
from heldout.kinds import IngestSpec, JobKind, WorkSpec
from heldout.lifecycle import JobStatus
from heldout.spec import Device, JobSpec
from models.tables import DatasetRow, JobRow

Error = dict[str, Any]


@dataclass(frozen=True)
class Kind:
    """One kind of background work. What runs its jobs is in worker/supervision/runners.py."""

    spec: type[WorkSpec]  # what `jobs.spec` holds
    devices: frozenset[Device]  # that its jobs may have
    is_listed: bool  # whether clients see its jobs: under /v1/jobs and through webhooks
    success_message: str  # of the event `job.succeeded`
    after_end: Callable[[Session, JobRow, JobStatus, Error | None], None]  # in the transaction that ends a job


class SpecUnreadable(Exception):
    """The stored spec of a job is not one that this release understands."""

    def __init__(self, error: ValidationError) -> None:
        first = error.errors(include_url=False)[0]
        self.detail = (
            "The stored spec is not one that this release understands "
            f"({pointer_to(first['loc'])}: {first['msg']}). Submit a new job."
        )
        super().__init__(self.detail)


def spec_of(job: JobRow) -> WorkSpec:
    """What the job is asked to do. Raises SpecUnreadable."""
    try:
        return KINDS[job.kind].spec.model_validate(job.spec)
    except ValidationError as error:
        raise SpecUnreadable(error) from error


def _nothing_follows(session: Session, job: JobRow, status: JobStatus, error: Error | None) -> None:
    """The job's own row says all."""


def _reject_unchecked_dataset(session: Session, job: JobRow, status: JobStatus, error: Error | None) -> None:
    """A dataset whose check did not end well is rejected, so that it does not wait for its check for ever."""
    if status is JobStatus.SUCCEEDED:
        return
    why = error or {"code": "cancelled", "detail": "The check was called off."}
    session.execute(
        update(DatasetRow)
        .where(DatasetRow.id == job.dataset_id, DatasetRow.status == "checking")
        .values(status="rejected", error={"member": None, **why})
        .execution_options(synchronize_session=False)
    )


KINDS: Mapping[JobKind, Kind] = {
    JobKind.TRAIN: Kind(
        spec=JobSpec,
        devices=frozenset({"auto", "cpu", "gpu"}),
        is_listed=True,
        success_message="Trained and measured.",
        after_end=_nothing_follows,
    ),
    JobKind.INGEST: Kind(
        spec=IngestSpec,
        devices=frozenset({"cpu"}),
        is_listed=False,
        success_message="Checked.",
        after_end=_reject_unchecked_dataset,
    ),
}

LISTED_KINDS = tuple(kind for kind, about in KINDS.items() if about.is_listed)
