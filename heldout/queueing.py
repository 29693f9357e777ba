"""How long jobs take, and how many run at once, from what trainings have taken before. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median

# Seconds of a training outside its epochs, half before the first and half after the last, where none has ended yet.
ASSUMED_AROUND_EPOCHS_S = 2.0
# The assumed duration of a job that cannot be estimated.
ASSUMED_RUNTIME_S = 10.0


@dataclass(frozen=True)
class EndedJob:
    """A training that has ended well, in seconds.

    taken_s: from its claim to its end. epochs_s: of its epochs, as measured. expected_s: of its epochs by the cost
    model, null where nobody knows.
    """

    taken_s: float
    epochs_s: float
    expected_s: float | None


@dataclass(frozen=True)
class Pace:
    """How trainings here differ from what their epochs should take alone.

    around_epochs_s: seconds that a training takes outside its epochs. slowness: seconds for each expected one of an
    epoch, more than 1 where jobs share cores. runtime_s: of a whole job of which nothing is known.
    """

    around_epochs_s: float = ASSUMED_AROUND_EPOCHS_S
    slowness: float = 1.0
    runtime_s: float = ASSUMED_RUNTIME_S

    def duration_s(self, epochs_s: float | None) -> float:
        """Seconds from claim to end. epochs_s: of all epochs by the cost model; null where nobody knows."""
        return self.runtime_s if epochs_s is None else self.around_epochs_s + self.slowness * epochs_s


def pace_of(ended: Sequence[EndedJob]) -> Pace:
    """The middle of some trainings that have ended; what is assumed without any."""
    if not ended:
        return Pace()
    ratios = [one.epochs_s / one.expected_s for one in ended if one.expected_s and one.epochs_s]
    return Pace(
        around_epochs_s=median(max(0.0, one.taken_s - one.epochs_s) for one in ended),
        slowness=median(ratios) if ratios else 1.0,
        runtime_s=median(one.taken_s for one in ended),
    )


def remaining_s(pace: Pace, epochs_s: float | None, elapsed_s: float, eta_s: float | None) -> float:
    """Seconds that a running job has left.

    Args:
        epochs_s: as for `Pace.duration_s`.
        eta_s: of its epochs that are left, as it measures them itself; null before its first one.
    """
    if eta_s is not None:
        return eta_s + pace.around_epochs_s / 2
    return max(0.0, pace.duration_s(epochs_s) - elapsed_s)


def most_at_once(spans: Iterable[tuple[float, float]]) -> int:
    """How many of these spans, from a beginning to an end, hold one moment."""
    # Of one moment ends come first: a slot's next job may begin just then.
    steps = sorted(step for begin, end in spans for step in ((begin, 1), (end, -1)))
    most = now = 0
    for _, change in steps:
        now += change
        most = max(most, now)
    return most
