"""The advice of a diagnosis: remedies from `heldout.remedies`, with reasons based on what was seen, and data fixes.

If the base is known, remedies come with patches, and those that would change nothing are left out.
"""

from collections.abc import Mapping
from typing import Any

from heldout.diagnosis.findings import SuggestedRemedy
from heldout.metrics import METRICS
from heldout.remedies.catalogue import REMEDIES
from heldout.remedies.change import MAX_EPOCHS, NoChange, Outcome, RemedyBase, Spec
from heldout.remedies.training import Monitor, add_early_stopping
from heldout.stored.gap import Calibration
from heldout.words import pluralize

# Ordered by how often they helped on the collection of trainings (docs/measurements/diagnosis.md). Pretrained features
# come first, for images like photographs (docs/measurements/pretrained.md), and fine-tuning last, since it takes long.
REGULARISATION = ("pretrained", "augmentation", "dropout", "l2", "smaller_network", "fine_tuning")
LEARNING_MORE = ("pretrained", "larger_network", "less_regularisation", "fine_tuning")
# Remedies that increase or remove what a spec has, so they are not suggested unless the spec is known.
_OF_KNOWN_SPECS = ("more_patience", "less_regularisation", "pretrained", "fine_tuning")


def keep_best(base: RemedyBase | None, monitor: Monitor, reason: str, patience: int) -> tuple[SuggestedRemedy, ...]:
    """Suggest early stopping. patience: epochs to wait without a better value, so that the best epoch is reached."""
    return _make_offer("early_stopping", reason, None if base is None else add_early_stopping(base, monitor, patience))


def make_less_sure(base: RemedyBase | None, calibration: Calibration | None) -> tuple[SuggestedRemedy, ...]:
    """Suggest label smoothing, and a temperature unless a measurement shows that it does not help."""
    found = suggest(base, "label_smoothing")
    if calibration is not None and calibration.error_after >= calibration.error_before:
        return found
    by = "one number, fitted on the validation images" if calibration is None else f"{calibration.temperature:.2f}"
    reason = (
        f"After training, divide the network's outputs (before the softmax) by {by}. Its answers stay the same, its "
        "probabilities become more honest, and nothing has to be trained again."
    )
    return (*found, SuggestedRemedy("temperature", reason))


def suggest_more_epochs(base: RemedyBase | None, done: int, still_falls: bool) -> tuple[SuggestedRemedy, ...]:
    """Suggest twice as many epochs once the spec's are used up; nothing at the limit of the spec."""
    planned = done if base is None else base.training["epochs"]
    if planned > done:
        reason = (
            f"{done:,} of {planned:,} epochs {'is' if done == 1 else 'are'} done. Let the training continue, or give "
            "it more patience or time if early stopping or a deadline ended it."
        )
        return (SuggestedRemedy("more_epochs", reason),)
    if planned >= MAX_EPOCHS:
        return ()
    seen = "The losses were still falling" if still_falls else "It is too early to judge the network"
    wanted = min(MAX_EPOCHS, 2 * planned)
    reason = f"{seen} after {pluralize(done, 'epoch')}: train for {wanted:,} epochs, and keep the best of them."
    return suggest(base, "more_epochs", reason=reason)


def weighs_classes(spec: Spec | None) -> bool:
    if spec is None:
        return False
    return bool(spec["training"].get("class_weights")) or spec["training"].get("sampling") == "balanced"


def counts_classes(spec: Spec | None) -> bool:
    """Whether the job's objective depends on each class, however rare it is."""
    objective = None if spec is None else spec.get("objective")
    return objective is not None and METRICS[objective].depends_on == "classes"


def suggest_data_fix(what: str, fix: Mapping[str, Any] | None = None) -> tuple[SuggestedRemedy, ...]:
    """Suggest what no change of a spec can do. fix: the change of the dataset that does it, if there is one."""
    return (SuggestedRemedy("fix_data", what, fix=None if fix is None else dict(fix)),)


def suggest(base: RemedyBase | None, *names: str, reason: str | None = None) -> tuple[SuggestedRemedy, ...]:
    """Suggest remedies by name, without those that would change nothing. reason: instead of their own."""
    found: list[SuggestedRemedy] = []
    for name in names:
        remedy = REMEDIES[name]
        if name not in _OF_KNOWN_SPECS if base is None else remedy.suits(base):
            found += _make_offer(name, reason or remedy.reason, None if base is None else remedy.change(base))
    return tuple(found)


def _make_offer(name: str, reason: str, outcome: Outcome | None) -> tuple[SuggestedRemedy, ...]:
    if isinstance(outcome, NoChange):
        return ()
    return (SuggestedRemedy(name, reason, None if outcome is None else outcome.patch),)
