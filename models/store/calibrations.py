"""How fast machines train, and what is expected of jobs from it."""

from collections.abc import Mapping
from statistics import mean, median
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from heldout.cost import UNKNOWN_S, Speed, automatic_towers, seconds_per_epoch, starts_in
from heldout.lifecycle import JobStatus
from heldout.spec import JobSpec
from models.store import jobs
from models.store.transitions import now, seconds_since
from models.tables import CalibrationRow, DatasetRow, JobRow

# So many jobs before one are looked at each by each; of the others their mean is taken.
LOOKED_AT = 200


def keep(session: Session, *, host: str, device: str, facts: Mapping[str, Any], speed: Mapping[str, Any]) -> None:
    """Keep what a worker has measured of its machine, in place of what was measured there before."""
    session.merge(
        CalibrationRow(host=host, device=device, facts=dict(facts), speed=dict(speed), measured_at=now(session))
    )
    session.flush()


def facts_of(session: Session, host: str, device: str) -> dict[str, Any] | None:
    """What the machine's calibration holds for; None if it has none."""
    row = session.get(CalibrationRow, (host, device))
    return None if row is None else row.facts


def speeds(session: Session) -> list[Speed]:
    """Of all machines that were measured."""
    rows = session.scalars(select(CalibrationRow).where(CalibrationRow.device == "cpu")).all()
    return [Speed.from_json(row.speed) for row in rows]


def expected_epoch_s(known: list[Speed], spec: JobSpec, dataset: DatasetRow, *, alone: bool = True) -> float | None:
    """Seconds of an epoch on the middle one of the machines; None where none was measured.

    GPUs and mixed precision are not measured. `alone` is whether the job has two cores to itself: on
    a shared core two towers take about as long as one.
    """
    unmeasured = spec.resources.claimed_by == "gpu" or spec.training.precision == "mixed"
    if not known or unmeasured or dataset.splits is None:
        return None
    assert dataset.shape is not None
    assert dataset.classes is not None
    height, width, channels = dataset.shape
    image, classes = (height, width, channels), len(dataset.classes)
    counts = {name: split["count"] for name, split in dataset.splits.items()}
    towers = spec.resources.towers
    if towers == "auto":
        towers = automatic_towers(spec, image, classes) if alone else 1
    return median(seconds_per_epoch(spec, image, classes, counts, speed, towers) for speed in known)


def expected_rest_s(session: Session, dataset_id: str, spec: Mapping[str, Any], epochs: int) -> float | None:
    """Seconds of the `epochs` that a job has left whose automatic choices have been made; None where nobody knows."""
    dataset = session.get(DatasetRow, dataset_id)
    if dataset is None:
        return None
    epoch = expected_epoch_s(speeds(session), JobSpec.model_validate(spec), dataset)
    return None if epoch is None else round(epochs * epoch, 1)


def estimated_start_s(session: Session, row: JobRow) -> float | None:
    """Seconds until a queued job starts, from what the jobs that run and those before it are expected to take."""
    known = speeds(session)
    if row.status is not JobStatus.QUEUED or not known or row.device == "gpu":
        return None
    running = session.scalars(select(JobRow).where(JobRow.status == JobStatus.RUNNING)).all()
    before = session.scalars(jobs.before(row).limit(LOOKED_AT)).all()
    sources = jobs.datasets_of(session, [*running, *before])
    ahead = [_lasts_s(known, one, sources) for one in before]
    total = jobs.ahead_of(session, row) or 0
    if total > len(ahead):
        ahead += [mean(ahead)] * (total - len(ahead))
    left = [_left_s(session, known, one, sources) for one in running]
    starts = starts_in(left, ahead)
    backoff = 0.0 if row.available_at is None else max(0.0, -seconds_since(session, row.available_at))
    return None if starts is None else round(max(starts, backoff), 1)


def _left_s(session: Session, known: list[Speed], row: JobRow, sources: Mapping[str | None, DatasetRow]) -> float:
    if row.eta_s is not None:
        return row.eta_s
    began = row.attempt_started_at
    return max(0.0, _lasts_s(known, row, sources) - (seconds_since(session, began) if began is not None else 0.0))


def _lasts_s(known: list[Speed], row: JobRow, sources: Mapping[str | None, DatasetRow]) -> float:
    """What is left of a job once a worker has it."""
    dataset = sources.get(row.dataset_id)
    if row.kind != "train" or dataset is None:
        return UNKNOWN_S
    epoch = expected_epoch_s(known, JobSpec.model_validate(row.spec), dataset, alone=False)
    return UNKNOWN_S if epoch is None else (row.epochs - row.epoch) * epoch
