"""What a running attempt records, from its choices at the start to its checkpoints, and how it ends."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import delete, insert, null, select, update
from sqlalchemy.orm import Session

from analysis.jobs.ledger import HELD_OUT, get_validation_read
from analysis.studies.state import Scores
from heldout.errors import LeaseLost
from heldout.lifecycle.job import (
    FIRST_BACKOFF_S,
    TERMINAL,
    FailureCode,
    JobEvent,
    JobRequest,
    JobStatus,
    StopReason,
    decide_after_failure,
)
from heldout.lifecycle.resources import RejectionCode
from heldout.spec.job import JobSpec
from heldout.stored.artifacts import ArtifactName
from heldout.stored.results import FinalView
from heldout.views.job import SummaryView
from heldout.work.kinds import EXPERIMENT_KINDS
from models.database import db_now
from models.specs import read_spec
from models.store import artifacts, label_reads, studies
from models.store.artifacts import Artifact
from models.store.claims.lease import HeldAttempt, is_held_by, require_held, write_held
from models.store.listing import get_summary_columns
from models.store.transitions import get_now, move
from models.tables import AttemptRow, CheckpointRow, EpochRow, JobRow, ResultRow


def record_start(
    session: Session,
    held: HeldAttempt,
    *,
    engine: Mapping[str, Any],
    spec: JobSpec,
    start_epoch: int,
    eta_s: float | None = None,
    split_digests: Mapping[str, str] | None = None,
) -> list[str]:
    """Record what an attempt chose at its start.

    Later attempts keep the device, because it affects the last digits of all figures.

    Checkpoints of later epochs than `start_epoch` were unusable. Their rows are deleted, so that no later attempt
    continues from epochs whose metrics this attempt hides. So are the rows of files of earlier attempts.

    Args:
        spec: the spec with every `auto` replaced by the choice.
        start_epoch: the completed epochs that the attempt continues from.
        split_digests: digests of held-out splits that differ from the dataset's.
    Returns:
        The keys of the deleted rows, whose blobs the caller deletes after the commit.
    """
    row = require_held(session, held)
    # Clients may have changed these since the attempt read the spec.
    changed = {"name": row.name, "metadata": row.user_metadata}
    write_held(
        session,
        held,
        engine=dict(engine),
        spec={**spec.model_dump(mode="json"), **changed},
        device=spec.resources.required_device,
        gpus=spec.resources.required_gpus,
        epoch=start_epoch,
        eta_s=eta_s,
        split_digests=dict(split_digests) if split_digests else null(),
        version=JobRow.version + 1,
    )
    session.execute(
        update(AttemptRow)
        .where(AttemptRow.job_id == held.job_id, AttemptRow.attempt == held.attempt)
        .values(start_epoch=start_epoch)
    )
    unusable = [
        checkpoint.key for checkpoint in get_checkpoints(session, held.job_id) if checkpoint.epoch > start_epoch
    ]
    forget_checkpoints(session, unusable)
    return unusable + artifacts.forget_of_earlier_attempts(session, held.job_id, held.attempt)


def record_progress(session: Session, held: HeldAttempt, *, epoch: int, eta_s: float | None) -> None:
    """Record the completed epochs and the estimated time left."""
    write_held(session, held, epoch=epoch, eta_s=eta_s, version=JobRow.version + 1)


def record_epoch(
    session: Session,
    held: HeldAttempt,
    epoch: int,
    values: Mapping[str, float | None],
    inside: Mapping[str, Any] | None = None,
) -> bool:
    """Record a measured epoch of the attempt that holds the job, with its label reads. Returns whether it is new.

    An attempt measures an epoch once, so an existing row comes from its own unacknowledged commit.

    Args:
        inside: an `EpochInside`, as JSON.
    Raises:
        LeaseLost: if the attempt no longer holds the job. Nothing is written.
    """
    row = require_held(session, held)
    if session.get(EpochRow, (held.job_id, held.attempt, epoch)) is not None:
        return False
    session.execute(
        insert(EpochRow).values(job_id=held.job_id, attempt=held.attempt, epoch=epoch, inside=inside, **values)
    )
    if "validation_loss" in values:
        spec = read_spec(row)
        assert isinstance(spec, JobSpec)
        what = get_validation_read(spec.training)
        label_reads.add_for_job(session, held.job_id, "validation", epoch, what)
    if "test_loss" in values:
        label_reads.add_for_job(session, held.job_id, "test", epoch)
    return True


@dataclass(frozen=True)
class Checkpoint:
    """A stored state: completed epochs, completed steps of the next epoch, and the key of its blob."""

    epoch: int
    step: int
    key: str


def add_checkpoint(session: Session, held: HeldAttempt, checkpoint: Checkpoint, *, keep: int = 2) -> list[str]:
    """Add the row of a stored checkpoint, and keep the job's newest `keep` rows.

    Returns the keys of the others, whose blobs the caller deletes after the commit.
    """
    require_held(session, held)
    session.merge(
        CheckpointRow(
            job_id=held.job_id,
            attempt=held.attempt,
            epoch=checkpoint.epoch,
            step=checkpoint.step,
            key=checkpoint.key,
            created_at=get_now(session),
        )
    )
    session.flush()
    known = get_checkpoints(session, held.job_id)
    kept = {checkpoint.key for checkpoint in known[:keep]}
    unneeded = [checkpoint.key for checkpoint in known if checkpoint.key not in kept]
    forget_checkpoints(session, unneeded)
    return unneeded


def get_checkpoints(session: Session, job_id: str) -> tuple[Checkpoint, ...]:
    """Get the job's checkpoints, with the latest epoch and step first."""
    rows = session.scalars(
        select(CheckpointRow)
        .where(CheckpointRow.job_id == job_id)
        .order_by(CheckpointRow.epoch.desc(), CheckpointRow.step.desc(), CheckpointRow.attempt.desc())
    )
    return tuple(Checkpoint(row.epoch, row.step, row.key) for row in rows)


def find_keys_without_checkpoint(session: Session, keys: Collection[str]) -> list[str]:
    """Find the keys that no checkpoint's row contains, whose blobs are no longer needed."""
    known = set(session.scalars(select(CheckpointRow.key).where(CheckpointRow.key.in_(keys))))
    return [key for key in keys if key not in known]


def forget_checkpoints(session: Session, keys: Collection[str]) -> None:
    """Delete the rows of checkpoints. The caller deletes their blobs after the commit."""
    session.execute(delete(CheckpointRow).where(CheckpointRow.key.in_(keys)))


def forget_checkpoints_of_ended(session: Session, job_id: str) -> list[str]:
    """If a job has ended, delete the rows of all its checkpoints but the last, and of files if it has failed.

    Until `forget_old_states`, another job can continue from the last checkpoint. Returns the deleted rows' keys.
    """
    has_ended = (JobRow.id == job_id, JobRow.status.in_(TERMINAL))
    ended = session.execute(select(JobRow.status, JobRow.attempt, JobRow.kind).where(*has_ended)).one_or_none()
    if ended is None:
        return []
    # No job continues from an experiment.
    kept = 0 if ended.kind in EXPERIMENT_KINDS else 1
    keys = [checkpoint.key for checkpoint in get_checkpoints(session, job_id)[kept:]]
    forget_checkpoints(session, keys)
    if ended.status is JobStatus.FAILED:
        keys += artifacts.forget_of_earlier_attempts(session, job_id, ended.attempt)
    return keys


def forget_old_states(session: Session, older_than_s: float, limit: int = 100) -> list[str]:
    """Delete the rows of checkpoints of jobs that ended longer ago. Returns their keys."""
    is_old = (JobRow.status.in_(TERMINAL), JobRow.finished_at <= db_now(-older_than_s))
    left = select(CheckpointRow.key).join(JobRow).where(*is_old).limit(limit)
    keys = list(session.scalars(left))
    forget_checkpoints(session, keys)
    return keys


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
        # Reads after single epochs were noted then.
        measured = [(split, result.final.epoch) for split in HELD_OUT if getattr(result.final, split) is not None]
        for split, epoch in (*measured, *result.other_reads):
            label_reads.add_for_job(session, held.job_id, split, epoch)
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
    """Return whether this attempt has already ended its job as succeeded."""
    ended = (JobRow.id == held.job_id, JobRow.attempt == held.attempt, JobRow.status == JobStatus.SUCCEEDED)
    return session.scalar(select(JobRow.id).where(*ended)) is not None


def fail(session: Session, held: HeldAttempt, *, code: FailureCode | RejectionCode, detail: str) -> JobStatus:
    """Count a failed attempt. Queues the job again with a backoff, or fails it if a retry would not help."""
    row = require_held(session, held)
    failures = row.failures + 1
    decision = decide_after_failure(failures, code)
    error = {"code": code, "detail": detail}
    return move(session, row, decision.event, error=error, failures=failures, backoff_s=decision.backoff_s)


def reject(session: Session, held: HeldAttempt, error: dict[str, Any]) -> JobStatus:
    """Fail an ingest or a check for good, which rejects its dataset or model. Raises LeaseLost."""
    return move(session, require_held(session, held), JobEvent.FAIL, error=error)


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
