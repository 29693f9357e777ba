"""The course of one loss: its best epoch, how far it came down, how far it went up again, whether it still falls."""

from dataclasses import dataclass
from statistics import median

from heldout.diagnosis.noise import estimate_noise
from heldout.diagnosis.thresholds import MIN_FALL, MIN_FALL_SIGMAS, MIN_RISE, MIN_RISE_SIGMAS


@dataclass(frozen=True)
class Course:
    """Positions count from 0. Levels are medians of neighboring values, which no single epoch moves.

    best: position of the lowest value.
    lowest, last: the lowest level, and the one at the end.
    rise: the last level above the lowest. is_up: whether that is more than noise, and matters.
    descent: the lowest level below the highest.
    scale: what a change must be large beside.
    noise: the standard deviation of a single value.
    fall: how far the level fell over the last third of the epochs. still_falls: whether that is more than noise, and
        matters.
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
        """The values that its end is judged by."""
        return get_last_values(self.values)


def measure_course(values: list[float], *, has_zero: bool = False) -> Course:
    """The course of a loss; at least one value.

    Args:
        has_zero: whether 0 is the lowest that the loss can be. Then a change matters beside the lowest level, too; of a
            loss with penalties or an offset only the descent is known.
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
        # A curve that comes down ever more slowly gains less by as many epochs again than it has gained by the last.
        still_falls=before < len(values) and fall > MIN_FALL_SIGMAS * noise and fall > MIN_FALL * scale,
    )


def choose_patience(values: list[float], best: int) -> int:
    """The fewest epochs without a new lowest value after which to stop, so that `best` is still reached."""
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
    """The median of the last three values, of fewer if there are fewer than six; one late uptick does not move it."""
    return median(get_last_values(values))


def get_last_values(values: list[float]) -> list[float]:
    """The last three, or fewer if there are fewer than six."""
    return values[-min(3, max(1, len(values) // 2)) :]
