"""Recordings by other programs: curves by name, before it is known which curve is which."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from heldout.diagnosis.history import History

# A file with more runs than this is not a training log, and parsing each run takes time.
MAX_RUNS = 1000
# Names with values. A logger writes at most hundreds.
MAX_NAMES = 10_000

# Position (an epoch, a step or a line) and value, which may be NaN or infinite.
Point = tuple[float, float]


@dataclass(frozen=True)
class RecordedRun:
    """The curves of one training.

    name: empty if the program did not name it.
    curves: points by curve name, in the order in which they were written.
    by_epoch: names of the curves whose positions are epochs; steps and lines only say what belongs together.
    without_values: names of curves that contain NaN wherever another split has figures.
    notes: sentences for the user about how the figures were read.
    """

    curves: Mapping[str, Sequence[Point]]
    by_epoch: frozenset[str] = frozenset()
    name: str = ""
    without_values: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class ReadHistory:
    """A history for the diagnosis, and sentences for the user about how its figures were read.

    without_values: names of curves that contain only NaN.
    """

    history: History
    notes: tuple[str, ...] = field(default=())
    without_values: tuple[str, ...] = ()

    def to_metrics(self) -> dict[str, object]:
        """Convert to the API's form for a job's figures, in which every curve has a name."""
        curves = {name: curve for name, curve in vars(self.history).items() if name != "numbers" and curve}
        epochs = [
            {"epoch": number} | {name: curve[place] for name, curve in curves.items() if place < len(curve)}
            for place, number in enumerate(self.history.epoch_numbers)
        ]
        return {"object": "metrics", "epochs": epochs}
