"""The two curves that a training is judged by, and what they show, computed once."""

from bisect import bisect_left, bisect_right, insort
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from math import log, sqrt

from heldout.diagnosis.accuracy import AccuracyChange, compute_accuracy_change
from heldout.diagnosis.course import Course, measure_course
from heldout.diagnosis.evaluation import Evaluation, compute_skill
from heldout.diagnosis.history import History, take_finite
from heldout.diagnosis.noise import estimate_noise
from heldout.diagnosis.thresholds import (
    MAX_CHANCE_SKILL,
    MAX_CROSS_ENTROPY,
    MAX_MILD_RISE,
    MIN_EPOCHS,
    MIN_LOSS_LEFT,
    MIN_MEAN_RISE_SIGMAS,
    MIN_ORDER_SIGMAS,
    MIN_ORDER_SIGMAS_BESIDE_RISE,
    MIN_RISE,
    MIN_RISE_SIGMAS,
    MIN_TRAINING_FALL,
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


def measure_loss_left(heldout: Course) -> float:
    """Of a loss whose zero is known: its lowest level, unless as good as nothing is left."""
    return max(heldout.lowest, MIN_LOSS_LEFT * heldout.descent)


def estimate_foreign_loss_left(heldout: Course, training: Course, wrong_answers: Course | None) -> float:
    """Of a loss that may have an offset: half of its descent, or what the wrong answers alone cost at least.

    They cost ln 2 of cross-entropy each, since another class is as likely. Where validation never fell, half of
    training's descent stands for its own.
    """
    descent = heldout.descent if heldout.best else training.descent
    least = log(2) * wrong_answers.lowest if wrong_answers is not None else 0.0
    return max(descent / 2, min(heldout.lowest, least))


def compute_max_mild_rise(heldout: Course, training: Course, *, has_zero: bool) -> float:
    """The rise of a loss up to which it ends so little above its best that it is no fault.

    Args:
        has_zero: whether 0 is the lowest that the loss can be, so that its height says how much is left. Else that is
            taken for granted of a loss that is no higher than a cross-entropy.
    """
    if has_zero:
        return MAX_MILD_RISE * measure_loss_left(heldout)
    if 0 < heldout.lowest <= MAX_CROSS_ENTROPY:
        return MAX_MILD_RISE * heldout.lowest
    return MAX_MILD_RISE * estimate_foreign_loss_left(heldout, training, None)


def find_onset(course: Course) -> int | None:
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


@dataclass(frozen=True)
class Curves:
    """Validation and training as losses, or as shares of wrong answers where no pair of losses was recorded.

    epoch_numbers: what the epoch at each position is called; best_epoch and onset_epoch are such numbers.
    epochs: how many of validation are known. name, training_name: what the two curves are called.
    is_measured: whether training figures come from inference mode, else from `fit`.
    heldout: validation's course. training: its course. None where nothing finite was recorded.
    wrong_answers: the course of validation's share of wrong answers.
    own_noise: validation's noise that training does not share.
    training_at_best: the training loss in validation's best epoch.
    has_learned: whether training has fallen since that epoch.
    onset_epoch: from which on validation stays up; None if it does not, or if training learned nothing meanwhile.
    accuracy: of validation, since the epoch with the lowest loss; None where it is not known beside the loss.
    max_mild_rise: by how much validation may end above its best without that being a fault.
    is_overconfident: whether the loss stays up and accuracy, which is more than guessing, does not fall.
    """

    history: History
    epoch_numbers: Sequence[int]
    epochs: int
    name: str
    training_name: str
    of_loss: bool
    is_measured: bool
    heldout: Course | None
    training: Course | None
    wrong_answers: Course | None
    own_noise: float
    training_at_best: float
    has_learned: bool
    best_epoch: int | None
    onset_epoch: int | None
    accuracy: AccuracyChange | None
    max_mild_rise: float
    is_overconfident: bool

    @property
    def rises_mildly(self) -> bool:
        """Whether the loss ends so little above its best that it is no fault, and accuracy did not surely fall."""
        heldout = self.heldout
        if heldout is None or (self.accuracy is not None and self.accuracy.fell):
            return False
        last_rise = heldout.values[-1] - heldout.values[heldout.best]
        return max(heldout.rise, last_rise) < self.max_mild_rise


def choose_curves(history: History, evaluation: Evaluation | None = None) -> Curves:
    """Losses where both were recorded, else shares of wrong answers.

    Whether it is overfitting is told by the curves, or by the last weights beside the kept ones on the same images.
    """
    is_measured, of_loss, numbers = history.is_measured, history.has_losses, history.epoch_numbers
    heldout, training, wrong_answers = (
        measure_course(values, has_zero=has_zero) if values else None
        for values, has_zero in zip(history.losses(), (is_measured, is_measured, False), strict=True)
    )
    own_noise, at_best, has_learned, onset, accuracy, mild_rise = 0.0, 0.0, False, None, None, 0.0
    if heldout is not None and of_loss:
        accuracy = compute_accuracy_change(
            take_finite(history.validation_accuracy),
            take_finite(history.train_accuracy or history.fit_accuracy),
            heldout.best,
            len(heldout.values),
        )
    if heldout is not None and training is not None:
        at_best = training.values[min(heldout.best, len(training.values) - 1)]
        fell = at_best - training.last
        has_learned = fell > (MIN_TRAINING_FALL * at_best if is_measured else 0.0)
        own_noise = estimate_noise(heldout.values, training.values)
        loss_left = (
            measure_loss_left(heldout) if is_measured else estimate_foreign_loss_left(heldout, training, wrong_answers)
        )
        # Where nothing is learned, nothing is overfitted.
        is_overfit = has_learned and has_turned_up(heldout, training, fell, own_noise, loss_left)
        if is_overfit or _last_weights_are_worse(evaluation, training):
            onset = find_onset(heldout)
        mild_rise = compute_max_mild_rise(heldout, training, has_zero=is_measured or not of_loss)
    return Curves(
        history=history,
        epoch_numbers=numbers,
        epochs=0 if heldout is None else len(heldout.values),
        name="validation loss" if of_loss else "share of wrong validation answers",
        training_name="training loss" if of_loss else "share of wrong training answers",
        of_loss=of_loss,
        is_measured=is_measured,
        heldout=heldout,
        training=training,
        wrong_answers=wrong_answers,
        own_noise=own_noise,
        training_at_best=at_best,
        has_learned=has_learned,
        best_epoch=None if heldout is None else numbers[heldout.best],
        onset_epoch=None if onset is None else numbers[onset],
        accuracy=accuracy,
        max_mild_rise=mild_rise,
        is_overconfident=onset is not None and accuracy is not None and _holds(accuracy, evaluation),
    )


def _holds(accuracy: AccuracyChange, evaluation: Evaluation | None) -> bool:
    """Whether accuracy did not fall, and is more than guessing where the number of classes is known."""
    classes = len(evaluation.classes) if evaluation else 0
    return accuracy.held and (classes < 2 or compute_skill(accuracy.level, 1 / classes) > MAX_CHANCE_SKILL)


def _last_weights_are_worse(evaluation: Evaluation | None, training: Course) -> bool:
    """Whether the last weights answer the training images better than the kept ones, and others surely worse."""
    last = evaluation.last if evaluation else None
    kept = evaluation.get(last.split) if evaluation and last else None
    if last is None or kept is None or kept.loss is None or len(training.values) < last.epoch:
        return False
    learned = training.values[last.epoch - 1] < training.values[last.kept_epoch - 1]
    return learned and last.loss_interval[0] > 0 and last.loss > MIN_RISE * kept.loss
