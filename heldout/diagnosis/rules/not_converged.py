"""Not converged: training ended too early to judge the network."""

from math import log
from typing import Any

from heldout.diagnosis import remedies
from heldout.diagnosis.course import Course
from heldout.diagnosis.curves import Curves
from heldout.diagnosis.facts import Facts
from heldout.diagnosis.findings import Finding
from heldout.diagnosis.knowledge import has_nothing_left_to_learn
from heldout.diagnosis.rules import diverged, label_noise
from heldout.diagnosis.thresholds import (
    MIN_EPOCHS_TO_LEARN,
    MIN_EPOCHS_TO_SETTLE,
    MIN_LOSS_OF_GUESSING,
    MIN_MUCH_TO_LEARN,
)
from heldout.words import format_figure, percent, pluralize
from heldout.words.courses import describe_bouncing


def find_both_losses_falling(facts: Facts) -> list[Finding]:
    """Report that both losses are still falling at the end."""
    curves, heldout, training = facts.curves, facts.curves.heldout, facts.curves.training
    if heldout is None or training is None or not (heldout.still_falls and training.still_falls):
        return []
    if hardly_learns(facts):
        return []
    seen = f"{_describe_still_falls(curves, heldout, curves.name)}, and the {curves.training_name} fell too"
    return _make_finding(facts, seen, {"fell": heldout.fall, "noise": heldout.noise}, still_falls=True)


def find_training_unknown_yet(facts: Facts) -> list[Finding]:
    """Report that not even training images are known, while their loss still falls or there were few epochs."""
    curves, train, training = facts.curves, facts.train, facts.curves.training
    still_falls = training is not None and training.still_falls
    if train is None or curves.heldout is None or hardly_learns(facts):
        return []
    # Much better answers to training images than to others only show that the network is large enough.
    is_learning = still_falls and 1 - train.accuracy >= MIN_MUCH_TO_LEARN
    if facts.knows_training is not False and not (is_learning and facts.budget is not None):
        return []
    if curves.onset_epoch is not None or find_both_losses_falling(facts):
        return []
    if not still_falls and curves.epochs >= MIN_EPOCHS_TO_SETTLE:
        return []
    fall = 0.0 if training is None else training.fall
    known = f"raining accuracy is only {percent(train.accuracy)}"
    seen = f"T{known} after {pluralize(curves.epochs, 'epoch')}"
    if still_falls and training is not None:
        seen = f"{_describe_still_falls(curves, training, curves.training_name)}, and t{known}"
    return _make_finding(
        facts, seen, {"training_fell": fall, "train_accuracy": train.accuracy}, still_falls=still_falls
    )


def hardly_learns(facts: Facts) -> bool:
    """Whether the training loss is barely below that of guessing after many epochs, so more would not help."""
    train, classes = facts.train, len(facts.classes)
    if train is None or train.loss is None or classes < 2 or facts.curves.epochs < MIN_EPOCHS_TO_LEARN:
        return False
    return train.loss > MIN_LOSS_OF_GUESSING * log(classes)


def still_learns(facts: Facts) -> bool:
    """Whether it is too early to judge the network. Keeping an earlier epoch does not count as too early."""
    if diverged.find(facts) or hardly_learns(facts):
        return False
    if has_nothing_left_to_learn(facts):
        return False
    return bool(find_both_losses_falling(facts) or (find_training_unknown_yet(facts) and not label_noise.find(facts)))


def _describe_still_falls(curves: Curves, course: Course, name: str) -> str:
    """`The validation loss still fell over the last third of the training, from 0.52 (epoch 8) to 0.41 (epoch 12)`."""
    before = len(course.values) - len(course.values) // 3 - 1
    then, now = course.values[before], course.values[-1]
    if now >= then:
        return f"The {name} still falls, with ups and downs"
    then_and_now = " to ".join(
        f"{format_figure(value, is_loss=curves.of_loss)} (epoch {curves.epoch_numbers[place]})"
        for place, value in ((before, then), (len(course.values) - 1, now))
    )
    return f"The {name} still fell over the last third of the training, from {then_and_now}"


def _make_finding(facts: Facts, seen: str, numbers: dict[str, Any], *, still_falls: bool) -> list[Finding]:
    epochs, heldout = facts.curves.epochs, facts.curves.heldout
    assert heldout is not None
    is_learned = has_nothing_left_to_learn(facts)
    advice = (
        "But the network already answers practically all training images correctly, so more epochs can make it surer "
        "but will hardly improve its answers to other images."
        if is_learned
        else "It is too early to judge the network: train longer."
    )
    return [
        Finding(
            "not_converged",
            "info" if is_learned else "warning",
            f"{seen}. {advice}{describe_bouncing(facts.curves, heldout)}",
            numbers | {"epochs": epochs, "last": heldout.values[-1]},
            remedies.suggest_more_epochs(facts.base, epochs, still_falls),
        )
    ]
