"""How fast machines train as their workers measured it, and how long jobs should take by that."""

from collections.abc import Mapping
from statistics import median
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from analysis.scheduling.cost import Speed, automatic_towers, seconds_per_epoch
from heldout.spec.job import JobSpec
from heldout.spec.layers import NetworkPlan
from models.specs import plan_of
from models.split_counts import counts_of
from models.store.transitions import now
from models.tables import CalibrationRow, DatasetRow, JobRow


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

    GPUs are not measured, nor 16 bits where the processor has no units for them. `alone` is whether the job has all
    cores of its worker: on a shared core several towers take about as long as one.
    """
    counts = counts_of(dataset, spec)
    if not known or spec.resources.required_gpus > 0 or counts is None:
        return None
    wanted = spec.resources.towers

    def towers_on(speed: Speed) -> int:
        if wanted != "auto":
            return wanted
        return automatic_towers(spec, plan, speed.cores) if alone else 1

    of_machines = [seconds_per_epoch(spec, plan, counts, speed, towers_on(speed)) for speed in known]
    measured = [seconds for seconds in of_machines if seconds is not None]
    return median(measured) if measured else None


def expected_rest_s(session: Session, job_id: str, spec: JobSpec, epochs: int) -> float | None:
    """Seconds of the `epochs` that a job has left whose automatic choices have been made; None where nobody knows."""
    job = session.get(JobRow, job_id)
    dataset = None if job is None else session.get(DatasetRow, job.dataset_id)
    if job is None or dataset is None:
        return None
    epoch_s = epoch_s_of(speeds(session), spec, dataset, job.backbone)
    return None if epoch_s is None else round(epochs * epoch_s, 1)


def epoch_s_of(
    known: list[Speed],
    spec: JobSpec,
    dataset: DatasetRow,
    backbone: Mapping[str, Any] | None,
    *,
    alone: bool = True,
) -> float | None:
    """`expected_epoch_s` of a job whose network was planned before; `backbone` as its row keeps it."""
    plan = plan_of(dataset, spec, backbone) if known else None
    return None if plan is None else expected_epoch_s(known, spec, plan, dataset, alone=alone)
