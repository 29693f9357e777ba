"""The training speed of machines, as measured by their workers, and when a queued job should start."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from statistics import mean, median
from typing import Any

from sqlalchemy import ColumnElement, func, select, union_all
from sqlalchemy.orm import Session

from analysis.scheduling.cost import Speed, choose_auto_towers, estimate_epoch_seconds
from analysis.scheduling.queueing import (
    EndedJob,
    OwnersQueue,
    RunningJob,
    TrainingPace,
    compute_pace,
    count_most_at_once,
    estimate_remaining_s,
    estimate_seconds_until_start,
)
from heldout.access.rights import Quota, get_bound
from heldout.errors import SpecUnreadable
from heldout.lifecycle.job import JobStatus
from heldout.spec.job import JobSpec
from heldout.spec.layers import NetworkPlan
from heldout.work.kinds import KINDS_IN_SLOTS, JobKind, leave_out_yielding
from models.specs import count_splits, make_plan, read_spec
from models.store import accounts, jobs, quotas
from models.store.transitions import get_now
from models.tables import CalibrationRow, DatasetRow, EpochRow, JobRow, OwnerRow


def keep(session: Session, *, host: str, device: str, facts: Mapping[str, Any], speed: Mapping[str, Any]) -> None:
    """Store a worker's measurement of its machine, replacing an earlier one."""
    session.merge(
        CalibrationRow(host=host, device=device, facts=dict(facts), speed=dict(speed), measured_at=get_now(session))
    )
    session.flush()


def get_facts(session: Session, host: str, device: str) -> dict[str, Any] | None:
    """Get the facts of the machine that its calibration was measured for, if it has one."""
    row = session.get(CalibrationRow, (host, device))
    return None if row is None else row.facts


def list_speeds(session: Session) -> list[Speed]:
    """List the speeds of all measured machines."""
    rows = session.scalars(select(CalibrationRow).where(CalibrationRow.device == "cpu")).all()
    return [Speed.from_json(row.speed) for row in rows]


def estimate_epoch_s(
    known: list[Speed], spec: JobSpec, plan: NetworkPlan, dataset: DatasetRow, *, alone: bool = True
) -> float | None:
    """Estimate the seconds per epoch on the median of the measured machines. None if none was measured.

    GPUs are not measured, nor 16-bit precision on CPUs without native support. `alone` is whether the job has all cores
    of its worker: on a shared core, several towers take about as long as one.
    """
    counts = count_splits(dataset, spec)
    if not known or spec.resources.required_gpus > 0 or counts is None:
        return None
    wanted = spec.resources.towers

    def choose_towers(speed: Speed) -> int:
        if wanted != "auto":
            return wanted
        return choose_auto_towers(spec, plan, speed.cores) if alone else 1

    of_machines = [estimate_epoch_seconds(spec, plan, counts, speed, choose_towers(speed)) for speed in known]
    measured = [seconds for seconds in of_machines if seconds is not None]
    return median(measured) if measured else None


def estimate_rest_s(session: Session, job_id: str, spec: JobSpec, epochs: int) -> float | None:
    """Estimate the seconds for a job's remaining epochs, once its automatic choices are made. None if unknown."""
    job = session.get(JobRow, job_id)
    dataset = None if job is None else session.get(DatasetRow, job.dataset_id)
    if job is None or dataset is None:
        return None
    epoch_s = estimate_planned_epoch_s(list_speeds(session), spec, dataset, job.backbone)
    return None if epoch_s is None else round(epochs * epoch_s, 1)


def estimate_planned_epoch_s(
    known: list[Speed],
    spec: JobSpec,
    dataset: DatasetRow,
    backbone: Mapping[str, Any] | None,
    *,
    alone: bool = True,
) -> float | None:
    """Call `estimate_epoch_s` for a job with a known network. `backbone` is from the job's row."""
    plan = make_plan(dataset, spec, backbone) if known else None
    return None if plan is None else estimate_epoch_s(known, spec, plan, dataset, alone=alone)


# How many of the owner's jobs ahead, and of each other owner's jobs, are estimated individually. The others are assumed
# to take their average time.
OWN_JOBS_ESTIMATED = 200
OTHERS_JOBS_ESTIMATED = 4
# How many other owners are considered, in the order of their turns.
OWNERS_ESTIMATED = 25
# How many of the owner's last trainings are used to estimate durations.
ENDED_JOBS = 20
# Workers whose last training ended within this time are assumed to be alive.
SLOT_SEEN_S = 30.0

Datasets = Mapping[str | None, DatasetRow]
Conditions = tuple[ColumnElement[bool], ...]
# Jobs for GPUs wait for other workers.
_IS_QUEUED = (JobRow.status == JobStatus.QUEUED, JobRow.gpus == 0)


def estimate_start_s(session: Session, row: JobRow) -> float | None:
    """Estimate the seconds until a queued job starts. None if no worker or no speed is known."""
    if row.status is not JobStatus.QUEUED or row.gpus > 0:
        return None
    known, ended = list_speeds(session), _list_ended(session, row.owner)
    if not known and not ended:
        return None
    kinds = leave_out_yielding(KINDS_IN_SLOTS, [row.kind])
    waits = (*_IS_QUEUED, JobRow.kind.in_(kinds))
    owners = _get_waiting_owners(session, waits)
    if row.owner not in owners:
        return None  # it is suspended
    running = session.scalars(
        select(JobRow).where(JobRow.status == JobStatus.RUNNING, JobRow.kind.in_(KINDS_IN_SLOTS))
    ).all()
    own = jobs.select_jobs_ahead(row).where(*waits)
    others = [owner for owner in owners if owner != row.owner][:OWNERS_ESTIMATED]
    waiting = [*session.scalars(own.limit(OWN_JOBS_ESTIMATED)), *_list_first_jobs(session, others, waits)]
    sources = jobs.get_datasets(session, [*running, *waiting, *ended])
    pace = compute_pace(
        [
            EndedJob(
                taken_s=_count_seconds(job.attempt_started_at, job.finished_at),
                epochs_s=epochs_s,
                expected_s=_estimate_epochs_s(known, sources, job, job.epoch),
            )
            for job, epochs_s in ended.items()
        ]
    )
    durations_s = defaultdict(list)
    for job in waiting:
        durations_s[job.owner].append(pace.duration_s(_estimate_epochs_s(known, sources, job, job.epochs - job.epoch)))
    usual_s = (
        [mean(duration_s for of_owner in durations_s.values() for duration_s in of_owner)]
        if waiting
        else [pace.runtime_s]
    )
    at = get_now(session)
    queues = {
        name: OwnersQueue(
            accounts.get_standing(owner),
            count,
            durations_s.get(name, usual_s),
            most_running=get_bound(Quota.RUNNING_JOBS, quotas.get_bounds(session), owner.quotas),
            held_s=max(0.0, _count_seconds(at, owner.held_until)),
        )
        for name, (owner, count) in owners.items()
    }
    ahead = session.scalar(select(func.count()).select_from(own.order_by(None).subquery())) or 0
    queues[row.owner] = replace(queues[row.owner], jobs=ahead)
    start_s = estimate_seconds_until_start(
        [_build_running_job(pace, known, sources, job, at) for job in running if job.kind in kinds],
        row.owner,
        queues,
        slots=_count_slots(running, ended, at),
        now_s=at.timestamp(),
    )
    backoff_s = 0.0 if row.available_at is None else max(0.0, _count_seconds(at, row.available_at))
    return None if start_s is None else round(max(start_s, backoff_s), 1)


def _get_waiting_owners(session: Session, waits: Conditions) -> dict[str, tuple[OwnerRow, int]]:
    """Get owners with such waiting jobs, and the number of these jobs, in the order of their turns."""
    counts = select(JobRow.owner, func.count().label("jobs")).where(*waits).group_by(JobRow.owner).subquery()
    rows = session.execute(
        select(OwnerRow, counts.c.jobs)
        .join(counts, counts.c.owner == OwnerRow.owner)
        .where(OwnerRow.suspended_at.is_(None))
        .order_by(OwnerRow.turn, OwnerRow.owner)
    )
    return {row.owner: (row, count) for row, count in rows}


def _list_first_jobs(session: Session, owners: Sequence[str], waits: Conditions) -> Sequence[JobRow]:
    """List the next of such waiting jobs of each of these owners."""
    if not owners:
        return ()
    firsts = [
        select(
            jobs.sort_as_claimed(select(JobRow.id).where(JobRow.owner == owner, *waits))
            .limit(OTHERS_JOBS_ESTIMATED)
            .subquery()
            .c.id
        )
        for owner in owners
    ]
    ids = union_all(*firsts).subquery()
    return session.scalars(jobs.sort_as_claimed(select(JobRow).join(ids, ids.c.id == JobRow.id))).all()


def _build_running_job(
    pace: TrainingPace, known: list[Speed], sources: Datasets, row: JobRow, at: datetime
) -> RunningJob:
    elapsed_s = _count_seconds(row.attempt_started_at, at)
    epochs_s = _estimate_epochs_s(known, sources, row, row.epochs - row.epoch)
    left_s = estimate_remaining_s(pace, epochs_s, elapsed_s, row.eta_s if row.epoch else None)
    return RunningJob(left_s, -elapsed_s, row.owner, row.charged_s)


def _list_ended(session: Session, owner: str) -> dict[JobRow, float]:
    """List the owner's last trainings that succeeded in one attempt, with the total seconds of their epochs."""
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


def _count_slots(running: Sequence[JobRow], ended: Mapping[JobRow, float], at: datetime) -> int:
    """Count the jobs that ran at once recently, because a slot is briefly empty between two jobs."""
    recent = [row for row in ended if _count_seconds(row.finished_at, at) < SLOT_SEEN_S]
    spans = [
        (row.attempt_started_at.timestamp(), (row.finished_at or at).timestamp())
        for row in (*running, *recent)
        if row.attempt_started_at is not None
    ]
    return max(len(running), count_most_at_once(spans))


def _estimate_epochs_s(known: list[Speed], sources: Datasets, row: JobRow, epochs: int) -> float | None:
    """Estimate the seconds of some epochs of a job by the cost model. None if unknown."""
    dataset = sources.get(row.dataset_id)
    try:
        spec = read_spec(row)
    except SpecUnreadable:  # the job will fail as soon as a worker claims it
        return 0.0
    if not isinstance(spec, JobSpec) or dataset is None:
        return None
    epoch_s = estimate_planned_epoch_s(known, spec, dataset, row.backbone, alone=False)
    return None if epoch_s is None else epochs * epoch_s


def _count_seconds(since: datetime | None, until: datetime | None) -> float:
    return 0.0 if since is None or until is None else (until - since).total_seconds()
