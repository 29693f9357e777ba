"""A job as an MLflow run: its params, metrics and tags by name. Pure; does not import MLflow."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from heldout.integrations.keras_history import build_keras_history
from heldout.stored.results import FinalView
from heldout.views.base import dump_json
from heldout.views.diagnosis import DiagnosisView
from heldout.views.job import JobView
from heldout.views.results import MetricsView

# MLflow's limits for the values of params and tags.
MAX_PARAM = 6000
MAX_TAG = 5000
JOB_TAG = "heldout.job_id"
# Figures per epoch that Keras' history does not have.
_MORE_CURVES = ("train_loss", "train_accuracy", "test_loss", "test_accuracy", "seconds")
# Maps whose keys are the user's own, not fields.
_WHOLE = {"class_weights"}

# Characters that MLflow does not accept in names of tags.
_NOT_IN_NAMES = re.compile(r"[^\w./ -]", re.ASCII)

RunStatus = Literal["RUNNING", "FINISHED", "FAILED", "KILLED"]
_STATUS: dict[str, RunStatus] = {"succeeded": "FINISHED", "failed": "FAILED", "cancelled": "KILLED"}


class Point(NamedTuple):
    """One value of a metric. Steps are epochs and count from 1; times are in milliseconds since 1970."""

    name: str
    value: float
    time_ms: int
    step: int


@dataclass(frozen=True)
class RunContent:
    """Everything about a job that MLflow stores besides files."""

    status: RunStatus
    params: Mapping[str, str]
    points: tuple[Point, ...]
    tags: Mapping[str, str]


def build_run_content(job: JobView, metrics: MetricsView, diagnosis: DiagnosisView | None) -> RunContent:
    """Build the run of a job. The same job gives the same points; more epochs only add points.

    Args:
        diagnosis: the diagnosis, if the job has ended.
    """
    points = tuple(_iterate_epoch_points(job, metrics))
    if job.finished_at is not None and metrics.final is not None:
        now = round(1000 * job.finished_at.timestamp())
        figures = {**_collect_final_figures(metrics.final), **_collect_terms(diagnosis)}
        points += tuple(Point(name, value, now, metrics.final.epoch) for name, value in figures.items())
    return RunContent(
        status=_STATUS.get(job.status, "RUNNING"),
        params=dict(_iterate_params(dump_json(job.spec)), parameters=str(job.parameters)),
        points=points,
        tags=_build_tags(job, diagnosis),
    )


def _iterate_epoch_points(job: JobView, metrics: MetricsView) -> Iterator[Point]:
    history = build_keras_history(metrics)
    now = (job.started_at or job.created_at).timestamp()
    for row, epoch in enumerate(metrics.epochs):
        now += (epoch.seconds or 0) + (epoch.evaluation_seconds or 0)
        figures = {name: values[row] for name, values in history.items()}
        figures |= {name: getattr(epoch, name) for name in _MORE_CURVES}
        for name, value in figures.items():
            if value is not None:
                yield Point(name, value, round(1000 * now), epoch.epoch)


def _collect_final_figures(final: FinalView) -> dict[str, float]:
    """Figures of the kept weights by split, and the gaps, which are positive if held-out images are worse."""
    found: dict[str, float | None] = {}
    for name, split in (("train", final.train), ("validation", final.validation), ("test", final.test)):
        if split is not None:
            found |= {f"final/{name}/loss": split.loss, f"final/{name}/accuracy": split.accuracy}
            if split.interval is not None:
                low, high = split.interval
                found |= {f"final/{name}/accuracy_low": low, f"final/{name}/accuracy_high": high}
            found |= {f"final/{name}/{metric}": result.value for metric, result in split.metrics.items()}
    for name, gap in (("validation", final.gap.validation), ("test", final.gap.test)):
        if gap is not None:
            found |= {f"gap/to_{name}/accuracy": gap.accuracy, f"gap/to_{name}/loss": gap.loss}
    return {name: value for name, value in found.items() if value is not None}


def _collect_terms(diagnosis: DiagnosisView | None) -> dict[str, float]:
    """Collect the terms of the gap between training and test."""
    if diagnosis is None or diagnosis.gap is None:
        return {}
    found = {}
    for term in diagnosis.gap.terms:
        found[f"gap/{term.code}/accuracy"] = term.accuracy
        if term.loss is not None:
            found[f"gap/{term.code}/loss"] = term.loss
    return found


def _iterate_params(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Yield each field that a spec sets, by its path: `network.blocks.0.filters`. Name and metadata are left out."""
    if isinstance(value, Mapping) and path.rpartition(".")[2] not in _WHOLE:
        for name, inner in value.items():
            if path or name not in {"name", "metadata"}:
                yield from _iterate_params(inner, f"{path}.{name}" if path else name)
    elif isinstance(value, list) and any(isinstance(inner, Mapping) for inner in value):
        for place, inner in enumerate(value):
            yield from _iterate_params(inner, f"{path}.{place}")
    elif value is not None:
        yield path, (value if isinstance(value, str) else json.dumps(value))[:MAX_PARAM]


def _build_tags(job: JobView, diagnosis: DiagnosisView | None) -> dict[str, str]:
    error = None if job.error is None else f"{job.error.code}: {job.error.detail}"
    known = {
        JOB_TAG: job.id,
        "heldout.status": job.status,
        "heldout.stop_reason": job.stop_reason,
        "heldout.error": error,
        "heldout.dataset": f"{job.dataset.name}@{job.dataset.version}",
        "heldout.study_id": job.study_id,
        "heldout.verdict": None if diagnosis is None else diagnosis.verdict,
        # MLflow shows this as the run's description.
        "mlflow.note.content": error if diagnosis is None else diagnosis.explanation,
        **{"metadata." + _NOT_IN_NAMES.sub("_", name): value for name, value in job.spec.metadata.items()},
    }
    return {name: value[:MAX_TAG] for name, value in known.items() if value}
