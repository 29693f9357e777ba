"""The files that a training starts from, and the files and figures that it reports, under its attempt's lease."""

import secrets
import shutil
import time
from contextlib import ExitStack, suppress
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import structlog

import heldout
from heldout.errors import LeaseLost, StorageUnavailable
from heldout.lifecycle.job import FailureCode
from heldout.words import percent
from models.blobs import BlobMissing
from models.database import Session
from models.digests import compute_file_digest
from models.store import claims, events
from models.store.claims import Checkpoint
from worker.machine.enclosed_process import ProcessDied
from worker.machine.held_folders import (
    have_noted_digests,
    hold_folder,
    make_room,
    note_digests,
    remove_unless_used,
)
from worker.messages import AssignedBackbone, EpochDone, Overfits
from worker.supervision import metrics as worker_metrics
from worker.supervision.attempt import Attempt
from worker.supervision.attempt_files import CannotBegin
from worker.supervision.lease import AttemptLease
from worker.supervision.uploaded_model_attempts import UploadedModelProcess, get_model_memory_bytes

MAX_S = 900
WEIGHTS_FILE = "initial.npz"
_DIGESTS = "digests.json"


def fetch_initial(attempt: Attempt[Any]) -> Path | None:
    """Fetch the file with the job's initial weights, if any; for an uploaded model, a safe file extracted from it.

    Raises:
        CannotBegin: the file is missing, or has no weights.
        ProcessDied: the process that reads it was killed because memory ran out.
        Interrupted, and whatever `AttemptFiles` raises.
    """
    initial = attempt.claimed.begins.initial
    if initial is None:
        return None
    file, target = attempt.folder / "initial.keras", attempt.folder / "initial"
    try:
        attempt.files.fetch(initial.key, file)
    except BlobMissing as error:
        detail = "The weights that it starts from are not in the blob store."
        raise CannotBegin(FailureCode.INITIAL_UNAVAILABLE, detail) from error
    if not initial.is_uploaded:
        return file
    if (refusal := _take_out(attempt, "weights", file, target)) is not None:
        detail = f"The weights that it starts from cannot be read from the uploaded model. {refusal}".rstrip()
        raise CannotBegin(FailureCode.INITIAL_UNAVAILABLE, detail)
    return target / WEIGHTS_FILE


def fetch_backbone(attempt: Attempt[Any], in_use: ExitStack) -> AssignedBackbone | None:
    """Fetch the uploaded model of the job's network, if any, as layers and weights. Raises as `fetch_initial`.

    What the sandboxed process writes is kept next to the features, for later jobs of the same owner.
    """
    backbone = attempt.claimed.begins.backbone
    if backbone is None:
        return None
    file, target = attempt.folder / "backbone.keras", attempt.folder / "backbone"
    try:
        attempt.files.fetch(backbone.key, file)
    except BlobMissing as error:
        detail = "The file of its uploaded model is not in the blob store."
        raise CannotBegin(FailureCode.BACKBONE_UNAVAILABLE, detail) from error
    size = backbone.known.size
    kept = _KeptFiles(attempt, file, size, in_use)
    if kept.are_whole:
        file.unlink()
        return AssignedBackbone(kept.folder, backbone.known.pixels, backbone.known)
    if (refusal := _take_out(attempt, "backbone", file, target, size)) is not None:
        detail = f"Its network cannot be read from the uploaded model. {refusal}".rstrip()
        raise CannotBegin(FailureCode.BACKBONE_UNAVAILABLE, detail)
    file.unlink()
    kept.keep(target)
    return AssignedBackbone(target, backbone.known.pixels, backbone.known)


class _KeptFiles:
    """What was extracted from a model's file, in the cache of features. Without room nothing is kept."""

    def __init__(self, attempt: Attempt[Any], model: Path, size: int | None, in_use: ExitStack) -> None:
        releases = heldout.__version__, version("keras")
        named = "/".join((attempt.claimed.owner, compute_file_digest(model).sha256, f"{size}", *releases))
        self.folder = attempt.settings.home_path / "features" / sha256(named.encode()).hexdigest()
        self._cap_bytes = attempt.settings.feature_cache_bytes
        self._lock: int | None = None
        if self._cap_bytes:
            with suppress(OSError):
                self._lock = in_use.enter_context(hold_folder(self.folder))

    @property
    def are_whole(self) -> bool:
        return self._lock is not None and have_noted_digests(self.folder / _DIGESTS)

    def keep(self, extracted: Path) -> None:
        """Copy the files, and note their digests."""
        if self._lock is None:
            return
        size_bytes, cap_bytes = sum(file.stat().st_size for file in extracted.iterdir()), self._cap_bytes
        try:
            if size_bytes > cap_bytes or make_room(self.folder, size_bytes, cap_bytes) > cap_bytes:
                remove_unless_used(self.folder, self._lock)
                return
            kept = [self.folder / file.name for file in extracted.iterdir()]
            for file in kept:
                unfinished = file.with_name(f"{file.name}.{secrets.token_hex(4)}")
                shutil.copyfile(extracted / file.name, unfinished)
                unfinished.replace(file)
            note_digests(self.folder / _DIGESTS, kept)
        except OSError:
            remove_unless_used(self.folder, self._lock)


def _take_out(
    attempt: Attempt[Any], work: Literal["weights", "backbone"], model: Path, target: Path, size: int | None = None
) -> str | None:
    """Have the sandboxed process write `target`; returns why it could not, or None if it did."""
    ends_at, memory_bytes = time.monotonic() + MAX_S, get_model_memory_bytes(model)
    assignment, inputs = {"file": WEIGHTS_FILE, "size": size}, {"model": model}
    attempt.watch.begin()
    with UploadedModelProcess(work, assignment, inputs, target, memory_bytes=memory_bytes, wall_s=MAX_S) as process:
        while time.monotonic() < ends_at:
            attempt.look_after_pid(process.pid)
            try:
                answer = process.receive(0.1)
            except ProcessDied as died:
                if attempt.watch.kill_of(died.exit_code) is not None:
                    raise ProcessDied(died.exit_code) from died
                return str(died)
            if answer is not None:
                return None if work in answer else str(answer.get("refused", {}).get("detail", ""))[:2000]
    return "It took too long."


log = structlog.get_logger()


def record_epoch(lease: AttemptLease, done: EpochDone, *, epochs: int, eta_s: float) -> None:
    """Store the figures of an epoch once, with the job's progress and an event.

    Args:
        epochs: how many the job has in total.
        eta_s: estimated seconds for the rest.
    """

    def write(session: Session) -> None:
        if not claims.record_epoch(session, lease.held, done.epoch, done.values, done.inside):
            return
        claims.record_progress(session, lease.held, epoch=done.epoch, eta_s=eta_s)
        events.add(
            session,
            lease.held.job_id,
            "job.epoch",
            f"Epoch {done.epoch} of {epochs}: {_format_accuracy(done)}.",
            data={"epoch": done.epoch, **done.values},
        )

    lease.persist(write)
    worker_metrics.EPOCHS.inc()
    log.info("epoch_done", epoch=done.epoch)


def _format_accuracy(done: EpochDone) -> str:
    split = "validation" if "validation_accuracy" in done.values else "training"
    accuracy = done.values.get("validation_accuracy" if split == "validation" else "train_accuracy")
    return f"{split} accuracy {'not finite' if accuracy is None else percent(accuracy)}"


def record_overfitting(lease: AttemptLease, seen: Overfits) -> None:
    """Add the event `job.overfitting`, once per job."""

    def add(session: Session) -> None:
        claims.require_held(session, lease.held)
        # An attempt that continues from an earlier epoch sees it again.
        if events.has_event(session, lease.held.job_id, "job.overfitting"):
            return
        events.add(
            session,
            lease.held.job_id,
            "job.overfitting",
            seen.explanation,
            level="warning",
            data={"epoch": seen.epoch, "best_epoch": seen.best_epoch},
        )

    lease.persist(add)


def store_checkpoint(lease: AttemptLease, file: Path, epoch: int, step: int) -> None:
    """Store a checkpoint and delete those that it replaces; a full store is a warning, not a failure."""
    checkpoint = Checkpoint(epoch, step, lease.key(f"checkpoint-{epoch:05d}-{step:08d}.ckpt"))
    try:
        lease.blobs.put(checkpoint.key, file)
    except FileNotFoundError:
        return  # the process keeps only its last few: a newer one follows
    except StorageUnavailable:
        lease.warn("A checkpoint could not be stored; training continues.", epoch=epoch)
        return
    finally:
        file.unlink(missing_ok=True)

    # Filled by every try: a commit may have succeeded although its acknowledgement was lost.
    replaced: set[str] = set()

    def add(session: Session) -> None:
        is_new = bool(claims.find_keys_without_checkpoint(session, [checkpoint.key]))
        replaced.update(claims.add_checkpoint(session, lease.held, checkpoint))
        if not is_new:
            return
        events.add(
            session,
            lease.held.job_id,
            "job.checkpoint",
            f"State after epoch {epoch} stored." if not step else f"State in epoch {epoch + 1} stored.",
            data={"epoch": epoch, "step": step},
        )

    try:
        lease.persist(add)
    except LeaseLost:
        lease.forget(lease.persist(lambda session: claims.find_keys_without_checkpoint(session, [checkpoint.key])))
        raise
    lease.forget(replaced)
