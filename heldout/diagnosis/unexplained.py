"""The verdict if no finding explains anything: healthy, or why the diagnosis cannot tell."""

from collections.abc import Callable
from math import log
from typing import NamedTuple

from heldout.diagnosis import knowledge, thresholds
from heldout.diagnosis.curves import Curves
from heldout.diagnosis.evaluation import compute_skill
from heldout.diagnosis.facts import Facts
from heldout.diagnosis.findings import CANNOT_TELL, HEALTHY
from heldout.diagnosis.loss_trend import LossTrend
from heldout.diagnosis.rules.rising import find_stopped_in_time
from heldout.proofs.outcomes import Outcomes
from heldout.spec.job import trains_on_all
from heldout.statistics import compute_newcombe_interval
from heldout.words import format_figure, percent, pluralize
from heldout.words.curves import describe_best_and_end, describe_bouncing, describe_end, explain_too_little_matters
from heldout.words.verdicts import describe_healthy

_NOTHING_VALIDATES = (
    "The job also trained on its validation images (`validation.use: train`), so no images are left to show whether it "
    "learned too much, too little or enough. This is how to train the final model, once other jobs have shown which "
    "settings work."
)


class Unexplained(NamedTuple):
    """A verdict without a finding."""

    verdict: str
    headline: str
    summary: str
    explanation: str


def judge_without_findings(facts: Facts, outcomes: Outcomes) -> Unexplained:
    """Return `cannot_tell`, with the first reason that applies, or else `healthy`."""
    reasons = ANSWERS_ALONE if facts.has_answers_alone else CURVES
    if outcomes.get_answer("too_little_data") == "refuted":
        reasons = (_OPEN_GAP, *reasons)
    for reason in reasons:
        explanation = reason.find(facts)
        if explanation is not None:
            return Unexplained(CANNOT_TELL, reason.headline, reason.summary, explanation)
    name, heldout = ("validation", facts.validation) if facts.test is None else ("test", facts.test)
    explanation = _explain_healthy_answers(facts) if facts.has_answers_alone else _explain_healthy(facts)
    curves, gap = facts.curves, facts.budget
    is_last_best = curves.heldout is not None and curves.heldout.best == curves.epochs - 1
    may_learn = facts.train is None or facts.train.accuracy < 1 - thresholds.MIN_ACCURACY_COST
    is_gap_likely = gap is not None and gap.accuracy > 0 and not gap.may_be_chance_of_single_images
    words = describe_healthy(
        facts.train, heldout, name, may_train_on=is_last_best and may_learn, is_gap_likely=is_gap_likely
    )
    return Unexplained(HEALTHY, *words, explanation)


class Reason(NamedTuple):
    """A reason why the diagnosis cannot tell. find: returns the explanation, or None if the reason does not apply."""

    find: Callable[[Facts], str | None]
    headline: str
    summary: str


def _explain_trained_on_all(facts: Facts) -> str | None:
    return _NOTHING_VALIDATES if facts.spec is not None and trains_on_all(facts.spec) else None


def _explain_few_epochs(facts: Facts) -> str | None:
    for kind, trend in (("Training", facts.curves.training), ("Validation", facts.curves.heldout)):
        epochs = 0 if trend is None else len(trend.values)
        if epochs < thresholds.MIN_EPOCHS:
            known = f"only {pluralize(epochs, 'epoch')}" if epochs else "no epoch"
            return (
                f"{kind} results are known for {known}, and it takes at least {thresholds.MIN_EPOCHS} epochs to see a "
                "trend. Train longer, or send a longer history."
            )
    return None


def _explain_rise_without_learning(facts: Facts) -> str | None:
    """Validation turned up while training did not improve: not overfitting, but not healthy either."""
    curves, heldout, training = facts.curves, facts.curves.heldout, facts.curves.training
    if heldout is None or training is None or curves.has_learned or not heldout.is_up:
        return None
    return (
        f"{describe_best_and_end(curves, heldout)}. Meanwhile the {curves.training_name} "
        f"{describe_end(training, is_loss=curves.of_loss)}, and was "
        f"{format_figure(curves.training_at_best, is_loss=curves.of_loss)} in epoch {curves.best_epoch}. The network "
        "has learned nothing since, so this is not overfitting. A lower learning rate may help."
    )


def _explain_contradiction(facts: Facts) -> str | None:
    """Validation accuracy falls while the validation loss does not rise."""
    curves, wrong = facts.curves, facts.curves.wrong_answers
    if not curves.of_loss or wrong is None or len(wrong.values) < thresholds.MIN_EPOCHS:
        return None
    if wrong.rise < thresholds.MIN_CONTRADICTION or not wrong.is_up:
        return None
    return (
        f"Validation accuracy fell from {percent(1 - wrong.lowest)} to {percent(1 - wrong.last)}, but the validation "
        "loss did not rise. Check that both belong to the same training and the same images."
    )


def _explain_learned_nothing(facts: Facts) -> str | None:
    """No epoch after the first improved validation by more than its noise.

    Counts that show that the network knows the validation images outweigh the curve.
    """
    curves = facts.curves
    if facts.knows_validation:
        return None
    both = (
        (curves.name, curves.heldout, curves.of_loss),
        ("share of wrong validation answers", curves.wrong_answers, False),
    )
    for name, trend, is_loss in both:
        if trend is None or len(trend.values) < thresholds.MIN_EPOCHS:
            continue
        first, last = trend.values[0], trend.values[-1]
        if first - trend.lowest <= thresholds.MIN_RISE_SIGMAS * trend.noise:
            return (
                f"The {name} was {format_figure(first, is_loss=is_loss)} after the first epoch and is "
                f"{format_figure(last, is_loss=is_loss)} after {pluralize(curves.epochs, 'epoch')}; no epoch in "
                "between was clearly better. What the network learned does not help with validation images. Check that "
                "images and labels belong together, then try another learning rate or a larger network."
            )
    return None


def _explain_little_known(facts: Facts) -> str | None:
    """The network answers neither training nor validation images well, by its counts or its curves."""
    if facts.knows_validation and not facts.has_answers_alone:
        return None
    train, validation = facts.train, facts.validation
    if train is not None and validation is not None and len(facts.classes) > 1:
        trained, heldout, chance = train.accuracy, validation.accuracy, 1 / len(facts.classes)
    else:
        known = knowledge.get_known_accuracies(facts)
        if known is None:
            return None if facts.has_answers else _explain_maybe_guessing(facts)
        trained, heldout, chance = known
    if knowledge.knows(trained, chance) or knowledge.knows(heldout, chance):
        return None
    return (
        f"The network answers {percent(trained)} of its training images and {percent(heldout)} of the validation "
        f"images correctly, and guessing can give {percent(chance)}. It knows neither well, so it is too early to look "
        "for a difference between them. Try more epochs, another learning rate or a larger network, and check the "
        "labels."
    )


def _explain_maybe_guessing(facts: Facts) -> str | None:
    """The recorded figures are possible by guessing, and only unrecorded ones would tell."""
    trained, heldout = knowledge.get_end_accuracies(facts.curves)
    chance, count = knowledge.bound_chance(facts), len(facts.classes)
    what = f"guessing among {count:,} classes" if count > 1 else "guessing"
    classes = "" if count > 1 else ", and say how many classes there are"
    known, name, other = (
        (heldout, "validation", "training") if heldout is not None else (trained, "training", "validation")
    )
    if known is not None:
        if knowledge.knows(known, chance):
            return None
        return (
            f"The network answers {percent(known)} of the {name} images correctly, and {what} can give "
            f"{percent(chance)}. The {other} accuracy was not recorded, so it is unknown whether the network knows "
            f"either. Record both{classes}."
        )
    probability, last = knowledge.compute_label_probability(facts.curves), facts.curves.heldout
    # A loss may be on any scale, so it only says something if the number of classes is known.
    if (
        count < 2
        or probability is None
        or last is None
        or compute_skill(probability, chance) >= thresholds.MIN_SKILL_BY_LOSS
    ):
        return None
    return (
        f"The validation loss does not rise, but it ends at {format_figure(last.values[-1], is_loss=True)}, and {what} "
        f"costs {format_figure(-log(chance), is_loss=True)}. No accuracy was recorded, so it is unknown whether the "
        "network knows the images. Record the accuracy of training and validation."
    )


def _explain_missing_answers(facts: Facts) -> str | None:
    """Without answers to training images, or to others, there is nothing to compare."""
    if facts.train is None:
        return (
            "Answers to training images are missing, so there is no gap to look at. Also send the same weights' "
            "answers to the training images."
        )
    if facts.validation is None and facts.test is None:
        return (
            "Answers to validation and test images are missing, so there is no gap to look at. Also send the same "
            "weights' answers to these images."
        )
    return None


def _explain_undivided_gap(facts: Facts) -> str | None:
    """Test is worse, but only validation answers would show whether training or the test images are the cause."""
    train, test = facts.train, facts.test
    if train is None or test is None or facts.validation is not None:
        return None
    if compute_newcombe_interval(train.counts, test.counts)[0] <= thresholds.MIN_BETTER_ON_TRAINING:
        return None
    return (
        "Answers to validation images are missing. They would show whether the network has memorized its training "
        "images, or whether the test images are of a different kind. Send the same weights' answers to images that are "
        "neither in training nor in test."
    )


def _explain_healthy_answers(facts: Facts) -> str:
    splits = ("training", facts.train), ("validation", facts.validation), ("test", facts.test)
    known = [name for name, figures in splits if figures is not None]
    seen = f"No fault was found in the answers to {', '.join(known[:-1])} and {known[-1]} images."
    return f"{seen} Only the training's curves could show whether another epoch would have been better."


def _explain_open_gap(facts: Facts) -> str | None:
    """A difference that is surely a fault, whose usual cause experiments have refuted."""
    lag = knowledge.compute_lag(facts)
    if lag is None or lag.interval is None or lag.interval[0] < thresholds.MIN_SURE_GAP:
        return None
    low, high = (f"{100 * bound:.1f}" for bound in lag.interval)
    return (
        f"The network answers {percent(lag.trained)} of its training images correctly, but only {percent(lag.heldout)} "
        f"of the validation images: {low} to {high} points less. Neither the curves nor what was tried explain that. "
        "A study measures which remedy closes it."
    )


def _explain_uncertain_gap(facts: Facts) -> str | None:
    """A difference that would be a fault, if there were enough images to be sure of it."""
    train, validation = facts.train, facts.validation
    if train is None or validation is None or train.accuracy - validation.accuracy < thresholds.MIN_LARGE_GAP:
        return None
    return (
        f"The network answers {percent(train.accuracy)} of its {pluralize(train.count, 'training image')} correctly, "
        f"but only {percent(validation.accuracy)} of the {pluralize(validation.count, 'validation image')}. That is a "
        "large difference, but with so few images it may be chance. Use more validation images, then look again."
    )


def _explain_healthy(facts: Facts) -> str:
    in_time, heldout = find_stopped_in_time(facts), facts.curves.heldout
    assert heldout is not None
    explanation = in_time.explanation if in_time else _describe_trend(facts.curves, heldout)
    if facts.budget is not None:
        return explanation  # the budget already describes the gap
    if facts.train is None or facts.test is None:
        return explanation
    gap = f"{100 * (facts.train.accuracy - facts.test.accuracy):.1f}"
    if float(gap) > 0:
        return f"{explanation} Training accuracy is {gap} points higher than test accuracy."
    return f"{explanation} Test accuracy is at least as good as training accuracy."


def _describe_trend(curves: Curves, heldout: LossTrend) -> str:
    """Describe how validation went, and why its end is as good as its best or does not count as a rise."""
    seen = f"{describe_best_and_end(curves, heldout)}."
    excess = heldout.values[-1] - heldout.values[heldout.best]
    if heldout.best == curves.epochs - 1:
        best = format_figure(heldout.values[-1], is_loss=curves.of_loss)
        return f"The {curves.name} was lowest in the last epoch, {curves.best_epoch} ({best}): it did not rise again."
    if excess <= curves.max_mild_rise:
        return f"{seen} {explain_too_little_matters(curves)}"
    return (
        f"{seen} Single epochs of this training differ by that much, so it is not a lasting rise. Keep the weights of "
        f"the best epoch.{describe_bouncing(curves, heldout)}"
    )


_LITTLE_KNOWN = Reason(
    _explain_little_known,
    "The network knows neither training nor validation images well.",
    "It is too early to look for a difference between them. Train longer, try another learning rate or a larger "
    "network, and check the labels.",
)
_OPEN_GAP = Reason(
    _explain_open_gap,
    "New images are answered worse, and the cause is not known.",
    "That is more than chance, but neither the curves nor what was tried explain it. Measure what helps with "
    "`heldout cure`.",
)
_UNCERTAIN = Reason(
    _explain_uncertain_gap,
    "There are too few validation images to tell.",
    "Validation looks much worse than training, but with so few images that may be chance. Use more validation images "
    "and look again.",
)
# Reasons for answers without training curves, in the order in which they are checked.
ANSWERS_ALONE = (
    Reason(
        _explain_missing_answers,
        "Answers are missing, so there is no gap to look at.",
        "Send what the same weights answer to training images and to held-out images.",
    ),
    _LITTLE_KNOWN,
    Reason(
        _explain_undivided_gap,
        "Without validation answers, the cause of the gap is unknown.",
        "The network may have memorized its training images, or the test images may differ. Send its answers to "
        "validation images too.",
    ),
    _UNCERTAIN,
)
CURVES = (
    Reason(
        _explain_trained_on_all,
        "No images were held out to judge this training.",
        "It also trained on its validation images. Judge other trainings first, then train the final model this way.",
    ),
    Reason(
        _explain_few_epochs,
        "There are too few epochs to see a trend.",
        "At least four epochs with validation results are needed. Train longer or send a longer history.",
    ),
    Reason(
        _explain_rise_without_learning,
        "Validation got worse while training learned nothing.",
        "That is not overfitting: the training loss did not improve either. Try a lower learning rate.",
    ),
    Reason(
        _explain_contradiction,
        "Validation loss and accuracy contradict each other.",
        "Accuracy fell while the loss did not rise. Check that both belong to the same training and the same images.",
    ),
    Reason(
        _explain_learned_nothing,
        "What it learned does not help with validation images.",
        "No epoch was clearly better than the first. Check that images and labels belong together, then try another "
        "learning rate or a larger network.",
    ),
    _LITTLE_KNOWN,
    _UNCERTAIN,
)
