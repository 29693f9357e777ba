"""The figures of one training, and how much accuracy two trainings differ by, with images and seeds as chance."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from math import sqrt
from statistics import NormalDist
from typing import Any, Self

from heldout.proofs import thresholds

_NORMAL = NormalDist()
Z_OF_INTERVAL = _NORMAL.inv_cdf(0.975)
Z_OF_PROOF = _NORMAL.inv_cdf(1 - thresholds.FALSE_PROOFS / thresholds.MAX_LOOKS)
Z_OF_REFUTATION = _NORMAL.inv_cdf(1 - thresholds.FALSE_REFUTATION)


@dataclass(frozen=True)
class Split:
    """Accuracy as a fraction, loss in nats (None if not finite), and the number of images."""

    accuracy: float
    loss: float | None
    count: int

    @property
    def right_of_all(self) -> tuple[int, int]:
        return round(self.accuracy * self.count), self.count


@dataclass(frozen=True)
class Figures:
    """What the kept weights of one training give.

    validation: None if the training has no validation images.
    right: which validation images are answered correctly: one hexadecimal digit for four images, in the dataset's
        order. Empty if unknown.
    epochs: complete epochs.
    test: None unless the training was measured on test.
    recalls: for each class, how many validation images are answered correctly, and how many there are.
    """

    train: Split
    validation: Split | None = None
    right: str = ""
    epochs: int = 0
    test: Split | None = None
    recalls: tuple[tuple[int, int], ...] = ()

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Self:
        validation, test = (None if stored[name] is None else Split(**stored[name]) for name in ("validation", "test"))
        recalls = tuple((right, count) for right, count in stored["recalls"])
        return cls(Split(**stored["train"]), validation, stored["right"], stored["epochs"], test, recalls)


@dataclass(frozen=True)
class Effect:
    """By how much validation accuracy changes from one spec to another, as a fraction.

    interval: 95%, over images and seeds. seeds: pairs of trainings. loses_loss: whether validation loss clearly falls.
    """

    points: float
    deviation: float
    seeds: int
    loses_loss: bool = False

    @property
    def interval(self) -> tuple[float, float]:
        by = Z_OF_INTERVAL * self.deviation
        return self.points - by, self.points + by

    def is_gain(self, sign: int = 1) -> bool:
        """Whether accuracy surely rises (or falls, with -1), by enough to matter."""
        points = sign * self.points
        is_large = points >= (thresholds.MIN_EFFECT_OF_ONE_SEED if self.seeds == 1 else thresholds.MIN_EFFECT)
        return is_large and points > Z_OF_PROOF * self.deviation

    def is_no_gain(self, sign: int = 1) -> bool:
        """Whether accuracy surely does not rise (or fall, with -1) by enough to matter."""
        points = sign * self.points
        return (
            points < thresholds.MIN_EFFECT
            and not (sign > 0 and self.loses_loss)
            and points + Z_OF_REFUTATION * self.deviation < thresholds.MAX_POSSIBLE_EFFECT
        )


def compare(pairs: Sequence[tuple[Figures, Figures]]) -> Effect | None:
    """Compare pairs of trainings, each with its own seed, by the validation accuracy of the second minus the first."""
    known = [
        (one, other, one.validation, other.validation)
        for one, other in pairs
        if one.validation is not None and other.validation is not None
    ]
    if not known:
        return None
    found = [_compare_images(*pair) for pair in known]
    seeds = len(found)
    points = sum(difference for difference, _ in found) / seeds
    # All seeds answer the same images, so more seeds do not make their number less of a chance.
    of_images = sum(variance for _, variance in found) / seeds
    of_seeds = 2 * thresholds.SEED_DEVIATION**2 / seeds
    falls = [_has_lower_loss(before, after) for _, _, before, after in known]
    return Effect(points, sqrt(of_images + of_seeds), seeds, all(falls))


def compare_splits(one: Split, other: Split) -> Effect:
    """Compare two trainings by their accuracies on different images."""
    of_images = _compute_variance(one) + _compute_variance(other)
    return Effect(other.accuracy - one.accuracy, sqrt(of_images + 2 * thresholds.SEED_DEVIATION**2), 1)


def subtract(one: Effect, other: Effect) -> Effect:
    """By how much more one effect is than another, of other images."""
    return Effect(one.points - other.points, sqrt(one.deviation**2 + other.deviation**2), one.seeds)


def compare_recalls(one: Figures, other: Figures) -> Effect | None:
    """Compare two trainings by the mean recall of the classes, in which rare classes count like frequent ones."""
    pairs = [pair for pair in zip(one.recalls, other.recalls, strict=False) if pair[0][1] and pair[1][1]]
    if not pairs:
        return None
    shares = [(Split(before / of, None, of), Split(after / to, None, to)) for (before, of), (after, to) in pairs]
    points = sum(after.accuracy - before.accuracy for before, after in shares) / len(shares)
    variance = sum(_compute_variance(split) for pair in shares for split in pair) / len(shares) ** 2
    return Effect(points, sqrt(variance + 2 * thresholds.SEED_DEVIATION**2), 1)


def _compare_images(one: Figures, other: Figures, first: Split, second: Split) -> tuple[float, float]:
    """The difference of accuracies and its variance over images. Adds half a discordant image to each side."""
    if one.right and len(one.right) == len(other.right) and first.count == second.count:
        count, before, after = first.count, int(one.right, 16), int(other.right, 16)
        lost, won = (before & ~after).bit_count(), (after & ~before).bit_count()
        n = count + 2
        difference = (won - lost) / count
        return difference, max(0.0, (won + lost + 1) / n - ((won - lost) / n) ** 2) / n
    difference = second.accuracy - first.accuracy
    return difference, sum(_compute_variance(split) for split in (first, second))


def _compute_variance(split: Split) -> float:
    share = (split.accuracy * split.count + 2) / (split.count + 4)
    return share * (1 - share) / (split.count + 4)


def _has_lower_loss(before: Split, after: Split) -> bool:
    if before.loss is None or after.loss is None:
        return False
    return after.loss < before.loss * (1 - thresholds.MIN_LOSS_FALL)


def pack_right(right: Sequence[bool]) -> str:
    """Write which images are answered correctly as `Figures.right`."""
    if not len(right):
        return ""
    text = "".join("1" if is_right else "0" for is_right in right)
    return f"{int(text, 2):0{-(-len(text) // 4)}x}"
