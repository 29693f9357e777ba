"""How fast machines train as their workers measured it, and how long jobs should take by that."""

from collections.abc import Mapping
from statistics import mean, median
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from heldout.cost import ASSUMED_RUNTIME_S, Speed, automatic_towers, seconds_per_epoch, seconds_until_start
from heldout.errors import SpecUnreadable
from heldout.kinds import KINDS_IN_SLOTS
from heldout.layers import NetworkPlan, plan_network
from heldout.lifecycle import JobStatus
from heldout.spec import JobSpec
from models.specs import spec_of
from models.store import jobs
from models.store.transitions import now, seconds_since
from models.tables import CalibrationRow, DatasetRow, JobRow

# So many of the jobs before one are estimated one by one. The others are taken to last as long as these on average.
MAX_JOBS_ESTIMATED = 200


def keep(session: Session, *, host: str, device: str, facts: Mapping[str, Any], speed: Mapping[str, Any]) -> None:
    """Store what a worker has measured of its machine, in place of what was stored before."""
    session.merge(
        CalibrationRow(host=host, device=device, facts=dict(facts), speed=dict(speed), measured_at=now(session))
    )
    session.flush()


def facts_of(session: Session, host: str, device: str) -> dict[str, Any] | None:
    """The facts of the machine for which its calibration holds; None if it has none."""
    row = session.get(CalibrationRow, (host, device))
    return None if row is None else row.facts


def speeds(session: Session) -> list[Speed]:
    """The speeds of all machines that were measured."""
    rows = session.scalars(select(CalibrationRow).where(CalibrationRow.device == "cpu")).all()
    return [Speed.from_json(row.speed) for row in rows]


def expected_epoch_s(
    known: list[Speed], spec: JobSpec, plan: NetworkPlan, dataset: DatasetRow, *, alone: bool = True
) -> float | None:
    """Seconds of an epoch on the middle one of the measured machines; None where none was measured.

    GPUs and mixed precision are not measured. `alone` is whether the job has two cores to itself: on
    a shared core two towers take about as long as one.
    """
    is_unmeasured = spec.resources.required_gpus > 0 or spec.training.precision == "mixed"
    if not known or is_unmeasured or dataset.splits is None:
        return None
    counts = {name: split["count"] for name, split in dataset.splits.items()}
    wanted = spec.resources.towers

    def towers_on(speed: Speed) -> int:
        if wanted != "auto":
            return wanted
        return automatic_towers(spec, plan, speed.cores) if alone else 1

    return median(seconds_per_epoch(spec, plan, counts, speed, towers_on(speed)) for speed in known)


def expected_rest_s(session: Session, dataset_id: str, spec: JobSpec, epochs: int) -> float | None:
    """Seconds of the `epochs` that a job has left whose automatic choices have been made; None where nobody knows."""
    dataset = session.get(DatasetRow, dataset_id)
    if dataset is None:
        return None
    epoch_s = _epoch_s(speeds(session), spec, dataset)
    return None if epoch_s is None else round(epochs * epoch_s, 1)


def estimated_start_s(session: Session, row: JobRow) -> float | None:
    """Seconds until a queued job starts, from what the jobs that run and those before it are expected to take."""
    known = speeds(session)
    if row.status is not JobStatus.QUEUED or not known or row.gpus > 0:
        return None
    running = session.scalars(
        select(JobRow).where(JobRow.status == JobStatus.RUNNING, JobRow.kind.in_(KINDS_IN_SLOTS))
    ).all()
    before = session.scalars(jobs.jobs_ahead_of(row).limit(MAX_JOBS_ESTIMATED)).all()
    sources = jobs.datasets_of(session, [*running, *before])
    ahead_s = [_duration_s(known, one, sources) for one in before]
    total = jobs.count_ahead_of(session, row) or 0
    if total > len(ahead_s):
        ahead_s += [mean(ahead_s)] * (total - len(ahead_s))
    remaining_s = [_remaining_s(session, known, one, sources) for one in running]
    start_s = seconds_until_start(remaining_s, ahead_s)
    backoff_s = 0.0 if row.available_at is None else max(0.0, -seconds_since(session, row.available_at))
    return None if start_s is None else round(max(start_s, backoff_s), 1)


def _remaining_s(session: Session, known: list[Speed], row: JobRow, sources: Mapping[str | None, DatasetRow]) -> float:
    if row.eta_s is not None:
        return row.eta_s
    began = row.attempt_started_at
    return max(0.0, _duration_s(known, row, sources) - (seconds_since(session, began) if began is not None else 0.0))


def _duration_s(known: list[Speed], row: JobRow, sources: Mapping[str | None, DatasetRow]) -> float:
    """Seconds that the rest of a job takes once a worker has it."""
    dataset = sources.get(row.dataset_id)
    try:
        spec = spec_of(row)
    except SpecUnreadable:  # the job fails as soon as a worker has it
        return 0.0
    if not isinstance(spec, JobSpec) or dataset is None:
        return ASSUMED_RUNTIME_S
    epoch_s = _epoch_s(known, spec, dataset, alone=False)
    return ASSUMED_RUNTIME_S if epoch_s is None else (row.epochs - row.epoch) * epoch_s


def _epoch_s(known: list[Speed], spec: JobSpec, dataset: DatasetRow, *, alone: bool = True) -> float | None:
    if not known or dataset.shape is None or dataset.classes is None:
        return None
    height, width, channels = dataset.shape
    plan = plan_network(spec.network, (height, width, channels), len(dataset.classes))
    return expected_epoch_s(known, spec, plan, dataset, alone=alone)
