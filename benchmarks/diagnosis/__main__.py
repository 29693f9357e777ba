"""The labelled trainings and what the diagnosis says of them: `python -m benchmarks.diagnosis COMMAND`.

generate [SECONDS]              train the conditions of the collection that have no record yet
score DRAW… | guard DRAW…       tables of verdicts, and of the live guard
limits                          how much better overfitting could be told
calibrate                       fit the confidence anew, on all draws but the last, which is sealed
confidence DRAW…                how true the confidence is
two-causes generate [SECONDS]   train the conditions with two causes that have no record yet
two-causes score DRAW           is the larger cause the verdict, and are the terms right?
"""

import sys
import time
from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

from benchmarks.diagnosis.conditions import DRAWS, all_conditions
from benchmarks.diagnosis.record import append, read_all
from benchmarks.diagnosis.two_causes import conditions as two_causes
from benchmarks.diagnosis.two_causes.record import append_two_causes, read_two_causes


def main(arguments: list[str]) -> None:
    match arguments:
        case ["generate", *rest] if len(rest) <= 1:
            generate(*map(float, rest))
        case ["score" | "guard" | "confidence" as what, *draws] if draws and {*draws} <= {*map(str, DRAWS)}:
            from benchmarks.diagnosis import confidence, guard, score

            tables = {"score": score.tables, "guard": guard.tables, "confidence": confidence.tables}[what]
            print("\n".join(tables(read_all(), {*map(int, draws)})))
        case ["limits"]:
            from benchmarks.diagnosis import limits

            print("\n".join(limits.tables(read_all())))
        case ["calibrate"]:
            from benchmarks.diagnosis import calibration

            print("\n".join(calibration.calibrate(read_all())))
        case ["two-causes", "generate", *rest] if len(rest) <= 1:
            generate_two_causes(*map(float, rest))
        case ["two-causes", "score", draw] if draw in {*map(str, two_causes.DRAWS)}:
            from benchmarks.diagnosis.two_causes import score as two_causes_score

            print("\n".join(two_causes_score.tables(read_two_causes(), int(draw))))
        case _:
            raise SystemExit(__doc__)


class HasKey(Protocol):
    @property
    def key(self) -> str: ...


Wanted = TypeVar("Wanted", bound=HasKey)


def generate(seconds: float = float("inf")) -> None:
    """Train conditions that have no record yet until `seconds` have passed."""
    _one_thread()
    from benchmarks.diagnosis.trained import train

    known = {record.drawn.key for record in read_all()}
    wanted = [condition for condition in all_conditions() if condition.key not in known]
    _train_all(wanted, lambda condition: append(train(condition)), seconds)


def generate_two_causes(seconds: float = float("inf")) -> None:
    """The same of trainings with two causes, and of those that they are compared with."""
    _one_thread()
    from benchmarks.diagnosis.two_causes.trained import train

    known = {record.planted.key for record in read_two_causes()}
    every = [*two_causes.bases(), *two_causes.all_conditions()]
    wanted = [condition for condition in every if condition.key not in known]
    _train_all(wanted, lambda condition: append_two_causes(train(condition)), seconds)


def _one_thread() -> None:
    # Here, since nothing else of this program needs TensorFlow.
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)


def _train_all(wanted: Sequence[Wanted], train: Callable[[Wanted], None], seconds: float) -> None:
    ends = time.monotonic() + seconds
    for number, condition in enumerate(wanted, 1):
        if time.monotonic() > ends:
            break
        began = time.monotonic()
        train(condition)
        print(f"{number}/{len(wanted)} {condition.key} {time.monotonic() - began:.1f} s", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
