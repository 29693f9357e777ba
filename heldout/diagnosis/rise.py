"""Whether a validation loss has turned up while training went on to learn, and from which epoch on."""

from bisect import bisect_left, bisect_right, insort
from itertools import accumulate
from math import log, sqrt

from heldout.diagnosis.course import Course
from heldout.diagnosis.thresholds import (
    MAX_CROSS_ENTROPY,
    MAX_MILD_RISE,
    MIN_EPOCHS,
    MIN_LOSS_LEFT,
    MIN_MEAN_RISE_SIGMAS,
    MIN_ORDER_SIGMAS,
    MIN_ORDER_SIGMAS_BESIDE_RISE,
    MIN_RISE,
    MIN_RISE_SIGMAS,
)


def has_turned_up(heldout: Course, training: Course, fell: float, noise: float, loss_left: float) -> bool:
    """Whether validation ends above its lowest level by more than noise, and by so much that it matters.

    Args:
        fell: how far the training loss fell since validation's best epoch.
        noise: of validation, as far as training does not share it.
        loss_left: what a rise is compared with.
    """
    if len(training.values) < MIN_EPOCHS or heldout.rise <= MIN_RISE * loss_left:
        return False
    if heldout.rise > MIN_RISE_SIGMAS * heldout.noise:
        return True
    # Less than that can be told by many epochs, if training fell by more than its own noise.
    return fell > training.noise and _rises_over_many_epochs(heldout, noise)


def measured_loss_left(heldout: Course) -> float:
    """Of a loss whose zero is known: its lowest level, unless as good as nothing is left."""
    return max(heldout.lowest, MIN_LOSS_LEFT * heldout.descent)


def foreign_loss_left(heldout: Course, training: Course, wrong_answers: Course | None) -> float:
    """Of a loss that may have an offset: half of its descent, or what the wrong answers alone cost at least.

    They cost ln 2 of cross-entropy each, since another class is as likely. Where validation never fell, half of
    training's descent stands for its own.
    """
    descent = heldout.descent if heldout.best else training.descent
    least = log(2) * wrong_answers.lowest if wrong_answers is not None else 0.0
    return max(descent / 2, min(heldout.lowest, least))


def max_mild_rise(heldout: Course, training: Course, *, has_zero: bool) -> float:
    """The rise of a loss up to which it ends so little above its best that it is no fault.

    Args:
        has_zero: whether 0 is the lowest that the loss can be, so that its height says how much is left. Else that is
            taken for granted of a loss that is no higher than a cross-entropy.
    """
    if has_zero:
        return MAX_MILD_RISE * measured_loss_left(heldout)
    if 0 < heldout.lowest <= MAX_CROSS_ENTROPY:
        return MAX_MILD_RISE * heldout.lowest
    return MAX_MILD_RISE * foreign_loss_left(heldout, training, None)


def onset_of(course: Course) -> int | None:
    """The first position after the best from which on the curve stays above its lowest level by more than its noise.

    Where the noise is more than half of the rise, by more than that half.
    """
    levels = course.levels
    bar = course.lowest + min(course.noise, course.rise / 2)
    onset = len(levels)
    while onset > course.best + 1 and levels[onset - 1] > bar:
        onset -= 1
    return onset if onset < len(levels) else None


def _rises_over_many_epochs(heldout: Course, noise: float) -> bool:
    """Whether many epochs together say that a loss is above its lowest, where its last ones alone do not.

    Either the mean of the last quarter is above the lowest mean of as many in a row, by the noise of two such means; or
    what came after the best value rises by its order, which needs no noise. A weaker order is enough beside a level at
    the end that is a weak sign, too.
    """
    values = heldout.values
    width = max(1, len(values) // 4)
    sums = [0.0, *accumulate(values)]
    means = [(after - before) / width for before, after in zip(sums, sums[width:], strict=False)]
    if means[-1] - min(means) > MIN_MEAN_RISE_SIGMAS * noise * sqrt(2 / width):
        return True
    order = _order_sigmas(values[heldout.best + 1 :])
    return order > MIN_ORDER_SIGMAS or (order > MIN_ORDER_SIGMAS_BESIDE_RISE and heldout.rise > noise)


def _order_sigmas(values: list[float]) -> float:
    """Kendall's statistic of the order of values, in its standard deviations; 0 of fewer than three.

    Without a trend each order of the values is as likely.
    """
    count = len(values)
    if count < 3:
        return 0.0
    score, earlier = 0, list[float]()
    for value in values:
        score += bisect_left(earlier, value) - (len(earlier) - bisect_right(earlier, value))
        insort(earlier, value)
    return score / sqrt(count * (count - 1) * (2 * count + 5) / 18)
