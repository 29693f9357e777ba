"""The course of one loss: its best epoch, how far it fell, how far it rose again, and whether it still falls."""

from dataclasses import dataclass
from statistics import median

from heldout.diagnosis.noise import estimate_noise
from heldout.diagnosis.thresholds import MIN_FALL, MIN_FALL_SIGMAS, MIN_RISE, MIN_RISE_SIGMAS


@dataclass(frozen=True)
class Course:
    """The course of a loss. Positions count from 0; levels are medians of neighboring values.

    best: position of the lowest value.
    lowest, last: the lowest level and the level at the end.
    rise: the last level minus the lowest. is_up: whether that exceeds noise and is large enough to matter.
    descent: the highest level minus the lowest.
    scale: what changes are compared with.
    noise: the standard deviation of a single value.
    fall: how far the level fell over the last third of the epochs. still_falls: whether that exceeds noise and is large
        enough to matter.
    """

    values: list[float]
    levels: list[float]
    best: int
    lowest: float
    last: float
    rise: float
    is_up: bool
    descent: float
    scale: float
    noise: float
    fall: float
    still_falls: bool

    @property
    def late(self) -> list[float]:
        """The values at the end from which the last level is computed."""
        return get_last_values(self.values)


def measure_course(values: list[float], *, has_zero: bool = False) -> Course:
    """Measure the course of a loss with at least one value.

    Args:
        has_zero: whether 0 is the lowest possible loss. Then changes are also compared with the lowest level; with
            penalties or an offset, only the descent is known.
    """
    levels = smooth(values)
    last = compute_end_level(values)
    before = len(values) - len(values) // 3
    fall = compute_end_level(values[:before]) - last if before < len(values) else 0.0
    noise = estimate_noise(values)
    lowest, descent = min(levels), max(levels) - min(levels) if len(values) > 1 else 0.0
    scale = min(descent, lowest) if has_zero and lowest > 0 else descent
    rise = last - lowest
    return Course(
        values=values,
        levels=levels,
        best=min(range(len(values)), key=values.__getitem__),
        lowest=lowest,
        last=last,
        rise=rise,
        is_up=rise > MIN_RISE_SIGMAS * noise and rise > MIN_RISE * scale,
        descent=descent,
        scale=scale,
        noise=noise,
        fall=fall,
        # A flattening curve gains less in the next third than in the last, so a small fall promises even less.
        still_falls=before < len(values) and fall > MIN_FALL_SIGMAS * noise and fall > MIN_FALL * scale,
    )


def choose_patience(values: list[float], best: int) -> int:
    """The smallest patience (epochs without a new lowest value) with which early stopping still reaches `best`."""
    lowest, waited, longest = values[0], 0, 0
    for value in values[1 : best + 1]:
        waited += 1
        if value < lowest:
            lowest, longest, waited = value, max(longest, waited), 0
    return max(longest, waited)


def smooth(values: list[float]) -> list[float]:
    """The median of each value and its neighbors."""
    return [median(values[max(0, position - 1) : position + 2]) for position in range(len(values))]


def compute_end_level(values: list[float]) -> float:
    """The median of the last three values (fewer if there are fewer than six), so one late uptick does not move it."""
    return median(get_last_values(values))


def get_last_values(values: list[float]) -> list[float]:
    """The last three values, or fewer if there are fewer than six."""
    return values[-min(3, max(1, len(values) // 2)) :]
