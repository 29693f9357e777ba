"""Findings about how training went: it diverged, has not settled, learned too little, or had too little data."""

from collections.abc import Mapping
from math import log
from typing import Any

from heldout.diagnosis import remedies, thresholds
from heldout.diagnosis.curves import Curves
from heldout.diagnosis.evaluation import SplitFigures, compute_skill
from heldout.diagnosis.facts import Facts
from heldout.diagnosis.findings import Finding
from heldout.diagnosis.history import Curve
from heldout.diagnosis.knowledge import compute_lag, has_nothing_left_to_learn, knows
from heldout.diagnosis.loss_trend import LossTrend
from heldout.diagnosis.rules.labels import find_label_noise
from heldout.statistics import compute_newcombe_interval
from heldout.words import format_figure, percent, pluralize
from heldout.words.curves import describe_bouncing, describe_end

# In the order in which they are checked.
_NAMES = {"fit_loss": "training loss", "train_loss": "training loss", "validation_loss": "validation loss"}


def find_diverged(facts: Facts) -> Finding | None:
    curves, history = facts.curves, facts.curves.history
    for name in _NAMES:
        curve = getattr(history, name)
        if None in curve:
            epoch = curves.epoch_numbers[curve.index(None)]
            return Finding(
                "diverged",
                "critical",
                f"In epoch {epoch}, the {_NAMES[name]} is no longer a finite number: training has diverged.",
                {"curve": name, "epoch": epoch},
                remedies.suggest(facts.base, "lower_learning_rate"),
            )
    training = curves.training
    what_happened = _describe_what_happened(facts)
    if training is None or what_happened is None:
        return _find_high_rate(facts)
    return Finding(
        "diverged",
        "critical",
        f"The training loss {describe_end(training, is_loss=True)}, {what_happened}. The training steps were too "
        "large.",
        {
            "curve": "training",
            "first": training.values[0],
            "lowest": training.values[training.best],
            "last": training.last,
        },
        remedies.suggest(facts.base, "lower_learning_rate"),
    )


def has_high_rate(spec: Mapping[str, Any] | None) -> bool:
    """Whether the learning rate is far above what its optimizer usually gets."""
    if spec is None:
        return False
    optimizer = spec["training"]["optimizer"]
    least = thresholds.MIN_HIGH_RATE_OF_SGD if optimizer["name"] == "sgd" else thresholds.MIN_HIGH_RATE
    return bool(optimizer["learning_rate"] >= least)


def _find_high_rate(facts: Facts) -> Finding | None:
    """Report a learning rate far above the usual ones with which the network has not learned to do more than guess."""
    train, classes, spec = facts.train, len(facts.classes), facts.spec
    if train is None or train.loss is None or classes < 2 or spec is None:
        return None
    optimizer = spec["training"]["optimizer"]
    rate, guessing = optimizer["learning_rate"], log(classes)
    if not has_high_rate(spec) or train.loss < thresholds.MIN_LOSS_OF_GUESSING * guessing:
        return None
    return Finding(
        "diverged",
        "critical",
        f"After {pluralize(facts.curves.epochs, 'epoch')} the loss on training images is {train.loss:.4g}; guessing "
        f"among {classes} classes would give {guessing:.4g}. A learning rate of {rate:g} is far above what "
        f"{optimizer['name']} usually gets, and its steps have destroyed the network.",
        {"learning_rate": rate, "train_loss": train.loss, "loss_of_guessing": guessing},
        remedies.suggest(facts.base, "lower_learning_rate"),
    )


def _describe_what_happened(facts: Facts) -> str | None:
    """Say what is wrong with the end of the training loss, or return None if nothing is."""
    curves, training = facts.curves, facts.curves.training
    if training is None or len(training.values) < thresholds.MIN_EPOCHS or not curves.of_loss:
        return None
    first, last = training.values[0], training.last
    least = thresholds.MIN_RISE_SIGMAS * training.noise
    # Only a measured loss is known to be a cross-entropy without penalties.
    classes = len(facts.classes) if curves.is_measured else 0
    peak = _find_peak(facts)
    if classes > 1 and peak > thresholds.MAX_PEAK_OVER_GUESSING * log(classes):
        return f"but during an epoch it was {peak / log(classes):,.0f} times as high as for guessing"
    if classes > 1 and min(last, training.values[-1]) > thresholds.MAX_LOSS_OVER_GUESSING * log(classes):
        return f"higher than guessing among {classes} classes would give ({log(classes):.4g}): training has diverged"
    if classes < 2 and last - first > max(least, thresholds.MIN_RISE * training.descent):
        return f"higher than in the first epoch ({first:.4g}): training has diverged"
    had_learned = training.descent > thresholds.MIN_DESCENT_TO_LOSE * abs(first)
    if had_learned and training.rise > max(least, thresholds.MIN_LOST_DESCENT * training.descent):
        best_epoch = curves.epoch_numbers[training.best]
        lowest = training.values[training.best]
        return f"but was {lowest:.4g} in epoch {best_epoch}: the network has lost what it had learned"
    return None


def _find_peak(facts: Facts) -> float:
    """The highest training loss of an epoch as `fit` reports it, without what penalties add at the end."""
    losses = [value for value in facts.curves.history.fit_loss if value is not None]
    if not losses or facts.train is None or facts.train.loss is None:
        return 0.0
    return max(losses) - max(0.0, losses[-1] - facts.train.loss)


def find_both_losses_falling(facts: Facts) -> Finding | None:
    """Report that both losses are still falling at the end."""
    curves, heldout, training = facts.curves, facts.curves.heldout, facts.curves.training
    if heldout is None or training is None or not (heldout.still_falls and training.still_falls):
        return None
    if hardly_learns(facts):
        return None
    seen = f"{_describe_still_falls(curves, heldout, curves.name)}, and the {curves.training_name} fell too"
    return _make_not_converged(facts, seen, {"fell": heldout.fall, "noise": heldout.noise}, still_falls=True)


def find_training_unknown_yet(facts: Facts) -> Finding | None:
    """Report that many training images are not known yet, while their loss still falls or there were few epochs."""
    curves, train, training = facts.curves, facts.train, facts.curves.training
    still_falls = training is not None and training.still_falls
    if train is None or curves.heldout is None or hardly_learns(facts):
        return None
    if not (still_falls or curves.epochs < thresholds.MIN_EPOCHS_TO_SETTLE):
        return None
    # Much better answers to training images than to others only show that the network is large enough.
    lacks_much = facts.budget is not None and 1 - train.accuracy >= thresholds.MIN_MUCH_TO_LEARN
    if facts.knows_training is not False and not lacks_much:
        return None
    if curves.onset_epoch is not None or find_both_losses_falling(facts):
        return None
    fall = 0.0 if training is None else training.fall
    known = f"raining accuracy is only {percent(train.accuracy)}"
    seen = f"T{known} after {pluralize(curves.epochs, 'epoch')}"
    if still_falls and training is not None:
        seen = f"{_describe_still_falls(curves, training, curves.training_name)}, and t{known}"
    return _make_not_converged(
        facts, seen, {"training_fell": fall, "train_accuracy": train.accuracy}, still_falls=still_falls
    )


def hardly_learns(facts: Facts) -> bool:
    """Whether more epochs would not help: the training loss is barely below that of guessing after many epochs.

    A loss can also fall while the network names the same class for every image, if classes differ in size.
    """
    train, classes = facts.train, len(facts.classes)
    if train is None or train.loss is None or classes < 2:
        return False
    if facts.curves.epochs < thresholds.MIN_EPOCHS_TO_LEARN:
        return facts.curves.epochs >= thresholds.MIN_EPOCHS_TO_SETTLE and _names_one_class(train)
    return train.loss > thresholds.MIN_LOSS_OF_GUESSING * log(classes) or _names_one_class(train)


def _names_one_class(figures: SplitFigures) -> bool:
    """Whether practically all images get the same answer."""
    answers = [sum(of_class) for of_class in zip(*figures.confusion, strict=True)]
    return bool(answers) and max(answers) >= thresholds.MIN_SHARE_OF_ONE_ANSWER * sum(answers)


def still_learns(facts: Facts) -> bool:
    """Whether it is too early to judge the network. Keeping an earlier epoch does not count as too early."""
    if find_diverged(facts) or hardly_learns(facts):
        return False
    if has_nothing_left_to_learn(facts):
        return False
    return bool(find_both_losses_falling(facts) or (find_training_unknown_yet(facts) and not find_label_noise(facts)))


def _describe_still_falls(curves: Curves, trend: LossTrend, name: str) -> str:
    """`The validation loss still fell over the last third of the training, from 0.52 (epoch 8) to 0.41 (epoch 12)`."""
    before = len(trend.values) - len(trend.values) // 3 - 1
    then, now = trend.values[before], trend.values[-1]
    if now >= then:
        return f"The {name} still falls, with ups and downs"
    then_and_now = " to ".join(
        f"{format_figure(value, is_loss=curves.of_loss)} (epoch {curves.epoch_numbers[place]})"
        for place, value in ((before, then), (len(trend.values) - 1, now))
    )
    return f"The {name} still fell over the last third of the training, from {then_and_now}"


def _make_not_converged(facts: Facts, seen: str, numbers: dict[str, Any], *, still_falls: bool) -> Finding | None:
    epochs, heldout = facts.curves.epochs, facts.curves.heldout
    assert heldout is not None
    is_learned = has_nothing_left_to_learn(facts)
    advice = (
        "But the network already answers practically all training images correctly, so more epochs can make it surer "
        "but will hardly improve its answers to other images."
        if is_learned
        else "It is too early to judge the network: train longer."
    )
    return Finding(
        "not_converged",
        "info" if is_learned else "warning",
        f"{seen}. {advice}{describe_bouncing(facts.curves, heldout)}",
        numbers | {"epochs": epochs, "last": heldout.values[-1]},
        remedies.suggest_more_epochs(facts.base, epochs, still_falls),
    )


def _learns_too_little(facts: Facts) -> bool:
    """Whether training images are not known. With a measured gap, a low accuracy on them is enough."""
    if facts.train is None or facts.budget is None or facts.knows_training is False:
        return facts.knows_training is False
    return compute_skill(facts.train.accuracy, 1 / max(2, len(facts.classes))) < thresholds.MIN_SKILL_ON_TRAINING


def find_underfitting(facts: Facts) -> Finding | None:
    train, validation, training = facts.train, facts.validation, facts.curves.training
    still_falls = training is not None and training.still_falls and not hardly_learns(facts)
    if train is None or validation is None or not _learns_too_little(facts):
        return None
    if still_falls and facts.curves.onset_epoch is None:  # once validation has turned up, more epochs do not help
        return None
    if facts.curves.epochs < thresholds.MIN_EPOCHS_TO_SETTLE and not facts.has_answers_alone:
        return None
    more = (
        "its curves would show whether more epochs can change that. If training has settled, the network"
        if facts.has_answers_alone
        else "and more epochs will hardly change that: it"
    )
    low, high = compute_newcombe_interval(train.counts, validation.counts)
    return Finding(
        "underfitting",
        "warning",
        f"Training accuracy is only {percent(train.accuracy)}, and validation accuracy "
        f"{percent(validation.accuracy)}; guessing gives {percent(1 / len(facts.classes))}. The network has not "
        f"even learned its training images{';' if facts.has_answers_alone else ','} {more} needs to be larger or "
        "less regularized.",
        {
            "train_accuracy": train.accuracy,
            "validation_accuracy": validation.accuracy,
            "difference_interval": [low, high],
            "chance": 1 / len(facts.classes),
            "loss_of_guessing": log(len(facts.classes)),
        },
        remedies.suggest(facts.base, *remedies.LEARNING_MORE),
    )


def find_metric_artifact(facts: Facts) -> Finding | None:
    history = facts.curves.history
    fit, measured = _get_last_value(history.fit_accuracy), _get_last_value(history.train_accuracy)
    heldout = _get_last_value(history.validation_accuracy)
    if fit is None or measured is None or heldout is None:
        return None
    shown, real = fit - heldout, measured - heldout
    if real - shown < thresholds.MIN_FIT_ARTEFACT or shown > -thresholds.MIN_FIT_BELOW_VALIDATION:
        return None
    mixes = facts.spec is not None and any(facts.spec["training"].get(way) for way in ("mixup", "cutmix"))
    harder = "dropout, augmentation and mixed images" if mixes else "dropout and augmentation"
    return Finding(
        "metric_artefact",
        "warning",
        f"`fit` reports a training accuracy of {percent(fit)}, below validation accuracy ({percent(heldout)}). "
        f"Nothing is wrong with the training: without {harder}, training accuracy is "
        f"{percent(measured)}. `fit` averages over an epoch, with {harder}, while the weights are "
        "still changing. Compare the measured accuracies (`train_accuracy`), not those of `fit`.",
        {"fit_accuracy": fit, "train_accuracy": measured, "validation_accuracy": heldout},
    )


def _get_last_value(curve: Curve) -> float | None:
    """The last finite value."""
    return next((value for value in reversed(curve) if value is not None), None)


# Findings that explain worse answers to held-out images if no measured gap says by how much.
EXPLAINED_BY = (
    "label_conflicts",
    "label_noise",
    "memorised_noise",
    "collapsed_class",
    "diverged",
    "overfitting",
    "underfitting",
)


def find_too_little_data(facts: Facts) -> Finding | None:
    """Judge by the kept weights' counts, or else by the accuracies at the end of the curves.

    Every part of a measured gap that is clearly above chance must belong to a finding: to this one if to no other.
    """
    lag = compute_lag(facts)
    if lag is None or facts.knows_training is False:
        return None
    if facts.budget is not None:
        if lag.interval is None or lag.interval[0] < thresholds.MIN_SURE_GAP:
            return None
    elif not lag.is_surely_large or not knows(lag.trained, lag.chance) or still_learns(facts):
        return None
    train, trained, heldout = facts.train, lag.trained, lag.heldout
    evidence: dict[str, Any] = {} if lag.interval is None else {"difference_interval": [*lag.interval]}
    images = None if train is None else train.count
    ruled_out = (
        "Wrong labels do not explain that; only the training's curves could show whether it was trained too long."
        if facts.has_answers_alone
        else "Neither the course of the training nor wrong labels explain that."
    )
    few = "Too few training images" if images is None else f"{pluralize(images, 'training image')} are too few"
    now = "" if images is None else f" (there are {images:,} now)"
    more = f"Collect more training images{now}."
    first, *others = remedies.REGULARISATION
    pretrained = remedies.suggest(facts.base, first)
    helps = (
        "Pretrained features usually help photographs most, then more images" if pretrained else "More images help most"
    )
    return Finding(
        "too_little_data",
        "warning",
        f"The network answers {percent(trained)} of its training images correctly, but only {percent(heldout)} of "
        f"the validation images. {ruled_out} {few} for this network to learn what holds for other images. "
        f"{helps}, then more varied ones.",
        {
            "train_accuracy": trained,
            "validation_accuracy": heldout,
            "difference": trained - heldout,
            "images": images,
            **evidence,
        },
        (*pretrained, *remedies.suggest_data_fix(more), *remedies.suggest(facts.base, *others)),
    )
