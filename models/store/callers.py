"""Finds who sends a request, by its API key or browser session, together with the requested job."""

from sqlalchemy import and_, bindparam, select
from sqlalchemy.orm import Session

from heldout.work.kinds import LISTED_KINDS
from models.store import keys, sessions
from models.store.keys import Caller
from models.tables import DatasetRow, JobRow
from models.views.job import JOB_VIEW_ONLY


def find_caller(session: Session, credential: str) -> Caller | None:
    """Find the owner of a key or session. None if it is malformed, unknown or no longer valid."""
    if sessions.is_well_formed(credential):
        return sessions.find_caller(session, credential)
    return keys.find_caller(session, credential)


def is_well_formed(credential: str) -> bool:
    """Whether it looks like a key or a session. Malformed credentials need no look-up."""
    return keys.is_well_formed(credential) or sessions.is_well_formed(credential)


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
    if sessions.is_well_formed(key):
        owner = sessions.find_caller(session, key)
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
