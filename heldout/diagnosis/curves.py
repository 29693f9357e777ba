"""What a noisy curve says: its noise, its best epoch, where it turns, how it ends. No unit and no offset matters."""

from bisect import bisect_left, bisect_right, insort
from dataclasses import dataclass
from itertools import accumulate, pairwise
from math import sqrt
from statistics import median

from heldout.diagnosis.history import Curve

# A normal distribution's standard deviation over its median absolute deviation.
_MAD = 1.4826
# So few third differences cannot be compared with another curve's.
ENOUGH = 4
# How many standard deviations of the noise a rise of the last values must have to be one, a rise of the mean of many,
# and a fall, which is large anyway.
CLEAR, STEADY, LIKELY = 3.0, 2.5, 2.0
# The same of Kendall's statistic: how seldom values without a trend come in an order that rises so much.
RISING = 2.0
# And where the last values are above the lowest level by more than one standard deviation, too.
LEANING = 1.2
# Of the unit of a curve: a smaller rise is of no interest even where it is no noise, and so is a smaller fall.
RISE, FALL = 0.025, 0.15


@dataclass(frozen=True)
class Turn:
    """A loss on its way: places are positions in the curve, from 0.

    floor is its lowest level and end its last one, both less noise; noise is the standard deviation of one value;
    way is how far it has come down in all; unit is what changes are measured by.
    """

    best: int
    floor: float
    end: float
    noise: float
    way: float
    unit: float

    @property
    def rise(self) -> float:
        return self.end - self.floor

    def is_clear(self, change: float, share: float) -> bool:
        """Whether a change of the level is more than noise, and more than a share of the unit."""
        return change > CLEAR * self.noise and change > share * self.unit


def finite(curve: Curve) -> list[float]:
    """The curve up to the first value that is not finite."""
    values: list[float] = []
    for value in curve:
        if value is None:
            break
        values.append(value)
    return values


def turn_of(values: list[float], has_zero: bool = False) -> Turn:
    """How a loss went; at least one value.

    Args:
        has_zero: whether 0 is the lowest that the loss can be. Then a change matters by its share of the lowest level,
            too; of a loss with penalties or an offset only the way that it has come is known.
    """
    level = smoothed(values)
    floor, way = min(level), max(level) - min(level) if len(values) > 1 else 0.0
    return Turn(
        best=min(range(len(values)), key=values.__getitem__),
        floor=floor,
        end=level_at_end(values),
        noise=noise_of(values),
        way=way,
        unit=min(way, floor) if has_zero and floor > 0 else way,
    )


def smoothed(values: list[float]) -> list[float]:
    """The median of each value and its neighbours."""
    return [median(values[max(0, place - 1) : place + 2]) for place in range(len(values))]


def level_at_end(values: list[float], width: int = 3) -> float:
    """The level of the last values; one late uptick does not move it."""
    return median(values[-min(width, max(1, len(values) // 2)) :])


def noise_of(values: list[float], beside: list[float] | None = None) -> float:
    """The standard deviation of one value around its trend, from third differences: a parabola has none.

    The beginning, where the trend bends most, counts only where there is little else. Three values show no noise.

    Args:
        beside: the same weights' loss on other images. What both share is of the weights, which wander, and no noise
            of the one; what is left of it is given, if that is less.
    """
    bends = _bends(values)
    if not bends:
        return 0.0
    noise = _spread(bends)
    others = _bends(beside[: len(values)]) if beside else []
    if len(others) != len(bends) or len(bends) < ENOUGH:
        return noise
    squares = sum(one * one for one in others)
    share = max(0.0, sum(one * other for one, other in zip(bends, others, strict=True)) / squares) if squares else 0.0
    return min(noise, _spread([one - share * other for one, other in zip(bends, others, strict=True)]))


def _bends(values: list[float]) -> list[float]:
    """Third differences, less those of the beginning."""
    bends = values
    for _ in range(3):
        bends = [after - before for before, after in pairwise(bends)]
    return bends[len(bends) // 4 :] if len(bends) > 6 else bends


def _spread(bends: list[float]) -> float:
    return _MAD * median(map(abs, bends)) / sqrt(20)  # 1, 3, 3 and 1, squared


def stays_up(values: list[float], turn: Turn, noise: float) -> bool:
    """Whether many values together say that a loss is above its lowest, where its last ones alone do not.

    Either the mean of the last quarter is above the lowest mean of as many in a row, by the noise of two such means; or
    what came after the best value rises, by Kendall's test, which needs no noise: without a trend each order of them is
    as likely. A weaker sign of order counts beside a level at the end that is a weak sign, too.
    """
    width = max(1, len(values) // 4)
    sums = [0.0, *accumulate(values)]
    means = [(after - before) / width for before, after in zip(sums, sums[width:], strict=False)]
    if means[-1] - min(means) > STEADY * noise * sqrt(2 / width):
        return True
    order = _rising(values[turn.best + 1 :])
    return order > RISING or (order > LEANING and turn.rise > noise)


def _rising(values: list[float]) -> float:
    """Kendall's statistic of the order of values, in its standard deviations; 0 of fewer than three."""
    count = len(values)
    if count < 3:
        return 0.0
    score, earlier = 0, list[float]()
    for value in values:
        score += bisect_left(earlier, value) - (len(earlier) - bisect_right(earlier, value))
        insort(earlier, value)
    return score / sqrt(count * (count - 1) * (2 * count + 5) / 18)


def onset_of(values: list[float], turn: Turn) -> int | None:
    """The first place after the best from which on the curve stays above its floor by more than its noise.

    Where the noise is more than half of the rise, by more than that half.
    """
    level = smoothed(values)
    bar = turn.floor + min(turn.noise, turn.rise / 2)
    onset = len(values)
    while onset > turn.best + 1 and level[onset - 1] > bar:
        onset -= 1
    return onset if onset < len(values) else None


def falls_at_end(values: list[float], turn: Turn) -> tuple[bool, float]:
    """Whether the last third of the epochs, half as many again as those before, still brought a loss down, and how far.

    A curve that comes down ever more slowly gains less by as many epochs again than it has gained by the last.
    """
    width = len(values) // 3
    if not width:
        return False, 0.0
    before = len(values) - width
    fell = level_at_end(values[:before]) - turn.end
    return fell > LIKELY * turn.noise and fell > FALL * turn.unit, fell
