"""Gives a new job, in the transaction that queues it, what it starts from: files of its own, and what is known of them.

The files are copies in the store: nothing that happens to the job that they come from can take them away.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from sqlalchemy import insert

from analysis.jobs.initial import Initial
from heldout.errors import FieldError, HeldoutError, InvalidSpec, StateGone
from heldout.spec.backbone import POINTER
from heldout.stored.artifacts import ArtifactName
from models.backbones import BackboneSource
from models.blobs import BlobMissing, Blobs
from models.database import Session, db_now
from models.initial import BEFORE_ATTEMPTS, InitialSource, make_refusal
from models.store import artifacts, events, metrics
from models.store.claims import Checkpoint
from models.store.new_jobs import Begins
from models.tables import AttemptRow, CheckpointRow, EpochRow, JobRow


@dataclass(frozen=True)
class GoesOn:
    """A job that has ended, and its last state, from which the new job goes on."""

    ended: JobRow
    state: Checkpoint


@dataclass(frozen=True)
class Start:
    """What a job starts from: weights of another job, an uploaded backbone, the state of a job, or nothing."""

    source: InitialSource | None = None
    initial: Initial | None = None
    backbone: BackboneSource | None = None
    goes_on: GoesOn | None = None

    @property
    def begins(self) -> Begins:
        """As the job's row and its first event have it."""
        begins = Begins()
        if self.initial is not None:
            begins = Begins(
                initial=self.initial.to_json(), message=self.initial.in_words, told={"initial": self.initial.told}
            )
        if self.backbone is not None:
            begins = replace(begins, backbone=self.backbone.backbone.to_json())
        if self.goes_on is None:
            return begins
        ended, state = self.goes_on.ended, self.goes_on.state
        return replace(
            begins,
            epoch=state.epoch,
            continues=(*(ended.continues or ()), {"job": ended.id, "epoch": state.epoch}),
            message=f"Goes on from the state of {ended.id} after epoch {state.epoch}.",
            told={**begins.told, "continues": {"job": ended.id, "epoch": state.epoch, "step": state.step}},
        )


@contextmanager
def copy_files(blobs: Blobs, folder: str, start: Start) -> Iterator[Start]:
    """Copies of the files for a new job, which are deleted again if the block fails.

    Args:
        folder: in the blob store, of the job or the study that the copies belong to.
    Raises:
        StateGone, InvalidSpec: what it was to start from was deleted meanwhile.
        StorageUnavailable.
    """
    made = list[str]()

    def copied(key: str, name: str, gone: HeldoutError) -> str:
        made.append(f"{folder}/{name}")
        try:
            blobs.copy(key, made[-1])
        except BlobMissing as error:
            raise gone from error
        return made[-1]

    try:
        if (source := start.source) is not None:
            detail = f"The weights of {source.weights.source} are not there any more."
            key = copied(source.file.key, "initial.keras", make_refusal(detail, source.weights.kind))
            file = replace(source.file, name=ArtifactName.INITIAL, key=key)
            start = replace(start, source=replace(source, file=file))
        if (backbone := start.backbone) is not None:
            key = copied(backbone.file.key, "backbone.keras", _make_backbone_gone(backbone.backbone.model))
            start = replace(start, backbone=replace(backbone, file=replace(backbone.file, key=key)))
        if (goes_on := start.goes_on) is not None:
            state, name = goes_on.state, f"checkpoint-{goes_on.state.epoch:05d}-{goes_on.state.step:08d}.ckpt"
            key = copied(state.key, name, StateGone(goes_on.ended.id))
            start = replace(start, goes_on=replace(goes_on, state=replace(state, key=key)))
        yield start
    except BaseException:
        for key in made:
            blobs.delete(key)
        raise


def _make_backbone_gone(model: str) -> InvalidSpec:
    detail = f"The file of {model} is not there any more. Upload it again."
    return InvalidSpec(f"{POINTER}/model: {detail}", errors=[FieldError(f"{POINTER}/model", detail)])


def get_folder_of_start(job_id: str) -> str:
    """Where the files of a job lie that it has before its first attempt."""
    return f"jobs/{job_id}/{BEFORE_ATTEMPTS}"


def add_start(session: Session, job_id: str, start: Start) -> None:
    """Write what a new job, whose row is written, starts from."""
    if start.source is not None and start.initial is not None:
        artifacts.add(session, job_id, BEFORE_ATTEMPTS, [start.source.file])
        if start.initial.is_little:
            count = len(start.initial.taken) + len(start.initial.new)
            source = start.initial.weights.source
            text = (
                f"Only {len(start.initial.taken)} of {count} layers start from {source}; the others start anew: "
                f"{', '.join(start.initial.new)}."
            )
            events.add(session, job_id, "job.warning", text, level="warning", data=start.initial.told)
    if start.backbone is not None:
        artifacts.add(session, job_id, BEFORE_ATTEMPTS, [start.backbone.file])
    if start.goes_on is not None:
        _add_state(session, job_id, start.goes_on)


def _add_state(session: Session, job_id: str, goes_on: GoesOn) -> None:
    """The state as a checkpoint of an attempt before the first, with the epochs that are done in it."""
    state, attempt = goes_on.state, {"job_id": job_id, "attempt": BEFORE_ATTEMPTS}
    session.execute(insert(AttemptRow).values(**attempt, worker="", start_epoch=0, started_at=db_now()))
    place = {"epoch": state.epoch, "step": state.step, "key": state.key}
    session.execute(insert(CheckpointRow).values(**attempt, **place, created_at=db_now()))
    figures = [column.key for column in EpochRow.__mapper__.column_attrs if column.key not in attempt]
    done = [
        {**attempt, **{name: getattr(row, name) for name in figures}}
        for row in metrics.list_epochs(session, goes_on.ended.id)
        if row.epoch <= state.epoch
    ]
    if done:
        session.execute(insert(EpochRow), done)
