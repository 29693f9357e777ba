"""Whether a network knows images: by counts of answers, or by the accuracies of its curves alone."""

from dataclasses import dataclass
from math import exp

from heldout.diagnosis.course import compute_end_level
from heldout.diagnosis.curves import Curves
from heldout.diagnosis.evaluation import compute_skill
from heldout.diagnosis.facts import Facts
from heldout.diagnosis.history import Curve, take_finite
from heldout.diagnosis.thresholds import (
    MAX_CROSS_ENTROPY,
    MAX_SMALL_GAP,
    MIN_ACCURACY_COST,
    MIN_BETTER_ON_TRAINING,
    MIN_EPOCHS,
    MIN_KNOWN_SKILL,
    MIN_LARGE_GAP,
)
from heldout.statistics.intervals import compute_newcombe_interval


@dataclass(frozen=True)
class Lag:
    """How far validation is behind training. Accuracies, what guessing gives, and the interval of the difference."""

    trained: float
    heldout: float
    chance: float
    interval: tuple[float, float] | None

    @property
    def is_surely_large(self) -> bool:
        difference = self.trained - self.heldout
        least = difference if self.interval is None else self.interval[0]
        return difference >= MIN_LARGE_GAP and least > MIN_BETTER_ON_TRAINING

    @property
    def is_small(self) -> bool:
        return self.trained - self.heldout < MAX_SMALL_GAP


def knows(accuracy: float, chance: float) -> bool:
    """Whether most images are answered rightly, beyond guessing."""
    return compute_skill(accuracy, chance) >= MIN_KNOWN_SKILL


def get_known_accuracies(facts: Facts) -> tuple[float, float, float] | None:
    """Training's and validation's accuracy at the end, and what guessing gives at most; None where not recorded."""
    trained, heldout = get_end_accuracies(facts.curves)
    return None if trained is None or heldout is None else (trained, heldout, bound_chance(facts))


def compute_lag(facts: Facts) -> Lag | None:
    """By the kept weights' counts, else by the accuracies at the end of the curves; None where neither is known."""
    train, validation = facts.train, facts.validation
    if train is not None and validation is not None:
        chance = 1 / max(2, len(facts.classes))
        return Lag(
            train.accuracy, validation.accuracy, chance, compute_newcombe_interval(train.counts, validation.counts)
        )
    known = get_known_accuracies(facts)
    return None if known is None else Lag(*known, None)


def has_nothing_left_to_learn(facts: Facts) -> bool:
    """Whether practically all training images are answered rightly, and held-out ones as well, or else far worse.

    More epochs of the same images can then make answers surer, while both losses still fall; they close no large gap,
    and a small one is none.
    """
    lag = compute_lag(facts)
    return lag is not None and lag.trained >= 1 - MIN_ACCURACY_COST and (lag.is_small or lag.is_surely_large)


def get_end_accuracies(curves: Curves) -> tuple[float | None, float | None]:
    """Training's and validation's accuracy at the end of the curves; None where there are too few figures."""
    history = curves.history
    return _get_level(history.train_accuracy or history.fit_accuracy), _get_level(history.validation_accuracy)


def compute_label_probability(curves: Curves) -> float | None:
    """How probable the network holds the label of a validation image at the end, by the loss: its geometric mean.

    None where the loss is not known, or can be no cross-entropy alone.
    """
    heldout = curves.heldout
    if not curves.of_loss or heldout is None or not 0 <= heldout.last <= max(heldout.levels) <= MAX_CROSS_ENTROPY:
        return None
    return exp(-heldout.last)


def bound_chance(facts: Facts) -> float:
    """Of so many classes as there are; else of two one half.

    A loss that was once higher than theirs shows that there are more.
    """
    if len(facts.classes) > 1:
        return 1 / len(facts.classes)
    curves = facts.curves
    if not curves.of_loss or curves.heldout is None:
        return 1 / 2
    # Guessing among n classes costs log(n), and a network that has learned something costs less.
    return min(1 / 2, exp(-max(0.0, max(curves.heldout.levels))))


def _get_level(accuracy: Curve) -> float | None:
    known = take_finite(accuracy)
    return compute_end_level(known) if len(known) >= MIN_EPOCHS else None
