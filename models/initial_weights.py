"""Finds what a new job starts from: weights, a state, or an uploaded model, and gives it its own copies of the files.

The files are copies in the store, so the job or model that they come from can be deleted.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from sqlalchemy import insert

from analysis.jobs.initial import Initial, Weights
from heldout.errors import (
    HeldoutError,
    InvalidSpec,
    JobNotFound,
    ModelNotFound,
    ModelUnavailable,
    SpecModelNotFound,
    SpecUnreadable,
    StateGone,
)
from heldout.lifecycle.job import TERMINAL, get_shown_status
from heldout.lifecycle.resources import ModelFormat
from heldout.spec.backbone import OWN_POINTER, POINTER, Backbone, make_backbone, make_own_network
from heldout.spec.job import InitialSpec
from heldout.spec.layers import plan_network
from heldout.spec.model_facts import WITHOUT_WEIGHTS, MapLayer, ModelFacts, NetworkFacts
from heldout.spec.network import AnyNetworkSpec, OwnNetworkSpec
from heldout.stored.artifacts import ArtifactFormat, ArtifactName
from models.blobs import Blobs, raise_if_missing
from models.database import Session, db_now
from models.specs import read_training_spec
from models.store import artifacts, events, jobs, metrics, models
from models.store.artifacts import Artifact
from models.store.claims import Checkpoint
from models.store.datasets import ReadyDataset
from models.store.new_jobs import Provenance
from models.tables import AttemptRow, CheckpointRow, EpochRow, JobRow, ModelRow


@dataclass(frozen=True)
class BackboneSource:
    """An uploaded network, its facts, and its file.

    layers: name, shape and parameters of each layer. Empty if only a copy is left.
    """

    backbone: Backbone
    file: Artifact
    layers: tuple[MapLayer, ...] = ()


def find_backbone(
    session: Session, owner: str, network: AnyNetworkSpec, dataset: ReadyDataset, ended: JobRow | None = None
) -> BackboneSource | None:
    """Find the model that a network needs; None if it needs none.

    Args:
        dataset: the dataset that the network is trained on.
        ended: the job that is run again. If it has the same model, its copy is used, because the model may have been
            deleted.
    Raises:
        SpecModelNotFound, ModelUnavailable, InvalidSpec.
    """
    if network.uploaded_model is None:
        return None
    copied = _find_copy(session, network, dataset, ended)
    if copied is not None:
        return copied
    pointer = OWN_POINTER if isinstance(network, OwnNetworkSpec) else POINTER
    row, facts = get_usable_model(session, owner, network.uploaded_model, f"{pointer}/model")
    file = Artifact(ArtifactName.BACKBONE, ArtifactFormat.KERAS, row.key, row.size_bytes, row.sha256)
    if isinstance(network, OwnNetworkSpec):
        made, own_layers = make_own_network(network, facts, dataset.image, len(dataset.classes))
        return BackboneSource(made, file, own_layers)
    assert network.backbone is not None
    made, layers = make_backbone(network.backbone, facts, dataset.image)
    return BackboneSource(made, file, layers)


def find_network_facts(session: Session, owner: str, model_id: str | None) -> NetworkFacts | None:
    """Find what is known about the uploaded model that a job trains. None for other networks, and if it was deleted."""
    try:
        return None if model_id is None else get_usable_model(session, owner, model_id)[1].network
    except (SpecModelNotFound, ModelUnavailable):
        return None


def _find_copy(
    session: Session, network: AnyNetworkSpec, dataset: ReadyDataset, ended: JobRow | None
) -> BackboneSource | None:
    if ended is None or ended.backbone is None:
        return None
    known = Backbone.from_json(ended.backbone)
    file = artifacts.find(session, ended.id, ArtifactName.BACKBONE, ArtifactFormat.KERAS)
    if file is None or known.model != network.uploaded_model:
        return None
    if isinstance(network, OwnNetworkSpec):
        # Its counts hold for the same request on the same images only. Neither dropout nor a penalty changes them.
        uncounted = {"dropout": network.dropout, "l2": network.l2}
        had = read_training_spec(ended).network.model_copy(update=uncounted)
        is_same = ended.dataset_id == dataset.row.id and had == network
        return BackboneSource(known, file) if is_same else None
    asked = network.backbone
    if known.size is not None and (asked and asked.size) not in {None, known.size}:
        return None  # its cost at another size is in the model's facts
    # Unless the spec sets the pixels' range, the range detected then still applies.
    return BackboneSource(replace(known, pixels=(asked and asked.pixels) or known.pixels), file)


def get_usable_model(
    session: Session, owner: str, model_id: str, pointer: str = "/model"
) -> tuple[ModelRow, ModelFacts]:
    """Find the owner's model and the facts from its file.

    Args:
        pointer: the place in the request that names the model.
    Raises:
        SpecModelNotFound, ModelUnavailable.
    """
    try:
        row = models.find(session, owner, model_id)
    except ModelNotFound:
        raise SpecModelNotFound(model_id, pointer) from None
    facts = models.get_facts(row)
    if facts is None:
        raise ModelUnavailable(row.id, row.status.value, pointer, row.name if row.owner is None else None)
    return row, facts


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
class InitialState:
    """What a job starts from: weights of another job, an uploaded backbone, a job's state, or nothing."""

    source: InitialSource | None = None
    initial: Initial | None = None
    backbone: BackboneSource | None = None
    continued: Continuation | None = None

    @property
    def provenance(self) -> Provenance:
        """The provenance for the job's row and its first event."""
        provenance = Provenance()
        if self.initial is not None:
            provenance = Provenance(
                initial=self.initial.to_json(),
                message=self.initial.in_words,
                event_data={"initial": self.initial.event_data},
            )
        if self.backbone is not None:
            provenance = replace(provenance, backbone=self.backbone.backbone.to_json())
        if self.continued is None:
            return provenance
        ended, state = self.continued.ended, self.continued.state
        return replace(
            provenance,
            epoch=state.epoch,
            continues=(*(ended.continues or ()), {"job": ended.id, "epoch": state.epoch}),
            message=f"Continues from the state of {ended.id} after epoch {state.epoch}.",
            event_data={
                **provenance.event_data,
                "continues": {"job": ended.id, "epoch": state.epoch, "step": state.step},
            },
        )


@contextmanager
def copy_files(blobs: Blobs, folder: str, initial_state: InitialState) -> Iterator[InitialState]:
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
        if (source := initial_state.source) is not None:
            detail = f"The weights of {source.weights.source} no longer exist."
            key = copy(source.file.key, "initial.keras", make_refusal(detail, source.weights.kind))
            file = replace(source.file, name=ArtifactName.INITIAL, key=key)
            initial_state = replace(initial_state, source=replace(source, file=file))
        if (backbone := initial_state.backbone) is not None:
            known = backbone.backbone
            pointer = POINTER if len(known.gives) == 3 else OWN_POINTER
            cure = (
                "Upload it again." if known.model.startswith("mod_") else "The operator can restore it from a backup."
            )
            detail = f"The file of {known.model} no longer exists. {cure}"
            key = copy(backbone.file.key, "backbone.keras", InvalidSpec.at(f"{pointer}/model", detail))
            initial_state = replace(initial_state, backbone=replace(backbone, file=replace(backbone.file, key=key)))
        if (continued := initial_state.continued) is not None:
            state, name = continued.state, f"checkpoint-{continued.state.epoch:05d}-{continued.state.step:08d}.ckpt"
            key = copy(state.key, name, StateGone(continued.ended.id))
            initial_state = replace(initial_state, continued=replace(continued, state=replace(state, key=key)))
        yield initial_state
    except BaseException:
        for key in made:
            blobs.delete(key)
        raise


def add_initial_state(session: Session, job_id: str, initial_state: InitialState) -> None:
    """Write what a new job starts from. Its row must exist."""
    if initial_state.source is not None and initial_state.initial is not None:
        artifacts.add(session, job_id, BEFORE_ATTEMPTS, [initial_state.source.file])
        if initial_state.initial.is_little:
            count = len(initial_state.initial.taken) + len(initial_state.initial.new)
            source = initial_state.initial.weights.source
            text = (
                f"Only {len(initial_state.initial.taken)} of {count} layers start from {source}. The others start "
                f"with random weights: {', '.join(initial_state.initial.new)}."
            )
            events.add(session, job_id, "job.warning", text, level="warning", data=initial_state.initial.event_data)
    if initial_state.backbone is not None:
        artifacts.add(session, job_id, BEFORE_ATTEMPTS, [initial_state.backbone.file])
    if initial_state.continued is not None:
        _add_state(session, job_id, initial_state.continued)


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
