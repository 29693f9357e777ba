"""Who sends a request, by what it bears: an API key, or the session of a browser."""

from sqlalchemy.orm import Session

from models.store import keys, sessions
from models.store.keys import Caller


def caller_of(session: Session, credential: str) -> Caller | None:
    """The owner of a key, or who is logged in by a session; None if it is neither or no longer valid."""
    if sessions.is_well_formed(credential):
        return sessions.caller_of(session, credential)
    return keys.caller_of(session, credential)


def is_well_formed(credential: str) -> bool:
    """Whether it has the form of a key or of a session; what has not need not be looked up."""
    return keys.is_well_formed(credential) or sessions.is_well_formed(credential)
