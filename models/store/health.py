"""Checks whether the database works."""

from sqlalchemy import select
from sqlalchemy.orm import Session

from models.tables import JobRow


def check(session: Session) -> None:
    """Raise DatabaseUnavailable (from the session) if the database does not answer or was never migrated."""
    session.execute(select(JobRow.id).limit(1)).first()
