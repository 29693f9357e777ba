"""Decides whether a network knows images, from counts of answers or from the accuracies of its curves alone."""

from dataclasses import dataclass
from math import exp

from heldout.diagnosis import thresholds
from heldout.diagnosis.curves import Curves
from heldout.diagnosis.evaluation import compute_skill
from heldout.diagnosis.facts import Facts
from heldout.diagnosis.history import Curve, take_finite
from heldout.diagnosis.loss_trend import compute_end_level
from heldout.statistics import compute_newcombe_interval


@dataclass(frozen=True)
class Lag:
    """How far validation accuracy is behind training. chance: accuracy of guessing. interval: of the difference."""

    trained: float
    heldout: float
    chance: float
    interval: tuple[float, float] | None

    @property
    def is_surely_large(self) -> bool:
        difference = self.trained - self.heldout
        least = difference if self.interval is None else self.interval[0]
        return difference >= thresholds.MIN_LARGE_GAP and least > thresholds.MIN_BETTER_ON_TRAINING

    @property
    def is_small(self) -> bool:
        return self.trained - self.heldout < thresholds.MAX_SMALL_GAP


def knows(accuracy: float, chance: float) -> bool:
    """Whether most images are answered correctly, beyond guessing."""
    return compute_skill(accuracy, chance) >= thresholds.MIN_KNOWN_SKILL


def get_known_accuracies(facts: Facts) -> tuple[float, float, float] | None:
    """Training and validation accuracy at the end, and the most that guessing gives; None if not recorded."""
    trained, heldout = get_end_accuracies(facts.curves)
    return None if trained is None or heldout is None else (trained, heldout, bound_chance(facts))


def compute_lag(facts: Facts) -> Lag | None:
    """Compare the kept weights' counts, or the accuracies at the end of the curves; None if both are unknown."""
    train, validation = facts.train, facts.validation
    if train is not None and validation is not None:
        chance = 1 / max(2, len(facts.classes))
        return Lag(
            train.accuracy, validation.accuracy, chance, compute_newcombe_interval(train.counts, validation.counts)
        )
    known = get_known_accuracies(facts)
    return None if known is None else Lag(*known, None)


def has_nothing_left_to_learn(facts: Facts) -> bool:
    """Whether practically all training images are answered correctly, and the gap to held-out ones is small or large.

    More epochs can then make answers surer, so both losses still fall. But they close no large gap, and a small one
    needs no closing.
    """
    lag = compute_lag(facts)
    return lag is not None and lag.trained >= 1 - thresholds.MIN_ACCURACY_COST and (lag.is_small or lag.is_surely_large)


def get_end_accuracies(curves: Curves) -> tuple[float | None, float | None]:
    """Training and validation accuracy at the end of the curves; None if there are too few figures."""
    history = curves.history
    return _get_level(history.train_accuracy or history.fit_accuracy), _get_level(history.validation_accuracy)


def compute_label_probability(curves: Curves) -> float | None:
    """The geometric mean of the probability given to the labels of validation images at the end, from the loss.

    None if the loss is unknown, or cannot be a cross-entropy alone.
    """
    heldout = curves.heldout
    if not curves.of_loss or heldout is None or heldout.last < 0 or max(heldout.levels) > thresholds.MAX_CROSS_ENTROPY:
        return None
    return exp(-heldout.last)


def bound_chance(facts: Facts) -> float:
    """The most that guessing gives: by the number of classes if known, otherwise one half.

    A loss that was once higher than for guessing between two classes shows that there are more.
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
    return compute_end_level(known) if len(known) >= thresholds.MIN_EPOCHS else None
