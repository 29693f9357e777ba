"""The registry of kinds: what sets the jobs of each kind apart in the database."""

from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import ValidationError

from heldout.json_pointer import pointer_to
from heldout.kinds import IngestSpec, JobKind, WorkSpec
from heldout.spec import Device, JobSpec
from models.tables import JobRow


@dataclass(frozen=True)
class Kind:
    """One kind of background work.

    What runs its jobs is in worker/supervision/runners.py, what follows their end in models/store/job_ends.py.
    """

    spec: type[WorkSpec]  # what `jobs.spec` holds
    devices: frozenset[Device]  # that its jobs may have
    is_listed: bool  # whether clients see its jobs: under /v1/jobs and through webhooks
    success_message: str  # of the event `job.succeeded`


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


KINDS: Mapping[JobKind, Kind] = {
    JobKind.TRAIN: Kind(
        spec=JobSpec,
        devices=frozenset({"auto", "cpu", "gpu"}),
        is_listed=True,
        success_message="Trained and measured.",
    ),
    JobKind.INGEST: Kind(
        spec=IngestSpec,
        devices=frozenset({"cpu"}),
        is_listed=False,
        success_message="Ingested.",
    ),
}

LISTED_KINDS = tuple(kind for kind, about in KINDS.items() if about.is_listed)
