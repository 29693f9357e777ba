"""Reports on a study between its looks: provisional means, and an upper estimate of its time left. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from analysis.studies.state import Purpose, Scores, StudyRun


def add_provisional_means(arms: Sequence[Mapping[str, Any]], runs: Iterable[StudyRun]) -> list[dict[str, Any]]:
    """Return the arms of a study before its first look, with means over the trainings that have ended so far.

    Arms without trainings among `runs` keep what they have.

    The arms keep their order and get neither intervals nor differences: before a look, nothing may be concluded, and
    only looks decide what is dropped.

    Args:
        arms: as stored in the study.
        runs: all trainings of some of its arms.
    """
    measured: dict[str, list[Scores]] = {}
    for run in runs:
        if run.scores is not None and run.key.purpose is Purpose.RACE:
            measured.setdefault(run.key.arm, []).append(run.scores)
    return [
        {**arm, "provisional": _compute_means(measured.get(arm["name"], [])) or arm.get("provisional")} for arm in arms
    ]


def _compute_means(scores: Sequence[Scores]) -> dict[str, Any] | None:
    if not scores:
        return None
    return {
        "seeds": len(scores),
        "accuracy": sum(float(run.right.mean()) for run in scores) / len(scores),
        "loss": sum(float(run.losses.mean()) for run in scores) / len(scores),
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
