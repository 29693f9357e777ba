"""Finds who sends a request, by an API key or a browser's session. A user logs in with a key or a one-time link.

A session stands for its key. It ends when the key is revoked, when it expires, or when the user logs out. Secrets are
stored as hashes. Expired rows are deleted when the next session is created.
"""

import hmac
import secrets
from datetime import datetime
from typing import Literal

from sqlalchemy import and_, bindparam, delete, insert, select
from sqlalchemy.orm import Session

from heldout.work.kinds import LISTED_KINDS
from models.database import db_now
from models.store import keys
from models.store.keys import Caller
from models.tables import DatasetRow, JobRow, KeyRow, SessionRow
from models.views.job import JOB_VIEW_ONLY

SESSION_S = 30 * 24 * 3600
LINK_S = 15 * 60
Prefix = Literal["hs", "hl"]
SESSION_PREFIX: Prefix = "hs"
LINK_PREFIX: Prefix = "hl"

# Built once, because it precedes every request with a cookie, including invalid ones.
_VALID = (
    select(SessionRow.secret_sha256, KeyRow.owner, KeyRow.id, KeyRow.scopes)
    .join(KeyRow, KeyRow.id == SessionRow.key_id)
    .where(
        SessionRow.id == bindparam("id"),
        SessionRow.is_link == bindparam("is_link"),
        SessionRow.expires_at > db_now(),
        ~keys.IS_OVER,
    )
)


def begin(session: Session, key_id: str) -> tuple[str, datetime]:
    """Start a session for a key. Returns its token, `hs_<id>_<secret>`, which is not stored, and when it expires."""
    return _make(session, key_id, SESSION_PREFIX, SESSION_S)


def make_link(session: Session, key_id: str) -> str:
    """Make a token `hl_<id>_<secret>` for a single log-in with the key within a short time."""
    return _make(session, key_id, LINK_PREFIX, LINK_S)[0]


def use_link(session: Session, token: str) -> Caller | None:
    """Use up a link and return its caller. If it is sent twice at once, only one request succeeds."""
    row = _find_valid(session, token, LINK_PREFIX)
    if row is None:
        return None
    used = session.execute(delete(SessionRow).where(SessionRow.id == row[0]).returning(SessionRow.id))
    return row[1] if used.scalar_one_or_none() is not None else None


def get_end(session: Session, token: str) -> datetime | None:
    """Get when the session expires, even if it was revoked. None if there is no such session."""
    return session.scalar(
        select(SessionRow.expires_at).where(SessionRow.id == keys.split_key(token, SESSION_PREFIX)[0])
    )


def end(session: Session, token: str) -> None:
    """End a session. Does nothing if there is no such session."""
    row = _find_valid(session, token, SESSION_PREFIX)
    if row is not None:
        session.execute(delete(SessionRow).where(SessionRow.id == row[0]))


def is_session_token(token: str) -> bool:
    """Return whether it looks like the token of a session."""
    return keys.split_key(token, SESSION_PREFIX)[1] != ""


def _find_valid(session: Session, token: str, prefix: Prefix) -> tuple[str, Caller] | None:
    """Find the row's id and the caller."""
    id_, secret = keys.split_key(token, prefix)
    if not secret:
        return None
    row = session.execute(_VALID, {"id": id_, "is_link": prefix == LINK_PREFIX}).one_or_none()
    # The comparison takes the same time whether or not the id exists.
    matches = hmac.compare_digest(
        row.secret_sha256 if row is not None else keys.hash_secret(""), keys.hash_secret(secret)
    )
    return (id_, Caller(row.owner, row.id, frozenset(row.scopes))) if row is not None and matches else None


def _make(session: Session, key_id: str, prefix: Prefix, lasts_s: float) -> tuple[str, datetime]:
    session.execute(delete(SessionRow).where(SessionRow.expires_at <= db_now()))
    id_, secret = secrets.token_hex(6), secrets.token_urlsafe(32)
    expires_at = session.execute(
        insert(SessionRow)
        .values(
            id=id_,
            key_id=key_id,
            secret_sha256=keys.hash_secret(secret),
            is_link=prefix == LINK_PREFIX,
            created_at=db_now(),
            expires_at=db_now(lasts_s),
        )
        .returning(SessionRow.expires_at)
    ).scalar_one()
    return f"{prefix}_{id_}_{secret}", expires_at


def find_caller(session: Session, credential: str) -> Caller | None:
    """Find the owner of a key or session. None if it is malformed, unknown or no longer valid."""
    if is_session_token(credential):
        row = _find_valid(session, credential, SESSION_PREFIX)
        return None if row is None else row[1]
    return keys.find_caller(session, credential)


def is_well_formed(credential: str) -> bool:
    """Return whether it looks like a key or a session. Malformed credentials need no look-up."""
    return keys.is_well_formed(credential) or is_session_token(credential)


# Built once, because clients that wait for a job poll it.
_OF_KEY_AND_ID = (
    select(*keys.CALLER_COLUMNS, JobRow, DatasetRow)
    .select_from(keys.KEY_TABLE)
    .outerjoin(
        JobRow,
        and_(JobRow.owner == keys.KEY_TABLE.c.owner, JobRow.kind.in_(LISTED_KINDS), JobRow.id == bindparam("job_id")),
    )
    .outerjoin(DatasetRow, DatasetRow.id == JobRow.dataset_id)
    .where(keys.KEY_TABLE.c.id == bindparam("key_id"))
    .options(*JOB_VIEW_ONLY)
)
_OF_OWNER_AND_ID = (
    select(JobRow, DatasetRow)
    .join(DatasetRow, DatasetRow.id == JobRow.dataset_id)
    .where(JobRow.owner == bindparam("owner"), JobRow.kind.in_(LISTED_KINDS), JobRow.id == bindparam("job_id"))
    .options(*JOB_VIEW_ONLY)
)


def find_with_key(session: Session, key: str, job_id: str) -> tuple[Caller | None, tuple[JobRow, DatasetRow] | None]:
    """Find the caller like `find_caller`, and the caller's training job with its dataset.

    The rows contain only the columns that `build_job_view` needs.
    """
    if is_session_token(key):
        owner = find_caller(session, key)
        if owner is None:
            return None, None
        row = session.execute(_OF_OWNER_AND_ID, {"owner": owner.owner, "job_id": job_id}).one_or_none()
        return owner, None if row is None else (row.JobRow, row.DatasetRow)
    key_id, secret = keys.split_key(key)
    found = session.execute(_OF_KEY_AND_ID, {"key_id": key_id, "job_id": job_id}).one_or_none() if secret else None
    caller = keys.get_valid_caller(key_id, secret, found)
    if caller is None or found is None or found.JobRow is None:
        return caller, None
    return caller, (found.JobRow, found.DatasetRow)
