"""The trend of a curve: its noise, how far a loss fell and rose again, and whether accuracy fell, held or rose."""

from dataclasses import dataclass
from itertools import pairwise
from math import sqrt
from statistics import fmean, median

from heldout.diagnosis import thresholds


def estimate_noise(values: list[float], other: list[float] | None = None) -> float:
    """The standard deviation of one value around its trend, from third differences (a parabola has none).

    The beginning, where the trend bends most, counts only if there is little else. Three values show no noise.

    Args:
        other: the same weights' loss on other images. Movements that both share come from the weights and are not
            noise. The noise that is not shared is returned if it is smaller.
    """
    differences = _compute_third_differences(values)
    if not differences:
        return 0.0
    noise = _compute_deviation(differences)
    others = _compute_third_differences(other[: len(values)]) if other else []
    if len(others) != len(differences) or len(differences) < thresholds.MIN_SHARED_DIFFERENCES:
        return noise
    pairs = list(zip(differences, others, strict=True))
    squares = sum(difference * difference for difference in others)
    share = max(0.0, sum(first * second for first, second in pairs) / squares) if squares else 0.0
    return min(noise, _compute_deviation([first - share * second for first, second in pairs]))


def _compute_third_differences(values: list[float]) -> list[float]:
    """Third differences, without the first quarter if there are more than six."""
    differences = values
    for _ in range(3):
        differences = [after - before for before, after in pairwise(differences)]
    return differences[len(differences) // 4 :] if len(differences) > 6 else differences


def _compute_deviation(third_differences: list[float]) -> float:
    """Deviation of one value: a third difference weights values by 1, 3, 3 and 1, whose squares sum to 20."""
    return thresholds.NORMAL_DEVIATION_PER_MEDIAN * median(map(abs, third_differences)) / sqrt(20)


@dataclass(frozen=True)
class LossTrend:
    """The trend of a loss. Positions count from 0; levels are medians of neighboring values.

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


def measure_trend(values: list[float], *, has_zero: bool = False) -> LossTrend:
    """Measure the trend of a loss with at least one value.

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
    return LossTrend(
        values=values,
        levels=levels,
        best=min(range(len(values)), key=values.__getitem__),
        lowest=lowest,
        last=last,
        rise=rise,
        is_up=rise > thresholds.MIN_RISE_SIGMAS * noise and rise > thresholds.MIN_RISE * scale,
        descent=descent,
        scale=scale,
        noise=noise,
        fall=fall,
        # A flattening curve gains less in the next third than in the last, so a small fall promises even less.
        still_falls=before < len(values)
        and fall > thresholds.MIN_FALL_SIGMAS * noise
        and fall > thresholds.MIN_FALL * scale,
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


@dataclass(frozen=True)
class AccuracyChange:
    """The change of accuracy from the epochs around the best one to the last quarter of the epochs.

    values: the accuracy of each epoch. best: position of the epoch with the lowest loss.
    change: change of the mean; positive if accuracy rose. error: the standard error of `change`.
    level: the mean of the last quarter.
    """

    values: list[float]
    best: int
    change: float
    error: float
    level: float

    @property
    def rose(self) -> bool:
        return self.change > max(thresholds.MIN_ACCURACY_COST, thresholds.MIN_ACCURACY_SIGMAS * self.error)

    @property
    def fell(self) -> bool:
        return self.change < -max(thresholds.MAX_ACCURACY_FALL, thresholds.MIN_ACCURACY_SIGMAS * self.error)

    @property
    def held(self) -> bool:
        """Whether accuracy rose, or at least did not fall enough to matter."""
        possible_fall = thresholds.MIN_ACCURACY_SIGMAS * self.error - self.change
        return self.change >= -thresholds.MAX_ACCURACY_FALL and (
            self.rose or possible_fall <= thresholds.MAX_POSSIBLE_ACCURACY_FALL
        )

    @property
    def best_by_accuracy(self) -> int:
        """Position of the first epoch with the highest accuracy."""
        return max(range(len(self.values)), key=self.values.__getitem__)


def compute_accuracy_change(
    accuracy: list[float], training: list[float], best: int, epochs: int
) -> AccuracyChange | None:
    """Measure the change, or return None if an epoch has no accuracy or the best epoch is the last.

    Args:
        accuracy: validation accuracy, one value per epoch.
        training: training accuracy; movements that both share are not noise of validation.
        best: position of the epoch with the lowest loss.
        epochs: number of epochs with a loss.
    """
    if len(accuracy) < epochs or best >= epochs - 1:
        return None
    values = accuracy[:epochs]
    around = values[max(0, min(best - 1, epochs - 3)) :][:3]
    late = values[best + 1 :][-max(1, epochs // 4) :]
    noise = estimate_noise(values, training)
    error = noise * sqrt(1 / len(around) + 1 / len(late))
    return AccuracyChange(values, best, fmean(late) - fmean(around), error, fmean(late))
