"""What a running attempt writes to its job's row: what it chose at its start, and how far it is."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import insert, null, update
from sqlalchemy.orm import Session

from analysis.jobs.ledger import validation_read_of
from heldout.spec.job import JobSpec
from models.specs import training_spec_of
from models.store import label_reads
from models.store.claims.checkpoint import checkpoints_of, forget_checkpoints
from models.store.claims.lease import HeldAttempt, require_held, write_held
from models.tables import AttemptRow, EpochRow, JobRow


def record_start(
    session: Session,
    held: HeldAttempt,
    *,
    engine: Mapping[str, Any],
    spec: JobSpec,
    start_epoch: int,
    eta_s: float | None = None,
    split_digests: Mapping[str, str] | None = None,
) -> list[str]:
    """Write back what an attempt chose at its start.

    Later attempts keep the device, since it decides the last digits of all figures.

    Checkpoints of later epochs than `start_epoch` could not be used. Their rows are removed, so that no later attempt
    continues from epochs whose metrics this attempt hides.

    Args:
        spec: with choices in place of every `auto`.
        start_epoch: whole epochs that the attempt continues from.
        split_digests: of held-out splits that are the job's own.
    Returns:
        The keys of the removed checkpoints, whose blobs the caller deletes after the commit.
    """
    row = require_held(session, held)
    # Clients may have changed these since the attempt read its spec.
    changed = {"name": row.name, "metadata": row.user_metadata}
    write_held(
        session,
        held,
        engine=dict(engine),
        spec={**spec.model_dump(mode="json"), **changed},
        device=spec.resources.required_device,
        gpus=spec.resources.required_gpus,
        epoch=start_epoch,
        eta_s=eta_s,
        split_digests=dict(split_digests) if split_digests else null(),
        version=JobRow.version + 1,
    )
    session.execute(
        update(AttemptRow)
        .where(AttemptRow.job_id == held.job_id, AttemptRow.attempt == held.attempt)
        .values(start_epoch=start_epoch)
        .execution_options(synchronize_session=False)
    )
    unusable = [one.key for one in checkpoints_of(session, held.job_id) if one.epoch > start_epoch]
    forget_checkpoints(session, unusable)
    return unusable


def record_progress(session: Session, held: HeldAttempt, *, epoch: int, eta_s: float | None) -> None:
    """Write how many whole epochs are done and how long the rest should take."""
    write_held(session, held, epoch=epoch, eta_s=eta_s, version=JobRow.version + 1)


def record_epoch(session: Session, held: HeldAttempt, epoch: int, values: Mapping[str, float | None]) -> bool:
    """Write one measured epoch of the attempt that holds the job, and note its reads. Returns whether it is new.

    An attempt measures an epoch once: a row that is there comes from a commit of its own that was not acknowledged.

    Raises:
        LeaseLost: if the attempt no longer holds it; nothing is written.
    """
    row = require_held(session, held)
    if session.get(EpochRow, (held.job_id, held.attempt, epoch)) is not None:
        return False
    session.execute(insert(EpochRow).values(job_id=held.job_id, attempt=held.attempt, epoch=epoch, **values))
    if "validation_loss" in values:
        what = validation_read_of(training_spec_of(row).training)
        label_reads.add_for_job(session, held.job_id, "validation", epoch, what)
    if "test_loss" in values:
        label_reads.add_for_job(session, held.job_id, "test", epoch)
    return True
