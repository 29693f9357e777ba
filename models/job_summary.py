"""The summary of a training that is kept in the job's row."""

import structlog

from heldout.diagnosis import Diagnosis
from heldout.errors import DatabaseUnavailable
from heldout.views.job import SummaryView
from heldout.work.kinds import JobKind
from models.blobs import Blobs
from models.database import Session
from models.job_diagnosis import diagnose_job_strictly
from models.store import metrics
from models.store.claims import Result
from models.tables import JobRow

log = structlog.get_logger()


def summarize_job(session: Session, blobs: Blobs, job_id: str, result: Result | None = None) -> SummaryView | None:
    """Summarize a training that is about to end. None for other kinds of jobs.

    If the diagnosis fails, the verdict is null, and the job ends normally.

    Args:
        result: the result of the training, if it succeeds. It need not be stored yet.
    Raises:
        DatabaseUnavailable.
    """
    job = session.get(JobRow, job_id)
    if job is None or job.kind is not JobKind.TRAIN:
        return None
    final = None if result is None else result.final
    diagnosis = _diagnose(session, blobs, job, result)
    return metrics.get_best_epochs(session, job_id).model_copy(
        update={
            "gap": None if final is None else final.gap,
            "test_accuracy": None if final is None or final.test is None else final.test.accuracy,
            "verdict": None if diagnosis is None else diagnosis.verdict,
            "headline": None if diagnosis is None else diagnosis.headline,
        }
    )


def _diagnose(session: Session, blobs: Blobs, job: JobRow, result: Result | None) -> Diagnosis | None:
    try:
        return diagnose_job_strictly(session, blobs, job, result=result)
    except DatabaseUnavailable:
        raise
    except Exception as error:
        log.warning("job_not_diagnosed", job_id=job.id, exc_info=error)
        return None
