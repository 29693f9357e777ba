"""The two curves by which a training is judged, and what they show; computed once."""

from bisect import bisect_left, bisect_right, insort
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from math import log, sqrt

from heldout.diagnosis import thresholds
from heldout.diagnosis.evaluation import Evaluation, compute_skill
from heldout.diagnosis.history import History, take_finite
from heldout.diagnosis.loss_trend import (
    AccuracyChange,
    LossTrend,
    compute_accuracy_change,
    estimate_noise,
    measure_trend,
)


def has_turned_up(heldout: LossTrend, training: LossTrend, fell: float, noise: float, loss_left: float) -> bool:
    """Whether validation ends above its lowest level by more than noise, and by enough to matter.

    Args:
        fell: how far the training loss fell since validation's best epoch.
        noise: validation's noise that training does not share.
        loss_left: the loss that a rise is compared with.
    """
    if len(training.values) < thresholds.MIN_EPOCHS or heldout.rise <= thresholds.MIN_RISE * loss_left:
        return False
    if heldout.rise > thresholds.MIN_RISE_SIGMAS * heldout.noise:
        return True
    # Many epochs together can show a smaller rise, if training fell by more than its own noise.
    return fell > training.noise and _rises_over_many_epochs(heldout, noise)


def measure_loss_left(heldout: LossTrend) -> float:
    """The loss left if its zero is known: the lowest level, or a small part of the descent if that is larger."""
    return max(heldout.lowest, thresholds.MIN_LOSS_LEFT * heldout.descent)


def estimate_external_loss_left(heldout: LossTrend, training: LossTrend, wrong_answers: LossTrend | None) -> float:
    """The loss left if there may be an offset: half of the descent, or the least that wrong answers alone can cost.

    Each wrong answer costs at least ln 2 of cross-entropy, since another class was at least as likely. If validation
    never fell, training's descent is used instead.
    """
    descent = heldout.descent if heldout.best else training.descent
    least = log(2) * wrong_answers.lowest if wrong_answers is not None else 0.0
    return max(descent / 2, min(heldout.lowest, least))


def compute_max_mild_rise(heldout: LossTrend, training: LossTrend, *, has_zero: bool) -> float:
    """The largest rise of a loss above its best that does not count as a fault.

    Args:
        has_zero: whether 0 is the lowest possible loss, so its height says how much is left. Otherwise that is assumed
            for losses no higher than a cross-entropy.
    """
    if has_zero:
        return thresholds.MAX_MILD_RISE * measure_loss_left(heldout)
    if 0 < heldout.lowest <= thresholds.MAX_CROSS_ENTROPY:
        return thresholds.MAX_MILD_RISE * heldout.lowest
    return thresholds.MAX_MILD_RISE * estimate_external_loss_left(heldout, training, None)


def find_onset(trend: LossTrend) -> int | None:
    """The first position after the best from which the curve stays above its lowest level by more than its noise.

    If the noise exceeds half of the rise, that half is the bar instead.
    """
    levels = trend.levels
    bar = trend.lowest + min(trend.noise, trend.rise / 2)
    onset = len(levels)
    while onset > trend.best + 1 and levels[onset - 1] > bar:
        onset -= 1
    return onset if onset < len(levels) else None


def _rises_over_many_epochs(heldout: LossTrend, noise: float) -> bool:
    """Whether many epochs together show that a loss is above its lowest, although the last ones alone do not.

    One sign is that the mean of the last quarter exceeds the lowest mean of equally many epochs by more than noise. The
    other is that the order of the values after the best one shows a rise. A weaker order is enough if the level at the
    end is a weak sign too.
    """
    values = heldout.values
    width = max(1, len(values) // 4)
    sums = [0.0, *accumulate(values)]
    means = [(after - before) / width for before, after in zip(sums, sums[width:], strict=False)]
    if means[-1] - min(means) > thresholds.MIN_MEAN_RISE_SIGMAS * noise * sqrt(2 / width):
        return True
    order = _compute_order_sigmas(values[heldout.best + 1 :])
    return order > thresholds.MIN_ORDER_SIGMAS or (
        order > thresholds.MIN_ORDER_SIGMAS_BESIDE_RISE and heldout.rise > noise
    )


def _compute_order_sigmas(values: list[float]) -> float:
    """Kendall's statistic for the order of values, in its standard deviations; 0 for fewer than three values.

    Without a trend, every order of the values is equally likely.
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
    """Validation and training as losses, or as shares of wrong answers if no pair of losses was recorded.

    epoch_numbers: the number of the epoch at each position; best_epoch and onset_epoch are such numbers.
    epochs: number of validation epochs. name, training_name: names of the two curves in sentences.
    is_measured: whether training figures come from inference mode; otherwise they come from `fit`.
    heldout, training: the trends of validation and training; None if nothing finite was recorded.
    wrong_answers: the trend of validation's share of wrong answers.
    own_noise: validation's noise that training does not share.
    training_at_best: the training loss in validation's best epoch.
    has_learned: whether training has fallen since that epoch.
    onset_epoch: the epoch from which validation stays up; None if it does not, or if training learned nothing since.
    accuracy: change of validation accuracy since the epoch with the lowest loss; None if unknown.
    max_mild_rise: how far validation may end above its best without that being a fault.
    is_overconfident: whether the loss stays up while accuracy is above guessing and does not fall.
    """

    history: History
    epoch_numbers: Sequence[int]
    epochs: int
    name: str
    training_name: str
    of_loss: bool
    is_measured: bool
    heldout: LossTrend | None
    training: LossTrend | None
    wrong_answers: LossTrend | None
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
        """Whether the loss ends too little above its best to be a fault, and accuracy did not clearly fall."""
        heldout = self.heldout
        if heldout is None or (self.accuracy is not None and self.accuracy.fell):
            return False
        last_rise = heldout.values[-1] - heldout.values[heldout.best]
        return max(heldout.rise, last_rise) < self.max_mild_rise


def choose_curves(history: History, evaluation: Evaluation | None = None) -> Curves:
    """Use losses if both were recorded, otherwise shares of wrong answers.

    Overfitting shows in the curves, or in the last weights compared with the kept ones on the same images.
    """
    is_measured, of_loss, numbers = history.is_measured, history.has_losses, history.epoch_numbers
    heldout, training, wrong_answers = (
        measure_trend(values, has_zero=has_zero) if values else None
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
        has_learned = fell > (thresholds.MIN_TRAINING_FALL * at_best if is_measured else 0.0)
        own_noise = estimate_noise(heldout.values, training.values)
        loss_left = (
            measure_loss_left(heldout) if is_measured else estimate_external_loss_left(heldout, training, wrong_answers)
        )
        # Without learning there is no overfitting.
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
    """Whether accuracy did not fall and, if the number of classes is known, is above guessing."""
    classes = len(evaluation.classes) if evaluation else 0
    return accuracy.held and (classes < 2 or compute_skill(accuracy.level, 1 / classes) > thresholds.MAX_CHANCE_SKILL)


def _last_weights_are_worse(evaluation: Evaluation | None, training: LossTrend) -> bool:
    """Whether the last weights do better on training images than the kept ones, and clearly worse on others."""
    last = evaluation.last if evaluation else None
    kept = evaluation.get(last.split) if evaluation and last else None
    if last is None or kept is None or kept.loss is None or len(training.values) < last.epoch:
        return False
    learned = training.values[last.epoch - 1] < training.values[last.kept_epoch - 1]
    return learned and last.loss.interval[0] > 0 and last.loss.difference > thresholds.MIN_RISE * kept.loss
