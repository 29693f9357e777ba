"""`python -m benchmarks.diagnosis generate [SECONDS] | score DRAW… | guard DRAW… | limits`; the last draw is sealed."""

import sys
import time

from benchmarks.diagnosis.conditions import DRAWS, all_conditions
from benchmarks.diagnosis.record import append, read_all

USAGE = f"Usage: {__doc__}"


def main(arguments: list[str]) -> None:
    match arguments:
        case ["generate"]:
            generate(float("inf"))
        case ["generate", seconds]:
            generate(float(seconds))
        case ["score" | "guard" as what, *draws] if draws and {*draws} <= {*map(str, DRAWS)}:
            from benchmarks.diagnosis import guard, score

            tables = score.tables if what == "score" else guard.tables
            print("\n".join(tables(read_all(), {*map(int, draws)})))
        case ["limits"]:
            from benchmarks.diagnosis import limits

            print("\n".join(limits.tables(read_all())))
        case _:
            raise SystemExit(USAGE)


def generate(seconds: float) -> None:
    """Train conditions that have no record yet until `seconds` have passed."""
    # Here, since nothing else of this program needs TensorFlow.
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    from benchmarks.diagnosis.trained import train

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
