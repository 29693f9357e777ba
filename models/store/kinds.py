"""The registry of kinds: what sets the jobs of each kind apart in the database."""

from collections.abc import Mapping
from dataclasses import dataclass

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


def spec_of(job: JobRow) -> WorkSpec:
    """What the job is asked to do.

    Raises:
        pydantic.ValidationError: the stored spec is not one that this release understands.
    """
    return KINDS[job.kind].spec.model_validate(job.spec)


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
        success_message="Checked.",
    ),
}

LISTED_KINDS = tuple(kind for kind, about in KINDS.items() if about.is_listed)
