"""What a noisy curve says: its noise, its best epoch, where it turns, how it ends. No unit and no offset matters."""

from dataclasses import dataclass
from itertools import pairwise
from statistics import median

from heldout.diagnosis.history import Curve

# A normal distribution's standard deviation over its median absolute deviation.
_MAD = 1.4826
# How many standard deviations of the noise a change must have to be one.
CLEAR = 3.0
# Of the whole way that a curve has gone: less than this is of no interest even where it is no noise.
SHARE = 0.03


@dataclass(frozen=True)
class Turn:
    """A loss on its way: places are positions in the curve, from 0.

    floor is its lowest level and end its last one, both less noise; noise is the standard deviation of one value;
    way is how far it has come down in all.
    """

    best: int
    floor: float
    end: float
    noise: float
    way: float

    @property
    def rise(self) -> float:
        return self.end - self.floor

    def is_clear(self, change: float, way: float = 0.0) -> bool:
        """Whether a change of the level is more than noise and more than a trifle."""
        return change > CLEAR * self.noise and change > SHARE * max(self.way, way)


def finite(curve: Curve) -> list[float]:
    """The curve up to the first value that is not finite."""
    values: list[float] = []
    for value in curve:
        if value is None:
            break
        values.append(value)
    return values


def turn_of(values: list[float]) -> Turn:
    """How a loss went; at least one value."""
    level = smoothed(values)
    return Turn(
        best=min(range(len(values)), key=values.__getitem__),
        floor=min(level),
        end=level_at_end(values),
        noise=noise_of(values),
        way=max(level) - min(level) if len(values) > 1 else 0.0,
    )


def smoothed(values: list[float]) -> list[float]:
    """The median of each value and its neighbours."""
    return [median(values[max(0, place - 1) : place + 2]) for place in range(len(values))]


def level_at_end(values: list[float], width: int = 3) -> float:
    """The level of the last values; one late uptick does not move it."""
    return median(values[-min(width, max(1, len(values) // 2)) :])


def noise_of(values: list[float]) -> float:
    """The standard deviation of one value around its trend, from second differences: a straight line has none.

    The beginning, where the trend bends most, counts only where there is little else.
    """
    bends = [before - 2 * here + after for (before, here), (_, after) in pairwise(pairwise(values))]
    if len(bends) > 6:
        bends = bends[len(bends) // 4 :]
    if not bends:
        return 0.0
    return _MAD * median(map(abs, bends)) / 6**0.5


def onset_of(values: list[float], turn: Turn) -> int | None:
    """The first place after the best from which on the curve stays above its floor by more than its noise."""
    level = smoothed(values)
    bar = turn.floor + max(CLEAR * turn.noise, SHARE / 2 * turn.way)
    onset = len(values)
    while onset > turn.best + 1 and level[onset - 1] > bar:
        onset -= 1
    return onset if onset < len(values) else None


def falls_at_end(values: list[float]) -> tuple[bool, float]:
    """Whether a loss still comes down clearly in its last quarter, and by how much."""
    width = max(2, len(values) // 4)
    if len(values) < 2 * width:
        return False, 0.0
    fell = median(values[-2 * width : -width]) - median(values[-width:])
    return turn_of(values).is_clear(fell), fell
