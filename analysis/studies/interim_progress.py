"""Reports on a study between its looks: provisional means, and an upper estimate of its time left. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from analysis.studies.state import Means


def add_provisional_means(arms: Sequence[Mapping[str, Any]], runs: Iterable[tuple[str, Means]]) -> list[dict[str, Any]]:
    """Return the arms of a study before its first look, with means over the trainings that have ended so far.

    Arms without trainings among `runs` keep what they have.

    The arms keep their order and get neither intervals nor differences: before a look, nothing may be concluded, and
    only looks decide what is dropped.

    Args:
        arms: as stored in the study.
        runs: the arm and the means of each compared training of some of its arms.
    """
    measured: dict[str, list[Means]] = {}
    for arm, means in runs:
        measured.setdefault(arm, []).append(means)
    return [
        {**arm, "provisional": _compute_means(measured.get(arm["name"], [])) or arm.get("provisional")} for arm in arms
    ]


def _compute_means(runs: Sequence[Means]) -> dict[str, Any] | None:
    if not runs:
        return None
    known = [run.objective for run in runs if run.objective is not None]
    return {
        "seeds": len(runs),
        "accuracy": sum(run.accuracy for run in runs) / len(runs),
        "loss": sum(run.loss for run in runs) / len(runs),
        "objective": sum(known) / len(known) if known else None,
    }


def estimate_left_s(*, most: int, done: int, elapsed_s: float, before_s: float | None) -> float | None:
    """Estimate how long a study will take at most, from its pace so far. The estimate never grows.

    Args:
        most: trainings in total, if no further arm is dropped.
        done: trainings that have ended.
        elapsed_s: since the first of them began, including parallel trainings and waits.
        before_s: the previous estimate.
    """
    if not done:
        return before_s
    left_s = round((most - done) * elapsed_s / done, 1)
    return left_s if before_s is None else min(before_s, left_s)
