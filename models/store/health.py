"""Whether the database can serve."""

from sqlalchemy import select
from sqlalchemy.orm import Session

from models.tables import JobRow


def check(session: Session) -> None:
    """Raises DatabaseUnavailable (by the session's maker) if it does not answer or has not been migrated."""
    session.execute(select(JobRow.id).limit(1)).first()
