"""Finds what a new job starts from, and gives it its own copies of the files and their facts.

The files are copies in the store, so the job they come from can be deleted.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from sqlalchemy import insert

from analysis.jobs.initial import Initial, Weights
from heldout.errors import HeldoutError, InvalidSpec, JobNotFound, SpecUnreadable, StateGone
from heldout.lifecycle.job import TERMINAL, get_shown_status
from heldout.lifecycle.resources import ModelFormat
from heldout.spec.backbone import OWN_POINTER, POINTER, Backbone
from heldout.spec.job import InitialSpec
from heldout.spec.layers import plan_network
from heldout.spec.model_facts import WITHOUT_WEIGHTS
from heldout.stored.artifacts import ArtifactFormat, ArtifactName
from models.backbones import BackboneSource, get_usable_model
from models.blobs import Blobs, raise_if_missing
from models.database import Session, db_now
from models.specs import read_training_spec
from models.store import artifacts, events, jobs, metrics
from models.store.artifacts import Artifact
from models.store.claims import Checkpoint
from models.store.new_jobs import Origin
from models.tables import AttemptRow, CheckpointRow, EpochRow, JobRow

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
    return InvalidSpec.at(f"/initial/{kind}", detail)


@dataclass(frozen=True)
class Continuation:
    """A job that has ended, and its last state, from which the new job continues."""

    ended: JobRow
    state: Checkpoint


@dataclass(frozen=True)
class Start:
    """What a job starts from: weights of another job, an uploaded backbone, a job's state, or nothing."""

    source: InitialSource | None = None
    initial: Initial | None = None
    backbone: BackboneSource | None = None
    continued: Continuation | None = None

    @property
    def origin(self) -> Origin:
        """The origin for the job's row and its first event."""
        origin = Origin()
        if self.initial is not None:
            origin = Origin(
                initial=self.initial.to_json(),
                message=self.initial.in_words,
                event_data={"initial": self.initial.event_data},
            )
        if self.backbone is not None:
            origin = replace(origin, backbone=self.backbone.backbone.to_json())
        if self.continued is None:
            return origin
        ended, state = self.continued.ended, self.continued.state
        return replace(
            origin,
            epoch=state.epoch,
            continues=(*(ended.continues or ()), {"job": ended.id, "epoch": state.epoch}),
            message=f"Continues from the state of {ended.id} after epoch {state.epoch}.",
            event_data={**origin.event_data, "continues": {"job": ended.id, "epoch": state.epoch, "step": state.step}},
        )


@contextmanager
def copy_files(blobs: Blobs, folder: str, start: Start) -> Iterator[Start]:
    """Copy the files for a new job. The copies are deleted again if the block fails.

    Args:
        folder: the folder in the blob store of the job or study that the copies belong to.
    Raises:
        StateGone, InvalidSpec: if the source was deleted in the meantime.
        StorageUnavailable.
    """
    made = list[str]()

    def copy(key: str, name: str, gone: HeldoutError) -> str:
        made.append(f"{folder}/{name}")
        with raise_if_missing(gone):
            blobs.copy(key, made[-1])
        return made[-1]

    try:
        if (source := start.source) is not None:
            detail = f"The weights of {source.weights.source} no longer exist."
            key = copy(source.file.key, "initial.keras", make_refusal(detail, source.weights.kind))
            file = replace(source.file, name=ArtifactName.INITIAL, key=key)
            start = replace(start, source=replace(source, file=file))
        if (backbone := start.backbone) is not None:
            key = copy(backbone.file.key, "backbone.keras", _make_backbone_gone(backbone.backbone))
            start = replace(start, backbone=replace(backbone, file=replace(backbone.file, key=key)))
        if (continued := start.continued) is not None:
            state, name = continued.state, f"checkpoint-{continued.state.epoch:05d}-{continued.state.step:08d}.ckpt"
            key = copy(state.key, name, StateGone(continued.ended.id))
            start = replace(start, continued=replace(continued, state=replace(state, key=key)))
        yield start
    except BaseException:
        for key in made:
            blobs.delete(key)
        raise


def _make_backbone_gone(backbone: Backbone) -> InvalidSpec:
    detail = f"The file of {backbone.model} no longer exists. Upload it again."
    pointer = f"{POINTER if len(backbone.gives) == 3 else OWN_POINTER}/model"
    return InvalidSpec.at(pointer, detail)


def get_folder_of_start(job_id: str) -> str:
    """Get the folder of the files that a job has before its first attempt."""
    return f"jobs/{job_id}/{BEFORE_ATTEMPTS}"


def add_start(session: Session, job_id: str, start: Start) -> None:
    """Write what a new job starts from. Its row must exist."""
    if start.source is not None and start.initial is not None:
        artifacts.add(session, job_id, BEFORE_ATTEMPTS, [start.source.file])
        if start.initial.is_little:
            count = len(start.initial.taken) + len(start.initial.new)
            source = start.initial.weights.source
            text = (
                f"Only {len(start.initial.taken)} of {count} layers start from {source}. The others start "
                f"with random weights: {', '.join(start.initial.new)}."
            )
            events.add(session, job_id, "job.warning", text, level="warning", data=start.initial.event_data)
    if start.backbone is not None:
        artifacts.add(session, job_id, BEFORE_ATTEMPTS, [start.backbone.file])
    if start.continued is not None:
        _add_state(session, job_id, start.continued)


def _add_state(session: Session, job_id: str, continued: Continuation) -> None:
    """Add the state as a checkpoint of an attempt before the first one, with its epochs."""
    state, attempt = continued.state, {"job_id": job_id, "attempt": BEFORE_ATTEMPTS}
    session.execute(insert(AttemptRow).values(**attempt, worker="", start_epoch=0, started_at=db_now()))
    place = {"epoch": state.epoch, "step": state.step, "key": state.key}
    session.execute(insert(CheckpointRow).values(**attempt, **place, created_at=db_now()))
    figures = [column.key for column in EpochRow.__mapper__.column_attrs if column.key not in attempt]
    done = [
        {**attempt, **{name: getattr(row, name) for name in figures}}
        for row in metrics.list_epochs(session, continued.ended.id)
        if row.epoch <= state.epoch
    ]
    if done:
        session.execute(insert(EpochRow), done)
