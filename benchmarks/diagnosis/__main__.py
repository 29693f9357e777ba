"""The labeled trainings, and what the diagnosis says about them: `python -m benchmarks.diagnosis COMMAND`.

generate [SECONDS]              train the conditions of the collection that have no record yet
score DRAW… | guard DRAW…       tables of verdicts, and of the live guard
false-alarms                    how often flat curves are mistaken for overfitting
calibrate                       fit the confidence again, on all draws but the last, which is sealed
confidence DRAW…                how accurate the confidence is
"""

import sys
import time

from benchmarks.diagnosis.conditions import DRAWS, all_conditions
from benchmarks.diagnosis.record import append, read_all


def main(arguments: list[str]) -> None:
    match arguments:
        case ["generate", *rest] if len(rest) <= 1:
            generate(*map(float, rest))
        case ["score" | "guard" | "confidence" as what, *draws] if draws and {*draws} <= {*map(str, DRAWS)}:
            from benchmarks.diagnosis import confidence, guard, score

            tables = {"score": score.tables, "guard": guard.tables, "confidence": confidence.tables}[what]
            print("\n".join(tables(read_all(), {*map(int, draws)})))
        case ["false-alarms"]:
            from benchmarks.diagnosis import false_alarms

            print("\n".join(false_alarms.tables()))
        case ["calibrate"]:
            from benchmarks.diagnosis import calibration

            print("\n".join(calibration.calibrate(read_all())))
        case _:
            raise SystemExit(__doc__)


def generate(seconds: float = float("inf")) -> None:
    """Train conditions that have no record yet, for at most `seconds`."""
    # Here, since nothing else of this program needs TensorFlow.
    import tensorflow as tf

    from benchmarks.diagnosis.trained import train

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    known = {record.drawn.key for record in read_all()}
    wanted = [condition for condition in all_conditions() if condition.key not in known]
    ends = time.monotonic() + seconds
    for number, condition in enumerate(wanted, 1):
        if time.monotonic() > ends:
            break
        began = time.monotonic()
        append(train(condition))
        print(f"{number}/{len(wanted)} {condition.key} {time.monotonic() - began:.1f} s", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
