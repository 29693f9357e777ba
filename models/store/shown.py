"""A job as its view shows it: only those columns, of its row and its dataset's, which cost a fraction of the rest."""

from sqlalchemy import and_, bindparam, select
from sqlalchemy.orm import Session

from models.database import UtcTime
from models.store import keys
from models.store.keys import Caller
from models.tables import DatasetRow, JobRow

OF_JOB = (
    *("id", "name", "status", "request", "stop_reason", "error", "version", "spec", "dataset_id", "parameters"),
    *("attempt", "failures", "retry_of", "study_id", "engine", "epoch", "epochs", "eta_s", "summary"),
    *("created_at", "queued_at", "started_at", "finished_at"),
)
TIMES_OF_JOB = tuple(name for name in OF_JOB if isinstance(JobRow.__table__.columns[name].type, UtcTime))

_JOBS, _DATASETS = JobRow.__table__, DatasetRow.__table__
_OF_KEY_AND_ID = (
    select(
        *keys.JUDGED,
        *(_JOBS.c[name] for name in OF_JOB),
        _DATASETS.c.name.label("dataset_name"),
        _DATASETS.c.version.label("dataset_version"),
    )
    .select_from(
        keys.TABLE.outerjoin(
            _JOBS.join(_DATASETS, _DATASETS.c.id == _JOBS.c.dataset_id),
            and_(_JOBS.c.owner == keys.TABLE.c.owner, _JOBS.c.kind == "train", _JOBS.c.id == bindparam("job_id")),
        )
    )
    .where(keys.TABLE.c.id == bindparam("key_id"))
)


def look(session: Session, key: str, job_id: str) -> tuple[Caller | None, tuple[JobRow, DatasetRow] | None]:
    """The owner of a key, as `keys.caller_of` gives it, and that owner's training job: one query, one round trip."""
    key_id, secret = keys.parts_of(key)
    found = session.execute(_OF_KEY_AND_ID, {"key_id": key_id, "job_id": job_id}).one_or_none() if secret else None
    caller = keys.caller_if_valid(key_id, secret, found)
    if caller is None or found is None or found.id is None:
        return caller, None
    job = JobRow(**{name: getattr(found, name) for name in OF_JOB})
    return caller, (job, DatasetRow(id=found.dataset_id, name=found.dataset_name, version=found.dataset_version))
