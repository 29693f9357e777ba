"""Metrics of MLflow runs, from its folder or database."""

import math
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from heldout.histories.recorded import Point, RecordedRun


class Metric(NamedTuple):
    """One value from the database; None means NaN."""

    run_id: str
    run_name: str | None
    name: str
    value: float | None
    step: int


def group_metrics_into_runs(metrics: Iterable[Metric]) -> list[RecordedRun]:
    """Group metrics by run, in order of appearance."""
    found: dict[str, RecordedRun] = {}
    curves: dict[str, dict[str, list[Point]]] = {}
    for metric in metrics:
        of_run = curves.setdefault(metric.run_id, {})
        found.setdefault(metric.run_id, RecordedRun(of_run, name=metric.run_name or metric.run_id))
        of_run.setdefault(metric.name, []).append((metric.step, math.nan if metric.value is None else metric.value))
    return list(found.values())


def read_run_files(name: str, files: Mapping[str, str]) -> RecordedRun:
    """Read a run from its metric files by name, whose lines contain time, value and step.

    Raises:
        ValueError: if a line does not.
    """
    curves: dict[str, list[Point]] = {}
    for metric, text in files.items():
        for number, line in enumerate(text.splitlines(), 1):
            parts = line.split()
            try:
                _, value, step = (float(part) for part in parts[:3])
            except ValueError:
                raise ValueError(
                    f"line {number} of the metric {metric!r} is {line[:100]!r}; expected its time, value and step"
                ) from None
            curves.setdefault(metric, []).append((step, value))
    return RecordedRun(curves=curves, name=name)
