"""From what trainings say of single images to how two arms compare: paired by image, seed and fold. Pure."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from analysis.studies.intervals import Estimate, Spread, crossed, folded, own_noise, shared_noise
from analysis.studies.state import Scores

# One training of one arm: what it says of each of its images.
Values = NDArray[np.float64]
Reading = Callable[[Scores], Values]


@dataclass(frozen=True)
class Comparison:
    """One arm against another on the seeds that both have: the arm minus the other.

    gain: in how much of the base's errors and of its loss the arm saves, the mean of both shares; better is more.
    """

    loss: Estimate
    accuracy: Estimate
    gain: Estimate


@dataclass(frozen=True)
class GainUnit:
    """What gains are measured in: the base's mean loss in nats, and its share of errors."""

    loss: float
    errors: float


def losses(scores: Scores) -> Values:
    """(images,) cross-entropy in nats."""
    return scores.losses.astype(np.float64)


def answers(scores: Scores) -> Values:
    """(images,) 1 where the answer is right, else 0."""
    return scores.right.astype(np.float64)


def gain_unit(base: Sequence[Scores]) -> GainUnit:
    """The unit of a study's gains. Where the base makes no errors, it is as if it made one."""
    loss = float(np.mean([losses(one).mean() for one in base]))
    errors = float(np.mean([1 - answers(one).mean() for one in base]))
    return GainUnit(max(loss, 1e-6), max(errors, 1 / len(base[0].images)))


def gains(unit: GainUnit) -> Reading:
    """A reading that rises with each error and each nat that is saved."""
    return lambda scores: (answers(scores) / unit.errors - losses(scores) / unit.loss) / 2


def spread_of(runs: Sequence[Scores], reading: Reading, folds: int | None, *, binary: bool) -> Spread:
    """The spread of an arm's own mean. `folds`: as in the study's state."""
    return _spread([reading(one) for one in runs], folds, binary=binary)


def spread_of_difference(
    runs: Sequence[Scores], others: Sequence[Scores], reading: Reading, folds: int | None, *, binary: bool = False
) -> Spread:
    """The spread of an arm's mean minus another's.

    Args:
        runs, others: by seed, the same seeds of both.
    Raises:
        ValueError: if a pair was not measured on the same images.
    """
    for number, (one, other) in enumerate(zip(runs, others, strict=True)):
        if not np.array_equal(one.images, other.images):
            raise ValueError(f"Training {number} of two arms was measured on other images; expected the same ones.")
    pairs = zip(runs, others, strict=True)
    return _spread([reading(one) - reading(other) for one, other in pairs], folds, binary=binary)


def compare(
    arms: Mapping[str, Sequence[Scores]], reference: Sequence[Scores], unit: GainUnit, folds: int | None
) -> dict[str, Comparison]:
    """How each arm compares with one other, which may have more seeds. Arms lend each other what they say of noise.

    Args:
        arms: the trainings of each, by seed: those of the first seeds.
        reference: the other's, at least as many.
    """
    names = list(arms)
    readings: tuple[tuple[Reading, bool], ...] = ((losses, False), (answers, True), (gains(unit), False))
    estimates = []
    for reading, binary in readings:
        pairs = [(arms[name], reference[: len(arms[name])]) for name in names]
        spreads = [spread_of_difference(*pair, reading, folds, binary=binary) for pair in pairs]
        estimates.append([Estimate(*pair) for pair in zip(spreads, shared_noise(spreads), strict=True)])
    return {name: Comparison(*of_arm) for name, of_arm in zip(names, zip(*estimates, strict=True), strict=True)}


def mean_of(runs: Sequence[Scores], reading: Reading, folds: int | None, *, binary: bool = False) -> Estimate:
    """An arm's own mean, from its own trainings alone."""
    spread = spread_of(runs, reading, folds, binary=binary)
    return Estimate(spread, own_noise(spread))


def _spread(values: Sequence[Values], folds: int | None, *, binary: bool) -> Spread:
    if folds is None:
        return crossed(np.stack(values), binary=binary)
    return folded(values, folds, binary=binary)
