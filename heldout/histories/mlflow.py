"""What is particular to MLflow: metrics of runs, from its folder or from its database."""

import math
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from heldout.histories.recorded import Point, Run


class Metric(NamedTuple):
    """One value as the database has it; None is NaN."""

    run_id: str
    run_name: str | None
    name: str
    value: float | None
    step: int


def runs_of_metrics(metrics: Iterable[Metric]) -> list[Run]:
    """The runs in the order in which they come."""
    found: dict[str, Run] = {}
    curves: dict[str, dict[str, list[Point]]] = {}
    for one in metrics:
        of_run = curves.setdefault(one.run_id, {})
        found.setdefault(one.run_id, Run(of_run, name=one.run_name or one.run_id))
        of_run.setdefault(one.name, []).append((one.step, math.nan if one.value is None else one.value))
    return list(found.values())


def run_of_files(name: str, files: Mapping[str, str]) -> Run:
    """The run whose metrics are these texts by their names: lines of time, value and step.

    Raises:
        ValueError: if a line is none.
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
    return Run(curves=curves, name=name)
