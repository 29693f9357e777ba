"""Not converged: training ended too early to judge the network."""

from typing import Any

from heldout.diagnosis import remedies
from heldout.diagnosis.facts import Facts
from heldout.diagnosis.findings import Finding
from heldout.diagnosis.thresholds import MIN_EPOCHS_TO_SETTLE
from heldout.diagnosis.words import change_of, counted, percent


def both_losses_fall(facts: Facts) -> list[Finding]:
    """Both losses are still falling at the end."""
    curves, heldout, training = facts.curves, facts.curves.heldout, facts.curves.training
    if heldout is None or training is None or not (heldout.still_falls and training.still_falls):
        return []
    seen = (
        f"The {curves.name} still fell by {change_of(heldout.fall, is_loss=curves.of_loss)} over the last third of "
        f"{counted(curves.epochs, 'epoch')}, and the {curves.training_name} fell too"
    )
    return _finding(facts, seen, {"fell": heldout.fall, "noise": heldout.noise}, still_falls=True)


def training_images_unknown_yet(facts: Facts) -> list[Finding]:
    """Not even the training images are known, and their loss still falls, or there were few epochs."""
    curves, train, training = facts.curves, facts.train, facts.curves.training
    still_falls = training is not None and training.still_falls
    if train is None or curves.heldout is None or facts.knows_training is not False:
        return []
    if curves.onset_epoch is not None or both_losses_fall(facts):
        return []
    if not still_falls and curves.epochs >= MIN_EPOCHS_TO_SETTLE:
        return []
    fall = 0.0 if training is None else training.fall
    seen = f"Training accuracy is only {percent(train.accuracy)}" + (
        f", and the {curves.training_name} still fell by {change_of(fall, is_loss=curves.of_loss)} over the last third "
        f"of {counted(curves.epochs, 'epoch')}"
        if still_falls
        else f" after {counted(curves.epochs, 'epoch')}"
    )
    return _finding(facts, seen, {"training_fell": fall, "train_accuracy": train.accuracy}, still_falls=still_falls)


def _finding(facts: Facts, seen: str, numbers: dict[str, Any], *, still_falls: bool) -> list[Finding]:
    epochs, heldout = facts.curves.epochs, facts.curves.heldout
    assert heldout is not None
    return [
        Finding(
            "not_converged",
            "warning",
            f"{seen}: it is too early to judge the network.",
            numbers | {"epochs": epochs, "last": heldout.values[-1]},
            remedies.more_epochs(facts.spec, epochs, still_falls),
        )
    ]
