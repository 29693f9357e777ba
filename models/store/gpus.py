"""Which machines have a worker with GPUs: such workers say so again and again, in the table of calibrations."""

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from models.database import db_now
from models.store.transitions import now
from models.tables import CalibrationRow

DEVICE = "gpu"
# A worker that has said nothing for so long is taken to be gone.
SEEN_S = 120.0


def note(session: Session, host: str, count: int) -> None:
    """A worker on this machine has so many GPUs, and lives."""
    session.merge(CalibrationRow(host=host, device=DEVICE, facts={"gpus": count}, speed={}, measured_at=now(session)))
    session.flush()


def forget(session: Session, host: str) -> None:
    """The worker of this machine ends."""
    session.execute(delete(CalibrationRow).where(CalibrationRow.host == host, CalibrationRow.device == DEVICE))


def most_on_one_worker(session: Session) -> int:
    """How many GPUs a job can have at most: those of the living worker that has most of them; 0 without any."""
    facts = session.scalars(
        select(CalibrationRow.facts).where(
            CalibrationRow.device == DEVICE, CalibrationRow.measured_at > db_now(-SEEN_S)
        )
    )
    return max((int(one["gpus"]) for one in facts), default=0)
