"""What other programs have recorded of trainings: curves by their names, before it is known which curve is which."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from heldout.diagnosis.history import History

# A file of more is none of a training's; each run costs time.
MAX_RUNS = 1000
# Names with values. A logger writes hundreds at most.
MAX_NAMES = 10_000

# Position (an epoch, a step or a line) and value, which may be NaN or infinite.
Point = tuple[float, float]


@dataclass(frozen=True)
class RecordedRun:
    """The curves of one training.

    name: empty where the program has not named it.
    curves: by name, the points in the order in which they were written.
    by_epoch: names of the curves whose positions are epochs; steps and lines only say what belongs together.
    without_values: names of curves that hold NaN wherever another split has figures.
    notes: sentences that tell the user how the figures were read.
    """

    curves: Mapping[str, Sequence[Point]]
    by_epoch: frozenset[str] = frozenset()
    name: str = ""
    without_values: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class ReadHistory:
    """A history as the diagnosis takes it, and sentences that tell the user how its figures were read.

    without_values: names of curves that hold nothing but NaN.
    """

    history: History
    notes: tuple[str, ...] = field(default=())
    without_values: tuple[str, ...] = ()
