"""Finds the weights that a job starts from: another job's, an uploaded model's, or a copy of them."""

from dataclasses import dataclass

from analysis.jobs.initial import Weights
from heldout.errors import FieldError, InvalidSpec, JobNotFound, SpecUnreadable
from heldout.lifecycle.job import TERMINAL, get_shown_status
from heldout.lifecycle.model import ModelFormat
from heldout.spec.job import InitialSpec
from heldout.spec.layers import plan_network
from heldout.spec.model_facts import WITHOUT_WEIGHTS
from heldout.stored.artifacts import ArtifactFormat, ArtifactName
from models.backbones import get_usable_model
from models.database import Session
from models.specs import read_training_spec
from models.store import artifacts, jobs
from models.store.artifacts import Artifact
from models.tables import JobRow

# The attempt number of files that a job has before its first attempt.
BEFORE_ATTEMPTS = 0


@dataclass(frozen=True)
class InitialSource:
    """Weights that a job can start from, and the file that holds them."""

    weights: Weights
    file: Artifact


def find_source(session: Session, owner: str, asked: InitialSpec, ended: JobRow | None = None) -> InitialSource:
    """Find the weights that a spec names.

    Args:
        ended: the job that is run again. If it started from the same weights, its copy is used, because their source
            may have been deleted.
    Raises:
        InvalidSpec.
    """
    kind = "model" if asked.job is None else "job"
    if ended is not None and (ended.initial or {}).get(kind) == getattr(asked, kind):
        own = artifacts.find(session, ended.id, ArtifactName.INITIAL, ArtifactFormat.KERAS)
        if own is not None:
            return InitialSource(Weights.from_json(ended.initial or {}), own)
    if asked.job is None:
        return _get_model_source(session, owner, asked.model or "")
    try:
        row, dataset = jobs.find_with_dataset(session, owner, asked.job)
        spec = read_training_spec(row)
    except (JobNotFound, SpecUnreadable) as error:
        raise make_refusal(error.detail) from error
    if row.status not in TERMINAL:
        status = get_shown_status(row.status, row.request)
        raise make_refusal(f"Job {row.id} is {status}. Its weights can be used once it has ended.")
    file = artifacts.find_model(session, row)
    if file is None or dataset.shape is None or dataset.classes is None:
        raise make_refusal(f"Job {row.id} is {row.status.value} and has no model to start from.")
    height, width, channels = dataset.shape
    if spec.network.uploaded_model is not None:
        has = "an own network" if spec.network.backbone is None else "a backbone"
        raise make_refusal(f"Job {row.id} has {has}. Its layers only fit into that network, not into other ones.")
    plan = plan_network(spec.network, (height, width, channels), len(dataset.classes))
    return InitialSource(Weights.of(row.id, plan, dataset.classes), file)


def _get_model_source(session: Session, owner: str, model_id: str) -> InitialSource:
    row, facts = get_usable_model(session, owner, model_id, "/initial/model")
    if facts.format is not ModelFormat.KERAS:
        raise make_refusal(
            f"Model {model_id} is an ONNX file, whose weights have no layers. Upload a .keras file.", "model"
        )
    if not facts.weights:
        raise make_refusal(f"{WITHOUT_WEIGHTS} To start from weights, upload the `.keras` file.", "model")
    file = Artifact(ArtifactName.INITIAL, ArtifactFormat.KERAS, row.key, row.size_bytes, row.sha256)
    return InitialSource(Weights.of_model(row.id, facts), file)


def make_refusal(detail: str, kind: str = "job") -> InvalidSpec:
    """Make a refusal of the job or model that `initial` names. kind: `job` or `model`."""
    return InvalidSpec(f"/initial/{kind}: {detail}", errors=[FieldError(f"/initial/{kind}", detail)])
