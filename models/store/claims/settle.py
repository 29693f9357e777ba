"""Ends an attempt: as succeeded, failed, released, or as a client requested."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import insert, select, update
from sqlalchemy.orm import Session

from analysis.jobs.ledger import HELD_OUT
from analysis.studies.state import Scores
from heldout.errors import LeaseLost
from heldout.lifecycle.dataset import RejectionCode
from heldout.lifecycle.job import (
    FIRST_BACKOFF_S,
    FailureCode,
    JobEvent,
    JobRequest,
    JobStatus,
    StopReason,
    decide_after_failure,
)
from heldout.stored.artifacts import ArtifactName
from heldout.stored.results import FinalView
from heldout.views.job import SummaryView
from models.store import artifacts, label_reads, studies
from models.store.artifacts import Artifact
from models.store.claims.lease import HeldAttempt, is_held_by, require_held, write_held
from models.store.listing import get_summary_columns
from models.store.transitions import move
from models.tables import JobRow, ResultRow


@dataclass(frozen=True)
class Result:
    """The result of a job that succeeded: `metrics.final` and its stored files.

    other_reads: splits that weights other than the kept ones were measured on at the end, with the weights' epoch.
    scores: for a study's job, the scores to compare.
    """

    final: FinalView
    artifacts: tuple[Artifact, ...]
    other_reads: tuple[tuple[str, int], ...] = ()
    scores: Scores | None = None


def note_summary(session: Session, held: HeldAttempt, summary: SummaryView | None) -> None:
    """Write the job's summary, in the transaction that ends the job."""
    session.execute(update(JobRow).where(*is_held_by(held)).values(**get_summary_columns(summary)))


def succeed(session: Session, held: HeldAttempt, *, result: Result, stop_reason: StopReason) -> JobStatus:
    """End a job as succeeded, unless a cancel was accepted before.

    May be called twice: a worker whose commit was not acknowledged cannot know that it took effect.
    """
    if session.scalar(select(ResultRow.attempt).where(ResultRow.job_id == held.job_id)) == held.attempt:
        return JobStatus.SUCCEEDED
    if result.scores is not None:
        # Before the job ends, because that makes its study read the scores.
        studies.add_scores(session, held.job_id, result.scores)
    status = move(session, require_held(session, held), JobEvent.SUCCEED, stop_reason=stop_reason)
    if status is JobStatus.SUCCEEDED:
        session.execute(
            insert(ResultRow).values(
                job_id=held.job_id, attempt=held.attempt, final=result.final.model_dump(mode="json")
            )
        )
        artifacts.add(session, held.job_id, held.attempt, result.artifacts)
        _note_reads(session, held.job_id, result)
    elif status is JobStatus.CANCELLED:
        artifacts.add(session, held.job_id, held.attempt, select_kept_when_cancelled(result.artifacts))
    return status


def select_kept_when_cancelled(files: Sequence[Artifact]) -> list[Artifact]:
    """Select the files to keep of a training that was cancelled while they were made: only the model."""
    return [file for file in files if file.name is ArtifactName.MODEL]


def complete(session: Session, held: HeldAttempt) -> JobStatus:
    """End a job that is not a training as succeeded, unless a cancel was accepted before.

    May be called twice: a worker whose commit was not acknowledged cannot know that it took effect.

    Raises:
        LeaseLost: if this attempt no longer holds the job.
    """
    if has_succeeded(session, held):
        return JobStatus.SUCCEEDED
    return move(session, require_held(session, held), JobEvent.SUCCEED, stop_reason=StopReason.COMPLETED)


def has_succeeded(session: Session, held: HeldAttempt) -> bool:
    """Whether this attempt has already ended its job as succeeded."""
    ended = (JobRow.id == held.job_id, JobRow.attempt == held.attempt, JobRow.status == JobStatus.SUCCEEDED)
    return session.scalar(select(JobRow.id).where(*ended)) is not None


def _note_reads(session: Session, job_id: str, result: Result) -> None:
    """Note which held-out labels were read at the end. Reads after single epochs were noted then."""
    measured = [(split, result.final.epoch) for split in HELD_OUT if getattr(result.final, split) is not None]
    for split, epoch in (*measured, *result.other_reads):
        label_reads.add_for_job(session, job_id, split, epoch)


def fail(session: Session, held: HeldAttempt, *, code: FailureCode | RejectionCode, detail: str) -> JobStatus:
    """Count a failed attempt. Queues the job again with a backoff, or fails it if a retry would not help."""
    row = require_held(session, held)
    failures = row.failures + 1
    decision = decide_after_failure(failures, code)
    error = {"code": code, "detail": detail}
    return move(session, row, decision.event, error=error, failures=failures, backoff_s=decision.backoff_s)


def release(session: Session, held: HeldAttempt) -> JobStatus:
    """Release a job because its worker stops. This does not count as a failure."""
    return move(session, require_held(session, held), JobEvent.RELEASE)


def give_way(session: Session, held: HeldAttempt, detail: str, *, memory_bytes: int) -> JobStatus:
    """Queue a job again that was killed because another job took too much memory. This does not count as a failure.

    Args:
        memory_bytes: the memory to reserve for it next time.
    """
    write_held(session, held, memory_bytes=memory_bytes)
    error = {"code": FailureCode.OUT_OF_MEMORY, "detail": detail}
    return move(session, require_held(session, held), JobEvent.LOSE, error=error, backoff_s=FIRST_BACKOFF_S)


def stop_as_requested(session: Session, held: HeldAttempt, files: Sequence[Artifact] = ()) -> JobStatus:
    """Cancel or pause the running job, as a client requested.

    Args:
        files: the files that the attempt stored: the model, in case the job is cancelled now or after this pause.
    Raises:
        LeaseLost: if there is no request.
    """
    row = require_held(session, held)
    if row.request is None:
        raise LeaseLost(held.job_id, held.attempt)
    artifacts.add(session, held.job_id, held.attempt, files)
    return move(session, row, JobEvent.CANCEL if row.request is JobRequest.CANCEL else JobEvent.PAUSE)
