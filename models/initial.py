"""Finds the weights that a job is to start from: those that another job of its owner has kept, or a copy of them."""

from dataclasses import dataclass

from heldout.errors import FieldError, InvalidSpec, JobNotFound, NotSupported, SpecUnreadable
from heldout.initial import Weights
from heldout.layers import plan_network
from heldout.lifecycle import TERMINAL, shown_status
from heldout.spec import InitialSpec
from heldout.stored.artifacts import ArtifactFormat, ArtifactName
from models.database import Session
from models.specs import training_spec_of
from models.store import artifacts, jobs
from models.store.artifacts import Artifact
from models.tables import JobRow

# Of the files that a job has before its first attempt.
BEFORE_ATTEMPTS = 0


@dataclass(frozen=True)
class Source:
    """Weights that a job can start from, and the file that holds them."""

    weights: Weights
    file: Artifact


def find_source(session: Session, owner: str, asked: InitialSpec, ended: JobRow | None = None) -> Source:
    """The weights that a spec names.

    Args:
        ended: the job that is done again. If it started from the same weights, its own copy of them is taken: the job
            that they came from may be deleted by now.
    Raises:
        NotSupported, InvalidSpec.
    """
    if asked.job is None:
        raise NotSupported("/initial/model", "Models cannot be uploaded yet. Name a job of yours in `initial.job`.")
    if ended is not None and (ended.initial or {}).get("job") == asked.job:
        own = artifacts.find(session, ended.id, ArtifactName.INITIAL, ArtifactFormat.KERAS)
        if own is not None:
            return Source(Weights.from_json(ended.initial or {}), own)
    try:
        row, dataset = jobs.find_with_dataset(session, owner, asked.job)
        spec = training_spec_of(row)
    except (JobNotFound, SpecUnreadable) as error:
        raise refused(error.detail) from error
    if row.status not in TERMINAL:
        status = shown_status(row.status, row.request)
        raise refused(f"Job {row.id} is {status}. Its weights can be taken once it has ended.")
    file = artifacts.model_of(session, row)
    if file is None or dataset.shape is None or dataset.classes is None:
        raise refused(f"Job {row.id} is {row.status.value} and has left no model to start from.")
    height, width, channels = dataset.shape
    plan = plan_network(spec.network, (height, width, channels), len(dataset.classes))
    return Source(Weights.of(row.id, plan, dataset.classes), file)


def refused(detail: str) -> InvalidSpec:
    """A refusal of the job that `initial` names."""
    return InvalidSpec(f"/initial/job: {detail}", errors=[FieldError("/initial/job", detail)])
