"""What a diagnosis advises: remedies of `heldout.remedies`, with reasons from what was seen, and mending of data.

Where the spec is known a remedy has a patch, and one that would change nothing is not offered.
"""

from collections.abc import Mapping
from typing import Any

from heldout.diagnosis.findings import Remedy
from heldout.remedies.catalogue import REMEDIES
from heldout.remedies.change import Base, NoChange, Outcome, Spec
from heldout.remedies.training import Monitor, early_stopping
from heldout.remedies.values import MAX_EPOCHS
from heldout.stored.gap import Calibration
from heldout.words import counted

# In the order in which they helped on the collection of trainings (docs/explanation/diagnosis.md).
REGULARISATION = ("augmentation", "dropout", "l2", "smaller_network")


def keep_lowest_loss(spec: Spec | None, best_epoch: int, stopping: str, patience: int) -> tuple[Remedy, ...]:
    """Early stopping by the loss.

    Args:
        stopping: what keeping the best epoch would have changed in this training.
        patience: epochs without a lower loss that have to be waited for to reach that epoch.
    """
    keep = f"Keep the weights of the best epoch ({best_epoch}), and stop once validation no longer improves."
    return _keep_best(spec, "validation_loss", f"{keep} {stopping}", patience)


def keep_best_accuracy(spec: Spec | None, which: str, patience: int) -> tuple[Remedy, ...]:
    """Early stopping by the accuracy. which: the best epoch in brackets, or nothing."""
    reason = f"Keep the weights of the epoch with the best validation accuracy{which}, not those with the lowest loss."
    return _keep_best(spec, "validation_accuracy", reason, patience)


def make_less_sure(spec: Spec | None, calibration: Calibration | None) -> tuple[Remedy, ...]:
    """In the next training, or after this one; a temperature only where it was not measured to make things worse."""
    found = _offered("label_smoothing", spec)
    if calibration is not None and calibration.error_after >= calibration.error_before:
        return found
    by = "one number, fitted on the validation images" if calibration is None else f"{calibration.temperature:.2f}"
    reason = (
        f"After training, divide the network's outputs (before the softmax) by {by}: its answers stay the same, and "
        "its probabilities become more honest. Nothing has to be trained again."
    )
    return (*found, Remedy("temperature", reason))


def against_too_little_data(spec: Spec | None, images: int | None) -> tuple[Remedy, ...]:
    now = "" if images is None else f" (there are {images:,} now)"
    more = f"Collect more training images{now}: nothing else closes such a gap as far."
    return (mend_data(more), *regularisation(spec))


def regularisation(spec: Spec | None) -> tuple[Remedy, ...]:
    return tuple(remedy for name in REGULARISATION for remedy in _offered(name, spec))


def more_patience(spec: Spec | None) -> tuple[Remedy, ...]:
    """Nothing where the guard stopped, which has no patience, or where no spec is known."""
    return () if spec is None else _offered("more_patience", spec)


def more_epochs(spec: Spec | None, done: int, still_falls: bool) -> tuple[Remedy, ...]:
    """Twice as many, where the spec's are used up; nothing at the limit of what a spec may ask for."""
    planned = done if spec is None else spec["training"]["epochs"]
    if planned > done:
        reason = (
            f"{done:,} of {planned:,} epochs {'is' if done == 1 else 'are'} done. Let the training go on, or give it "
            "more patience or time if early stopping or a deadline ended it."
        )
        return (Remedy("more_epochs", reason),)
    if planned >= MAX_EPOCHS:
        return ()
    seen = "The losses were still falling" if still_falls else "It is too early to judge the network"
    wanted = min(MAX_EPOCHS, 2 * planned)
    reason = f"{seen} after {counted(done, 'epoch')}: train for {wanted:,} epochs, and keep the best of them."
    return _offered("more_epochs", spec, reason)


def against_underfitting(spec: Spec | None) -> tuple[Remedy, ...]:
    """A larger network, and less of what holds it back, where the spec says what that is."""
    freed = () if spec is None else _offered("less_regularisation", spec)
    return (*_offered("larger_network", spec), *freed)


def lower_learning_rate(spec: Spec | None) -> tuple[Remedy, ...]:
    return _offered("lower_learning_rate", spec)


def balanced_weights(spec: Spec | None) -> tuple[Remedy, ...]:
    return _offered("class_weights", spec)


def weighs_classes(spec: Spec | None) -> bool:
    return spec is not None and bool(spec["training"].get("class_weights"))


def mend_data(what: str, mend: Mapping[str, Any] | None = None) -> Remedy:
    """Something that no change of a spec cures. mend: the change of the dataset that does, where there is one."""
    return Remedy("mend_data", what, mend=None if mend is None else dict(mend))


def _keep_best(spec: Spec | None, monitor: Monitor, reason: str, patience: int) -> tuple[Remedy, ...]:
    outcome = None if spec is None else early_stopping(Base(spec), monitor, patience)
    return _as_offer("early_stopping", reason, outcome)


def _offered(name: str, spec: Spec | None, reason: str | None = None) -> tuple[Remedy, ...]:
    """The remedy of that name; nothing where it would change nothing."""
    remedy = REMEDIES[name]
    return _as_offer(name, reason or remedy.reason, None if spec is None else remedy.change(Base(spec)))


def _as_offer(name: str, reason: str, outcome: Outcome | None) -> tuple[Remedy, ...]:
    if isinstance(outcome, NoChange):
        return ()
    return (Remedy(name, reason, None if outcome is None else outcome.patch),)
