"""What a running attempt writes to its job's row: what it chose at its start, and how far it is."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import update
from sqlalchemy.orm import Session

from heldout.spec import JobSpec
from models.store.claims.checkpoint import checkpoints_of, forget_checkpoints
from models.store.claims.lease import HeldAttempt, write_held
from models.tables import AttemptRow, JobRow


def begin(
    session: Session,
    held: HeldAttempt,
    *,
    engine: Mapping[str, Any],
    spec: JobSpec,
    start_epoch: int,
    eta_s: float | None = None,
) -> list[str]:
    """Write back what an attempt decided at its start: where it runs, its automatic choices, where it continues.

    The device is kept for later attempts too, since it decides the last digits: `auto` is over then.

    Checkpoints past its start could not be used. They are forgotten, so that no later attempt continues from epochs
    whose rows this one's start hides; gives back their keys.
    """
    write_held(
        session,
        held,
        engine=dict(engine),
        spec=spec.model_dump(mode="json"),
        device=spec.resources.required_device,
        gpus=spec.resources.required_gpus,
        epoch=start_epoch,
        eta_s=eta_s,
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


def progress(session: Session, held: HeldAttempt, *, epoch: int, eta_s: float | None) -> None:
    """Write how many whole epochs are done and how long the rest should take."""
    write_held(session, held, epoch=epoch, eta_s=eta_s, version=JobRow.version + 1)
