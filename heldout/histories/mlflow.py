"""What is particular to MLflow: in its folder each metric is a file of its run, a line a value."""

from collections.abc import Mapping

from heldout.histories.recorded import Point, Run


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
