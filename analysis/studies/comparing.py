"""Compares two arms by their answers to single images, paired by image, seed and fold. Pure."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from analysis.studies.intervals import (
    UNKNOWN,
    MeanEstimate,
    Spread,
    compute_spread,
    compute_unpaired_spread,
    estimate_own_noise,
    estimate_shared_noise,
)
from analysis.studies.objectives import MinimumEstimate, Pair, compare_minima, compute_difference_spread
from analysis.studies.state import Scores
from heldout.metrics import MEASURES, METRICS, Measure

# One training of one arm: its answer to each image.
Values = NDArray[np.float64]
Reading = Callable[[Scores], Values]
Estimate = MeanEstimate | MinimumEstimate


@dataclass(frozen=True)
class Comparison:
    """One arm compared with another on the seeds that both have: the arm minus the other.

    gain: the share of the base's errors and of its loss that the arm saves, averaged; more is better. If one measure
        decides, it is the benefit in that measure, and the other measures are unknown.
    objective: in the measure that decides, if that is neither loss nor accuracy.
    """

    loss: MeanEstimate
    accuracy: MeanEstimate
    gain: Estimate
    objective: Estimate = UNKNOWN

    def get(self, measure: Measure) -> Estimate:
        """Return the difference in one measure."""
        return self.loss if measure == "loss" else self.accuracy if measure == "accuracy" else self.objective

    def get_benefit(self, measure: Measure) -> Estimate:
        """Return the difference in one measure, positive if the arm is better."""
        found = self.get(measure)
        return found if METRICS[measure].is_share else found.mirror()


@dataclass(frozen=True)
class GainUnit:
    """The unit of gains: the base's mean loss in nats, its share of errors, and which measures decide.

    objective: the base's mean in the measure that decides, if that is neither loss nor accuracy.
    """

    loss: float
    errors: float
    measures: tuple[Measure, ...] = MEASURES
    objective: float | None = None


def compute_losses(scores: Scores) -> Values:
    """Return (images,) cross-entropy in nats."""
    return scores.losses.astype(np.float64)


def score_answers(scores: Scores) -> Values:
    """Return (images,) 1 where the answer is right, else 0."""
    return scores.right.astype(np.float64)


def compute_gain_unit(base: Sequence[Scores], measures: tuple[Measure, ...] = MEASURES) -> GainUnit:
    """Return the unit of a study's gains. If the base makes no errors, one is assumed."""
    loss = float(np.mean([compute_losses(run).mean() for run in base]))
    errors = float(np.mean([1 - score_answers(run).mean() for run in base]))
    found = [run.objective.value for run in base if run.objective is not None]
    objective = float(np.mean(found)) if found else None
    return GainUnit(max(loss, 1e-6), max(errors, 1 / len(base[0].images)), measures, objective)


def make_gain_reading(unit: GainUnit) -> Reading:
    """Return a measure that rises with each error and each nat saved."""
    if unit.measures != MEASURES:
        return score_answers if "accuracy" in unit.measures else lambda scores: -compute_losses(scores)
    return lambda scores: (score_answers(scores) / unit.errors - compute_losses(scores) / unit.loss) / 2


def compare(
    arms: Mapping[str, Sequence[Scores]], reference: Sequence[Scores], unit: GainUnit, folds: int | None
) -> dict[str, Comparison]:
    """Compare each arm with one reference, which may have more seeds. Noise is estimated from all arms together.

    Args:
        arms: the trainings of each, by seed: those of the first seeds.
        reference: the reference's, at least as many.
    """
    return compare_pairs({name: Pair(runs, reference[: len(runs)]) for name, runs in arms.items()}, unit, folds)


def compare_pairs(pairs: Mapping[str, Pair], unit: GainUnit, folds: int | None = None) -> dict[str, Comparison]:
    """Compare arms, each with trainings of its own. Noise is estimated from all of them together."""
    if not set(unit.measures) <= set(MEASURES):
        return _compare_objective(pairs, unit.measures[0], folds)
    readings: tuple[tuple[str, Reading, bool], ...] = (
        ("loss", compute_losses, False),
        ("accuracy", score_answers, True),
        ("gain", make_gain_reading(unit), unit.measures == ("accuracy",)),
    )
    estimates = []
    for name, reading, binary in readings:
        if name not in (*unit.measures, "gain"):
            estimates.append([UNKNOWN] * len(pairs))
            continue
        spreads = [_compute_pair_spread(pair, reading, folds, binary=binary) for pair in pairs.values()]
        estimates.append([MeanEstimate(*pair) for pair in zip(spreads, estimate_shared_noise(spreads), strict=True)])
    return {name: Comparison(*of_arm) for name, of_arm in zip(pairs, zip(*estimates, strict=True), strict=True)}


def _compare_objective(pairs: Mapping[str, Pair], measure: Measure, folds: int | None) -> dict[str, Comparison]:
    """Compare arms in a measure that is neither loss nor accuracy."""
    for pair in pairs.values():
        if pair.is_paired:
            _require_same_images(pair)
    found: dict[str, Estimate] = {}
    if METRICS[measure].is_minimum:
        found |= compare_minima(pairs, measure, folds)
    else:
        spreads = [compute_difference_spread(pair, measure, folds) for pair in pairs.values()]
        noises = estimate_shared_noise(spreads)
        for name, spread, noise in zip(pairs, spreads, noises, strict=True):
            found[name] = MeanEstimate(spread, noise)
    is_share = METRICS[measure].is_share
    return {
        name: Comparison(UNKNOWN, UNKNOWN, each if is_share else each.mirror(), each) for name, each in found.items()
    }


def _compute_pair_spread(pair: Pair, reading: Reading, folds: int | None, *, binary: bool) -> Spread:
    """Return the spread of an arm's mean minus another's. Raises ValueError if the images of a pair differ."""
    if not pair.is_paired:
        values = (np.stack([reading(run) for run in runs]) for runs in (pair.runs, pair.others))
        return compute_unpaired_spread(*values, binary=binary)
    pairs = _require_same_images(pair)
    return compute_spread([reading(first) - reading(second) for first, second in pairs], folds, binary=binary)


def _require_same_images(pair: Pair) -> list[tuple[Scores, Scores]]:
    pairs = list(zip(pair.runs, pair.others, strict=True))
    for number, (first, second) in enumerate(pairs):
        if not np.array_equal(first.images, second.images):
            raise ValueError(f"Training {number} of two arms was measured on other images; expected the same ones.")
    return pairs


def estimate_mean(runs: Sequence[Scores], reading: Reading, folds: int | None, *, binary: bool = False) -> MeanEstimate:
    """Return an arm's own mean, from its own trainings only."""
    spread = compute_spread([reading(run) for run in runs], folds, binary=binary)
    return MeanEstimate(spread, estimate_own_noise(spread))
