"""When a queued job should start, from the jobs that run, those before it, and what trainings here have taken."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from statistics import mean

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from heldout.cost import Speed
from heldout.errors import SpecUnreadable
from heldout.kinds import KINDS_IN_SLOTS, JobKind
from heldout.lifecycle import JobStatus
from heldout.queueing import EndedJob, most_at_once, pace_of, remaining_s, seconds_until_start
from heldout.spec import JobSpec
from models.specs import spec_of
from models.store import jobs
from models.store.calibrations import epoch_s_of, speeds
from models.store.transitions import now
from models.tables import DatasetRow, EpochRow, JobRow

# So many of the jobs before one are estimated one by one. The others are taken to last as long as these on average.
MAX_JOBS_ESTIMATED = 200
# So many of the owner's last trainings tell how long trainings take.
ENDED_JOBS = 20
# Workers whose trainings ended so short a time ago are still there.
SLOT_SEEN_S = 30.0

Datasets = Mapping[str | None, DatasetRow]


def estimated_start_s(session: Session, row: JobRow) -> float | None:
    """Seconds until a queued job starts; None where no worker is known of, or nothing that tells how fast it is."""
    if row.status is not JobStatus.QUEUED or row.gpus > 0:
        return None
    known, ended = speeds(session), _ended(session, row.owner)
    if not known and not ended:
        return None
    running = session.scalars(
        select(JobRow).where(JobRow.status == JobStatus.RUNNING, JobRow.kind.in_(KINDS_IN_SLOTS))
    ).all()
    # Those for GPUs wait for other workers.
    ahead = jobs.jobs_ahead_of(row).where(JobRow.kind.in_(KINDS_IN_SLOTS), JobRow.gpus == 0)
    before = session.scalars(ahead.limit(MAX_JOBS_ESTIMATED)).all()
    sources = jobs.datasets_of(session, [*running, *before, *ended])
    pace = pace_of([_ended_job(known, sources, one, epochs_s) for one, epochs_s in ended.items()])
    ahead_s = [pace.duration_s(_epochs_s(known, sources, one, one.epochs - one.epoch)) for one in before]
    if len(ahead_s) == MAX_JOBS_ESTIMATED:
        total = session.scalar(select(func.count()).select_from(ahead.order_by(None).subquery())) or 0
        ahead_s += [mean(ahead_s)] * (total - len(ahead_s))
    at = now(session)
    left_s = [
        remaining_s(
            pace,
            _epochs_s(known, sources, one, one.epochs - one.epoch),
            _seconds(one.attempt_started_at, at),
            one.eta_s if one.epoch else None,
        )
        for one in running
    ]
    start_s = seconds_until_start(left_s, ahead_s, _slots(running, ended, at))
    backoff_s = 0.0 if row.available_at is None else max(0.0, _seconds(at, row.available_at))
    return None if start_s is None else round(max(start_s, backoff_s), 1)


def _ended(session: Session, owner: str) -> dict[JobRow, float]:
    """The owner's last trainings that ended well in one attempt, each with the seconds of its epochs."""
    rows = session.scalars(
        select(JobRow)
        .where(JobRow.owner == owner, JobRow.kind == JobKind.TRAIN, JobRow.status == JobStatus.SUCCEEDED)
        .order_by(JobRow.id.desc())
        .limit(ENDED_JOBS)
    ).all()
    whole = [row for row in rows if row.attempt == 1]
    seconds = func.coalesce(EpochRow.seconds, 0.0) + func.coalesce(EpochRow.evaluation_seconds, 0.0)
    sums = session.execute(
        select(EpochRow.job_id, func.sum(seconds))
        .where(EpochRow.job_id.in_([row.id for row in whole]))
        .group_by(EpochRow.job_id)
    )
    of_job = {job_id: total for job_id, total in sums}  # noqa: C416  (typed so)
    return {row: of_job[row.id] for row in whole if row.id in of_job}


def _ended_job(known: list[Speed], sources: Datasets, row: JobRow, epochs_s: float) -> EndedJob:
    return EndedJob(
        taken_s=_seconds(row.attempt_started_at, row.finished_at),
        epochs_s=epochs_s,
        expected_s=_epochs_s(known, sources, row, row.epoch),
    )


def _slots(running: Sequence[JobRow], ended: Mapping[JobRow, float], at: datetime) -> int:
    """How many jobs ran at once a moment ago: between two jobs a slot is empty for a while."""
    recent = [row for row in ended if _seconds(row.finished_at, at) < SLOT_SEEN_S]
    spans = [
        (row.attempt_started_at.timestamp(), (row.finished_at or at).timestamp())
        for row in (*running, *recent)
        if row.attempt_started_at is not None
    ]
    return max(len(running), most_at_once(spans))


def _epochs_s(known: list[Speed], sources: Datasets, row: JobRow, epochs: int) -> float | None:
    """Seconds of so many epochs of a job by the cost model; None where nobody knows."""
    dataset = sources.get(row.dataset_id)
    try:
        spec = spec_of(row)
    except SpecUnreadable:  # the job fails as soon as a worker has it
        return 0.0
    if not isinstance(spec, JobSpec) or dataset is None:
        return None
    epoch_s = epoch_s_of(known, spec, dataset, alone=False)
    return None if epoch_s is None else epochs * epoch_s


def _seconds(since: datetime | None, until: datetime | None) -> float:
    return 0.0 if since is None or until is None else (until - since).total_seconds()
