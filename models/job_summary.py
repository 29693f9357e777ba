"""The summary of a training that is kept in the job's row."""

import structlog
from sqlalchemy import select, update

from heldout.diagnosis import Diagnosis
from heldout.errors import DatabaseUnavailable
from heldout.views.job import SummaryView
from heldout.work.kinds import JobKind
from models.blobs import Blobs
from models.database import Database, Session
from models.job_diagnosis import diagnose_job
from models.store import metrics
from models.store.claims import Result
from models.store.listing import get_summary_columns
from models.tables import JobRow

log = structlog.get_logger()

# Reading summaries is quick; diagnosing a job takes up to a second, for which the reconciler's next round waits.
JOBS_PER_LOOK = 200
COMPLETED_PER_LOOK = 3


def summarize_job(session: Session, blobs: Blobs, job_id: str, result: Result | None = None) -> SummaryView | None:
    """Summarize a training that has ended or is about to end. None for other kinds of jobs.

    If the diagnosis fails, the verdict is null, and the job ends normally.

    Args:
        result: the result of the training, if it succeeds and the result is not stored yet.
    Raises:
        DatabaseUnavailable.
    """
    job = session.get(JobRow, job_id)
    if job is None or job.kind is not JobKind.TRAIN:
        return None
    final = metrics.get_final(session, job_id) if result is None else result.final
    diagnosis = _diagnose(session, blobs, job, result)
    return metrics.get_best_epochs(session, job_id).model_copy(
        update={
            "gap": None if final is None else final.gap,
            "test_accuracy": None if final is None or final.test is None else final.test.accuracy,
            "verdict": None if diagnosis is None else diagnosis.verdict,
            "headline": None if diagnosis is None else diagnosis.headline,
        }
    )


def complete_earlier(database: Database, blobs: Blobs, before: str) -> str | None:
    """Summarize some trainings again that an earlier release summarized without a headline, newest first.

    Args:
        before: jobs are looked for among those with smaller ids.
    Returns:
        where to continue; None once there are no more jobs.
    Raises:
        DatabaseUnavailable.
    """
    ended = select(JobRow.id, JobRow.summary).where(JobRow.summary.is_not(None), JobRow.id < before)
    with database.read() as session:
        found = session.execute(ended.order_by(JobRow.id.desc()).limit(JOBS_PER_LOOK)).all()
    incomplete = [job_id for job_id, summary in found if "headline" not in summary][:COMPLETED_PER_LOOK]
    for job_id in incomplete:
        with database.read() as session:
            summary = summarize_job(session, blobs, job_id)
        if summary is None or summary.headline is None:
            continue  # what is known of it stays, and the next process tries again
        with database.write() as session:
            session.execute(update(JobRow).where(JobRow.id == job_id).values(**get_summary_columns(summary)))
    if len(incomplete) == COMPLETED_PER_LOOK:
        return str(incomplete[-1])
    return str(found[-1].id) if len(found) == JOBS_PER_LOOK else None


def _diagnose(session: Session, blobs: Blobs, job: JobRow, result: Result | None) -> Diagnosis | None:
    try:
        return diagnose_job(session, blobs, job, result=result, is_strict=True)
    except DatabaseUnavailable:
        raise
    except Exception as error:
        log.warning("job_not_diagnosed", job_id=job.id, exc_info=error)
        return None
