"""The training speed of machines, as measured by their workers, and estimates of job durations."""

from collections.abc import Mapping
from statistics import median
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from analysis.scheduling.cost import Speed, choose_auto_towers, estimate_epoch_seconds
from heldout.spec.job import JobSpec
from heldout.spec.layers import NetworkPlan
from models.specs import make_plan
from models.split_counts import count_splits
from models.store.transitions import get_now
from models.tables import CalibrationRow, DatasetRow, JobRow


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
