"""Answers to images as counts and sums: alone, paired with other answers to the same images, and under other labels."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis.arrays.relations import HeldOutRelations, count_label_pairs
from heldout.stored.gap import HeldOutCopies, LabelsRenamed, PairedTally, Tally, UndoneHalf

# Probability that chance loses as many right answers. Below it, a lower loss does not compensate for them.
SEEMING_LOSS_P = 0.1
# The smallest normal float32. Smaller probabilities may have been rounded to zero.
_SMALLEST = float(np.finfo(np.float32).tiny)
# The group of images without a value in the column that groups them.
NO_GROUP = -1
# From predictions to a value in them.
Path = tuple[str | int, ...]


class PredictionsRefused(ValueError):
    """The message says what was received and what was expected.

    path: from the predictions to the value, such as `("test", "labels", 17)`; `("classes",)` is next to the splits.
    """

    def __init__(self, message: str, path: Path = ()) -> None:
        super().__init__(message)
        self.path = path


@dataclass(frozen=True)
class Predictions:
    """A model's answers to one split's images: (count, classes) probabilities and (count,) cross-entropies in nats."""

    probabilities: NDArray[np.float32]
    losses: NDArray[np.float32]


class Answers:
    """A model's answers to labeled images.

    probabilities: (count, classes); None if only the answers are known.
    classes: (count,) the most probable ones.
    right: (count,) whether the most probable class is the label.
    losses: (count,) cross-entropies in nats; NaN if only the answers are known.
    groups: (count,) the group of each image, from 0, or `NO_GROUP`; None if they are not grouped. Answers that are
        derived have none, except those to some of the images.
    """

    def __init__(
        self,
        labels: NDArray[np.int32],
        probabilities: NDArray[np.float32] | None,
        losses: NDArray[np.floating],
        classes: NDArray[np.int64],
        groups: NDArray[np.int64] | None = None,
    ) -> None:
        self.labels = labels
        self.probabilities = probabilities
        self.losses: NDArray[np.float64] = losses.astype(np.float64)
        self.classes = classes
        self.right: NDArray[np.bool_] = classes == labels
        self.groups = groups

    @classmethod
    def to(
        cls, labels: NDArray[np.int32], predictions: Predictions, groups: NDArray[np.int64] | None = None
    ) -> "Answers":
        """Return the answers to images with these labels."""
        predicted = predictions.probabilities.argmax(axis=1)
        return cls(labels, predictions.probabilities, predictions.losses, predicted, groups)

    @classmethod
    def without_probabilities(cls, labels: NDArray[np.int32], classes: NDArray[np.int64]) -> "Answers":
        """Return answers of which only the class is known."""
        return cls(labels, None, np.full(len(labels), np.nan), classes)

    def __len__(self) -> int:
        return len(self.labels)

    def of(self, images: NDArray[np.int64] | NDArray[np.bool_]) -> "Answers":
        """Return the answers to some of the images."""
        probabilities = None if self.probabilities is None else self.probabilities[images]
        groups = None if self.groups is None else self.groups[images]
        return Answers(self.labels[images], probabilities, self.losses[images], self.classes[images], groups)

    def in_groups(self, groups: NDArray[np.int64] | None) -> "Answers":
        """Return the same answers with the group of each image."""
        return Answers(self.labels, self.probabilities, self.losses, self.classes, groups)

    def replace_some(self, images: NDArray[np.bool_], others: "Answers") -> "Answers":
        """Replace the answers to some of the images; all probabilities are known."""
        assert self.probabilities is not None
        assert others.probabilities is not None
        probabilities, losses, classes = self.probabilities.copy(), self.losses.copy(), self.classes.copy()
        probabilities[images], losses[images], classes[images] = others.probabilities, others.losses, others.classes
        return Answers(self.labels, probabilities, losses, classes)

    def under(self, renaming: tuple[int, ...] | None) -> "Answers":
        """Return the same answers if each label means another class."""
        if renaming is None:
            return self
        labels = np.asarray(renaming, np.int32)[self.labels]
        if self.probabilities is None:
            return Answers(labels, None, self.losses, self.classes)
        losses = -self.log_probabilities()[np.arange(len(labels)), labels]
        return Answers(labels, self.probabilities, losses, self.classes)

    def log_probabilities(self) -> NDArray[np.float64]:
        """Return (count, classes) log probabilities in nats, if probabilities are known.

        The label's is exact; others are limited by the smallest probability in float32.
        """
        assert self.probabilities is not None
        logs = np.log(np.maximum(self.probabilities.astype(np.float64), _SMALLEST))
        logs[np.arange(len(self.labels)), self.labels] = -self.losses
        return logs

    def tally(self) -> Tally | None:
        """None without images, and where a loss is not finite though probabilities are known."""
        if not len(self) or (self.probabilities is not None and not np.isfinite(self.losses).all()):
            return None
        return Tally(
            count=len(self),
            correct=int(self.right.sum()),
            loss=float(self.losses.mean()),
            loss_variance=_compute_variance(self.losses),
        )


def join_answers(*parts: Answers) -> Answers:
    """Concatenate the answers to several sets of images."""
    probabilities = [part.probabilities for part in parts if part.probabilities is not None]
    return Answers(
        np.concatenate([part.labels for part in parts]),
        np.concatenate(probabilities) if probabilities else None,
        np.concatenate([part.losses for part in parts]),
        np.concatenate([part.classes for part in parts]),
    )


def tally_pairs(before: Answers, after: Answers) -> PairedTally | None:
    """Compare two answers to the same images.

    None without images, and where a loss is not finite though probabilities are known.
    """
    changes = after.losses - before.losses
    if not len(changes) or (before.probabilities is not None and not np.isfinite(changes).all()):
        return None
    return PairedTally(
        count=len(changes),
        gained=int((after.right & ~before.right).sum()),
        lost=int((before.right & ~after.right).sum()),
        loss=float(changes.mean()),
        loss_variance=_compute_variance(changes),
    )


def compute_chance(count: int, of: int, share: float = 0.5) -> float:
    """Return the probability of at least `count` successes: the p-value of an exact one-sided binomial test."""
    # Imported here, and not from `scipy.stats`: that takes half a second to import, and few jobs need it.
    from scipy.special import bdtrc

    return float(bdtrc(count - 1, of, share))


def is_surely_better(before: Answers, after: Answers, *, max_p: float) -> bool:
    """Return whether the same images are certainly answered better after than before.

    The criterion is more right answers (exact one-sided McNemar test), or a lower loss if no right answers seem lost.
    """
    from scipy.special import ndtri

    gained, lost = int((after.right & ~before.right).sum()), int((before.right & ~after.right).sum())
    if gained > lost and compute_chance(gained, gained + lost) < max_p:
        return True
    if lost > gained and compute_chance(lost, gained + lost) < SEEMING_LOSS_P:
        return False
    falls = before.losses - after.losses
    if len(falls) < 2 or not np.isfinite(falls).all():
        return False
    return bool(falls.mean() > -ndtri(max_p) * falls.std(ddof=1) / len(falls) ** 0.5)


def split_into_halves(labels: NDArray[np.int32]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Split the images into two halves with equal classes, up to one image; the same at every call."""
    order = np.random.default_rng(0).permutation(len(labels))
    by_class = order[np.argsort(labels[order], kind="stable")]
    return np.sort(by_class[::2]), np.sort(by_class[1::2])


def _compute_variance(values: NDArray[np.float64]) -> float:
    return float(values.var(ddof=1)) if len(values) > 1 else 0.0


# --- before and after undoing one fault: copies left out, or labels renamed half by half ----------------------

Renaming = tuple[int, ...] | None


def divide_by_copies(answers: Answers, relations: HeldOutRelations | None) -> HeldOutCopies | None:
    """Divide the answers by whether an image has a relative in training; None if unknown."""
    if relations is None:
        return None
    related, unit, twins = relations.is_related, relations.unit, relations.twin_label
    return HeldOutCopies(
        clean=answers.of(~related).tally(),
        copied=answers.of(related).tally(),
        family=None if unit is None else measure_family(answers.right, unit),
        named_family=None if relations.named is None else measure_family(answers.right, relations.named),
        named_by=relations.named_by,
        label_pairs=() if twins is None else count_label_pairs(answers.labels, twins),
    )


def measure_family(right: NDArray[np.bool_], unit: NDArray[np.integer[Any]]) -> float | None:
    """Return how many images say as much as one independent image: those of one unit are answered alike.

    Args:
        right: (count,) whether an image is answered correctly.
        unit: (count,) the unit of related images that it belongs to.
    Returns:
        The variance of the accuracy of whole units over that of independent images; at least 1. None if that is
        unknown: all images are of one unit, or answered alike.
    Source: Kish 1965, Survey Sampling, 5.4 (design effect).
    """
    _, of_image = np.unique(unit, return_inverse=True)
    of_unit = np.bincount(of_image, right - right.mean()) if len(right) else np.empty(0)
    variance = len(right) * float(np.var(right)) if len(right) else 0.0
    if len(of_unit) < 2 or not variance:
        return None
    return max(1.0, float((of_unit**2).sum()) * len(of_unit) / (len(of_unit) - 1) / variance)


def compare_renamed_labels(
    renamings: tuple[Renaming, Renaming], before: Sequence[Answers], after: Sequence[Answers]
) -> LabelsRenamed | None:
    """Compare two halves under the renaming chosen on the other; None if a loss is not finite."""
    compared = compare_undone(before, after)
    if compared is None:
        return None
    whole, halves = compared
    return LabelsRenamed(renamings=renamings, tally=whole.tally, change=whole.change, halves=halves)


def compare_undone(
    before: Sequence[Answers], after: Sequence[Answers]
) -> tuple[UndoneHalf, tuple[UndoneHalf, UndoneHalf]] | None:
    """Return the change in both halves together, and in each; None if a loss is not finite."""
    whole = _compare_answers(join_answers(*before), join_answers(*after))
    first, second = (_compare_answers(*half) for half in zip(before, after, strict=True))
    return None if whole is None or first is None or second is None else (whole, (first, second))


def _compare_answers(before: Answers, after: Answers) -> UndoneHalf | None:
    """Compare two answers to the same images; None without images, or if a loss is not finite."""
    tally, change = after.tally(), tally_pairs(before, after)
    return None if tally is None or change is None else UndoneHalf(tally=tally, change=change)
