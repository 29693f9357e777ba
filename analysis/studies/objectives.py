"""Compares two arms by an objective that is neither loss nor accuracy, from what each image contributes to it. Pure."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import inf
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from analysis.answers import metrics
from analysis.answers.metrics import Contributions, smooth_minimum
from analysis.studies.intervals import (
    MeanEstimate,
    RunNoise,
    Spread,
    compute_spread,
    compute_unpaired_spread,
    estimate_own_noise,
    estimate_shared_noise,
)
from analysis.studies.state import Scores
from heldout.metrics import FEWEST_OF_RAREST, METRICS, Measure

Values = NDArray[np.float64]
# A part of an image of each class that only one network answers correctly, half each way, so that few differences are
# not known exactly. Ranks of probabilities differ less. Found by simulation (docs/measurements/objectives.md).
PSEUDO_IMAGE, PSEUDO_RANK = 0.25, 0.04
# The part of the error with which a stratum is ruled out as the lowest. The rest covers how it differs.
RULED_OUT = 0.1


class Pair(NamedTuple):
    """The trainings of two arms. is_paired: whether those at the same place belong together, by their seed."""

    runs: Sequence[Scores]
    others: Sequence[Scores]
    is_paired: bool = True


def get_objective(scores: Scores) -> Contributions:
    """Return what the images of a training contribute to the objective."""
    assert scores.objective is not None, "every training of a study with such an objective has contributions"
    return scores.objective


def count_strata(runs: Sequence[Scores]) -> NDArray[np.int64]:
    """Count the images of each class or group in some trainings, each image once; 0 for one without images."""
    images = np.concatenate([run.images for run in runs])
    strata = np.concatenate([get_objective(run).strata for run in runs])
    _, places = np.unique(images, return_index=True)
    return metrics.count_strata(strata[places])


def count_rarest(runs: Sequence[Scores], measure: Measure) -> int | None:
    """Return the images of the rarest class or group; None if the measure does not depend on them."""
    if not runs or METRICS[measure].depends_on is None or runs[0].objective is None:
        return None
    counts = count_strata(runs)
    return int(np.min(counts[counts > 0]))


def has_too_few(runs: Sequence[Scores], measure: Measure) -> bool:
    """Return whether there are too few images of a class or group for an interval."""
    rarest = count_rarest(runs, measure)
    return rarest is not None and rarest < FEWEST_OF_RAREST


def compute_difference_spread(pair: Pair, measure: Measure, folds: int | None) -> Spread:
    """Return the spread of an arm's mean minus another's."""
    own, base = ([get_objective(run).of_image for run in runs] for runs in (pair.runs, pair.others))
    strata = [get_objective(run).strata for run in pair.runs]
    if not pair.is_paired:
        values = [np.stack([_correct(each, strata[0]) for each in of_arm]) for of_arm in (own, base)]
        spread = compute_unpaired_spread(*values)
        by_image = values[0].mean(axis=0) - values[1].mean(axis=0)
        return _complete(spread, [by_image], strata[:1], pair.runs, measure)
    differences = [first - second for first, second in zip(own, base, strict=True)]
    return _compute_spread(differences, strata, pair.runs, measure, folds)


def compute_arm_spread(runs: Sequence[Scores], measure: Measure, folds: int | None) -> Spread:
    """Return the spread of an arm's own mean."""
    values, strata = [get_objective(run).of_image for run in runs], [get_objective(run).strata for run in runs]
    return _compute_spread(values, strata, runs, measure, folds)


def _compute_spread(
    values: Sequence[Values],
    strata: Sequence[NDArray[np.int64]],
    runs: Sequence[Scores],
    measure: Measure,
    folds: int | None,
) -> Spread:
    corrected = [_correct(each, of_each) for each, of_each in zip(values, strata, strict=True)]
    spread = compute_spread(corrected, folds)
    if folds is None:
        corrected, strata = [np.mean(corrected, axis=0)], strata[:1]
    return _complete(spread, corrected, strata, runs, measure)


def _correct(values: Values, strata: NDArray[np.int64]) -> Values:
    """Spread contributions as those of a sample are, whose classes have few images each. The mean stays."""
    counts = np.maximum(np.bincount(strata), 2)
    mean = float(values.mean())
    spread = (values - mean) * np.sqrt(counts / (counts - 1))[strata]
    return np.asarray(spread - spread.mean() + mean)


def _complete(
    spread: Spread,
    values: Sequence[Values],
    strata: Sequence[NDArray[np.int64]],
    runs: Sequence[Scores],
    measure: Measure,
) -> Spread:
    """Add what few images of a class leave unknown, or that there are too few of them."""
    if has_too_few(runs, measure):
        return replace(spread, run_variance=inf)
    if METRICS[measure].depends_on is None:
        return spread
    counts = count_strata(runs)
    used = counts > 0
    every, of_every = np.concatenate(values), np.concatenate(strata)
    squares = np.bincount(of_every, (every - spread.mean) ** 2, minlength=len(counts))[used]
    counts = counts[used]
    # Half an image of each class that only one of the two answers correctly, each way, as for accuracies.
    pseudo = (PSEUDO_RANK if measure == "auroc" else PSEUDO_IMAGE) * (1 / (len(counts) * counts)) ** 2
    parts = squares / len(every) ** 2 + pseudo
    degrees = float(parts.sum() ** 2 / np.sum(parts**2 / (counts - 1)))
    return replace(
        spread,
        image_noise=0.0,  # a few images of a rare class vary too much between trainings to count as normal noise
        lasting_image_noise=spread.lasting_image_noise + float(pseudo.sum()),
        image_degrees=degrees,
    )


# --- the lowest of several shares ------------------------------------------------------------------------


@dataclass(frozen=True)
class MinimumEstimate:
    """The lowest share of an arm's classes or groups minus the base's, with conservative bounds.

    The arm and the base may be lowest in different strata. Which strata these are is uncertain, so the bounds hold for
    every pair of strata that may be the lowest.

    own, base, difference: of each stratum, the shares of the arm and of the base, and their difference on equal images.
    counts: images of each.
    """

    own: tuple[MeanEstimate, ...]
    base: tuple[MeanEstimate, ...]
    difference: tuple[MeanEstimate, ...]
    counts: tuple[int, ...]

    @property
    def mean(self) -> float:
        """Return the difference of the smoothed minima."""
        return _smooth(self.own, self.counts) - _smooth(self.base, self.counts)

    @property
    def spread(self) -> Spread:
        """Return the spread of the difference in the arm's lowest stratum."""
        lowest = min(range(len(self.own)), key=lambda place: self.own[place].mean)
        return self.difference[lowest].spread

    def mirror(self) -> "MinimumEstimate":
        """Return the estimate of the negative difference."""
        mirrored = tuple(each.mirror() for each in self.difference)
        return MinimumEstimate(self.base, self.own, mirrored, self.counts)

    def interval(self, error: float = 0.05) -> tuple[float, float]:
        """Return bounds that miss the true difference with at most this probability."""
        kept = (1 - RULED_OUT) * error
        low, high = self._bound(error, lambda estimate: estimate.compute_half_width(kept))
        return min(low, self.mean), max(high, self.mean)

    def _bound(self, error: float, compute_half: Callable[[MeanEstimate], float]) -> tuple[float, float]:
        """Return the lowest and the highest bound of the pairs of strata that may be the lowest."""
        own, base = (_list_lowest(shares, RULED_OUT * error) for shares in (self.own, self.base))
        mine, others = (
            np.array([(shares[place].mean, compute_half(shares[place])) for place in places])
            for shares, places in ((self.own, own), (self.base, base))
        )
        means = mine[:, None, 0] - others[None, :, 0]
        # Images of two strata are different ones, so their noise adds up. Those of one stratum are paired.
        halves = np.hypot(mine[:, None, 1], others[None, :, 1])
        for place in {*own} & {*base}:
            halves[own.index(place), base.index(place)] = compute_half(self.difference[place])
        return float(np.min(means - halves)), float(np.max(means + halves))

    def compute_expected_half_width(self, error: float, trainings: int, image_factor: float = 1.0) -> float:
        """Return half the width of the interval with this many trainings, on this many times the images."""
        low, high = self._bound(
            error, lambda estimate: estimate.compute_expected_half_width(error, trainings, image_factor)
        )
        return max(high - self.mean, self.mean - low)

    def compute_expected_change(self, trainings: int, error: float = 0.05) -> float:
        """Return how far the difference may still move until there are this many trainings."""
        return max(each.compute_expected_change(trainings, error) for each in self.difference)


def compare_minima(pairs: Mapping[str, Pair], measure: Measure, folds: int | None) -> dict[str, MinimumEstimate]:
    """Compare arms by their lowest class or group. Noise of a stratum is estimated from all arms together."""
    first = next(iter(pairs.values()))
    counts = count_strata(first.runs)
    strata = np.flatnonzero(counts).tolist()
    too_few = any(has_too_few(pair.runs, measure) for pair in pairs.values())
    differences: dict[str, list[MeanEstimate]] = {name: [] for name in pairs}
    for stratum in strata:
        spreads = [_compute_stratum_spread(pair, stratum, folds) for pair in pairs.values()]
        if too_few:
            spreads = [replace(spread, run_variance=inf) for spread in spreads]
        for name, spread, noise in zip(pairs, spreads, estimate_shared_noise(spreads), strict=True):
            differences[name].append(MeanEstimate(spread, noise))
    return {
        name: MinimumEstimate(
            estimate_strata(pair.runs, strata, folds),
            estimate_strata(pair.others, strata, folds),
            tuple(differences[name]),
            tuple(counts[strata].tolist()),
        )
        for name, pair in pairs.items()
    }


def estimate_strata(runs: Sequence[Scores], strata: Sequence[int], folds: int | None) -> tuple[MeanEstimate, ...]:
    """Return an arm's share of right answers in each stratum."""
    spreads = [_compute_share_spread([_take(run, stratum) for run in runs], folds) for stratum in strata]
    return tuple(MeanEstimate(spread, estimate_own_noise(spread)) for spread in spreads)


def estimate_minimum(runs: Sequence[Scores], measure: Measure, folds: int | None) -> tuple[float, tuple[float, float]]:
    """Return an arm's lowest share, smoothed, and conservative bounds."""
    counts = count_strata(runs)
    strata = np.flatnonzero(counts).tolist()
    shares = estimate_strata(runs, strata, folds)
    mean = _smooth(shares, counts[strata].tolist())
    if has_too_few(runs, measure):
        return mean, (-inf, inf)
    low = min(share.interval(0.05)[0] for share in shares)
    high = min(share.interval(0.05 / len(shares))[1] for share in shares)
    return mean, (min(low, mean), max(high, mean))


def _take(run: Scores, stratum: int) -> Values:
    found = get_objective(run)
    return np.asarray(found.of_image[found.strata == stratum])


def _compute_stratum_spread(pair: Pair, stratum: int, folds: int | None) -> Spread:
    own, base = ([_take(run, stratum) for run in runs] for runs in (pair.runs, pair.others))
    if not pair.is_paired:
        return _limit_degrees(compute_unpaired_spread(np.stack(own), np.stack(base), binary=True))
    return _compute_share_spread([first - second for first, second in zip(own, base, strict=True)], folds)


def _compute_share_spread(values: Sequence[Values], folds: int | None) -> Spread:
    if all(len(each) > 1 for each in values):
        return _limit_degrees(compute_spread(values, folds, binary=True))
    known = np.concatenate(values)
    mean = float(known.mean()) if len(known) else 0.0
    return Spread(mean, len(values), len(known), inf, 0.0, 0.0, folds)


def _limit_degrees(spread: Spread) -> Spread:
    return replace(spread, image_degrees=float(max(spread.images - 1, 1)))


def _list_lowest(shares: Sequence[MeanEstimate], error: float) -> list[int]:
    """Return the places of the shares that may be the lowest, all of them together but for this error."""
    bounds = [share.interval(error / len(shares)) for share in shares]
    highest = min(high for _, high in bounds)
    return [place for place, (low, _) in enumerate(bounds) if low <= highest]


def _smooth(shares: Sequence[MeanEstimate], counts: Sequence[int]) -> float:
    return smooth_minimum(np.array([share.mean for share in shares]), np.array(counts))


def estimate_objective(
    runs: Sequence[Scores], measure: Measure, folds: int | None
) -> tuple[float, tuple[float, float]]:
    """Return an arm's own figure in the objective, from its own trainings only, and its interval."""
    if METRICS[measure].is_minimum:
        return estimate_minimum(runs, measure, folds)
    spread = compute_arm_spread(runs, measure, folds)
    return spread.mean, MeanEstimate(spread, RunNoise(spread.run_variance, max(spread.degrees, 1))).interval()
