"""The truth about a condition's remedies, measured on the referee's images, which no study has seen.

The images come in blocks. Every second block is the test split of people who choose by one; the others judge.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import combinations
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from analysis.studies.intervals import MeanEstimate, compute_crossed_spread, estimate_own_noise
from benchmarks.cures import replay
from benchmarks.cures.conditions import SEEDS, Condition
from benchmarks.cures.record import BLOCK, Training
from heldout.studies.spec import BASE_ARM

Measure = Literal["loss", "accuracy"]
MEASURES: tuple[Measure, ...] = ("loss", "accuracy")
FOR_TEST, FOR_JUDGE = 0, 1  # which of two blocks
ERROR = 0.05
# Both halves of the seeds, each way round.
HALVES = [*combinations(SEEDS, len(SEEDS) // 2)]

Blocks = NDArray[np.float64]


@dataclass(frozen=True)
class Gap:
    """The possible gain in one measure.

    size: how much better than the base, on one half of the seeds, the remedy is that is best on the other half.
    closable: whether this is sure in more than half of all ways to halve the seeds.
    """

    size: float
    closable: bool


@dataclass(frozen=True)
class Truth:
    """The truth about one condition. benefits: (seeds, blocks) how much better than the base each remedy is, by
    measure.
    """

    condition: Condition
    benefits: dict[str, dict[Measure, Blocks]]
    base: dict[Measure, float]

    def benefit(self, remedy: str | None, measure: Measure) -> float:
        """A remedy's benefit over all seeds; 0 for the base itself, and if no remedy was chosen."""
        return float(self.benefits[remedy][measure].mean()) if remedy in self.benefits else 0.0

    def gain(self, remedy: str, seeds: Sequence[int] = SEEDS) -> float:
        """The mean of the shares of the base's loss and of its errors that a remedy saves."""
        own = {measure: float(self.benefits[remedy][measure][list(seeds)].mean()) for measure in MEASURES}
        return (own["loss"] / self.base["loss"] + own["accuracy"] / (1 - self.base["accuracy"])) / 2

    def bounds(self, remedy: str, measure: Measure, seeds: Sequence[int] = SEEDS) -> tuple[float, float]:
        """The interval in which the benefit surely lies."""
        spread = compute_crossed_spread(self.benefits[remedy][measure][list(seeds)])
        return MeanEstimate(spread, estimate_own_noise(spread)).interval(ERROR)

    def gap(self, measure: Measure) -> Gap:
        """What the best remedy would gain, chosen by its gain in both measures."""
        sizes, sure = [], []
        for half in HALVES:
            rest = [seed for seed in SEEDS if seed not in half]
            best = max(self.benefits, key=lambda remedy: self.gain(remedy, half))
            sizes.append(float(self.benefits[best][measure][rest].mean()))
            sure.append(self.bounds(best, measure, rest)[0] > 0)
        return Gap(float(np.mean(sizes)), 2 * sum(sure) > len(sure))

    def is_wrong(self, remedy: str) -> bool:
        """Return whether it is better in neither measure, or surely worse in one."""
        better = any(self.benefit(remedy, measure) > 0 for measure in MEASURES)
        return not better or any(self.bounds(remedy, measure)[1] < 0 for measure in MEASURES)

    def is_like_base(self, remedy: str) -> bool:
        """Return whether neither measure tells it from the base."""
        return all(low <= 0 <= high for low, high in (self.bounds(remedy, measure) for measure in MEASURES))


@cache
def truth_of(condition: Condition) -> Truth:
    """Measure the truth about all recorded remedies."""
    grid = replay.grid(condition)

    def table(arm: str, measure: Measure) -> Blocks:
        return np.stack([blocks(grid[arm, seed], measure, FOR_JUDGE) for seed in SEEDS])

    base = {measure: table(BASE_ARM, measure) for measure in MEASURES}
    benefits: dict[str, dict[Measure, Blocks]] = {
        remedy: {
            "loss": base["loss"] - table(remedy, "loss"),
            "accuracy": table(remedy, "accuracy") - base["accuracy"],
        }
        for remedy in replay.remedies(condition)
    }
    return Truth(condition, benefits, {measure: float(base[measure].mean()) for measure in MEASURES})


def blocks(training: Training, measure: Measure, half: int) -> Blocks:
    """Return (blocks,) means over the images of each block of one half."""
    if measure == "loss":
        means = training.referee_losses.astype(np.float64) / BLOCK
    else:
        means = training.referee_correct.reshape(-1, BLOCK).mean(axis=1)
    return means[half::2]
