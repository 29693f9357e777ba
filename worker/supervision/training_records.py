"""Writes the reports of a training process to the database and the blob store, under the attempt's lease."""

from pathlib import Path

import structlog

from heldout.errors import LeaseLost, StorageUnavailable
from heldout.words import percent
from models.database import Session
from models.store import claims, events
from models.store.claims import Checkpoint
from worker.messages import EpochDone, Overfits
from worker.supervision import metrics as worker_metrics
from worker.supervision.lease import AttemptLease

log = structlog.get_logger()


def record_epoch(lease: AttemptLease, done: EpochDone, *, epochs: int, eta_s: float) -> None:
    """Store the figures of an epoch once, with the job's progress and an event.

    Args:
        epochs: how many the job has in total.
        eta_s: estimated seconds for the rest.
    """

    def write(session: Session) -> None:
        if not claims.record_epoch(session, lease.held, done.epoch, done.values):
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
