"""Which remedies `auto` takes, from what training and validation have shown. Pure.

The lists follow the order in which remedies helped on a collection of trainings (docs/explanation/diagnosis.md).
Nothing here knows what an image shows: `horizontal_flip` is tried on digits too, and the study shows that it harms.
"""

from collections.abc import Mapping, Sequence

from heldout.errors import InvalidSpec
from heldout.remedies.arms import outcome_of
from heldout.remedies.change import Base, Change

MIN_ARMS, MAX_ARMS = 4, 8
# Where nothing is known to be wrong, or nothing is known.
USUAL = ("augmentation", "dropout", "dropout+augmentation", "horizontal_flip", "label_smoothing", "longer_cosine")
# Always the last: a remedy beside a badly tuned base looks better than it is.
TUNING = "retune"
BY_VERDICT: Mapping[str, tuple[str, ...]] = {
    "overfitting": (
        "augmentation",
        "dropout",
        "dropout+augmentation",
        "early_stopping",
        "horizontal_flip",
        "weight_decay",
    ),
    # The loss does not rise, so stopping early keeps nothing better.
    "too_little_data": (
        "augmentation",
        "dropout",
        "dropout+augmentation",
        "horizontal_flip",
        "mixup",
        "weight_decay",
    ),
    "overconfidence": ("label_smoothing", "augmentation", "dropout", "mixup", "early_stopping", "ema"),
    # Wrong labels are learned last, and by networks with room for them.
    "label_noise": ("early_stopping", "label_smoothing", "dropout", "mixup", "smaller_network", "ema"),
    "memorised_noise": ("early_stopping", "label_smoothing", "dropout", "mixup", "smaller_network"),
    "class_imbalance": ("class_weights", "augmentation", "dropout", "label_smoothing"),
    "collapsed_class": ("class_weights", "augmentation", "label_smoothing", "longer_cosine"),
    "underfitting": ("larger_network", "less_regularisation", "batch_norm", "longer_cosine", "more_epochs"),
    "not_converged": ("longer_cosine", "more_epochs", "more_patience", "batch_norm", "ema"),
    "diverged": ("lower_learning_rate", "batch_norm", "longer_cosine"),
}


# What a study can cure. Where a training diverges there is no base to compare with; shuffled labels teach nothing.
CURABLE = frozenset(BY_VERDICT) - {"diverged", "memorised_noise"}


def automatic(base: Base, verdict: str | None = None, findings: Sequence[str] = ()) -> tuple[str, ...]:
    """The names of four to eight remedies, each of which changes the spec.

    Args:
        verdict: of a diagnosis that has not seen the test split; None where there is no training yet.
        findings: the codes of its serious findings; the first remedy of each comes along.
    """
    wanted = [*BY_VERDICT.get(verdict or "", USUAL), *(BY_VERDICT[code][0] for code in findings if code in BY_VERDICT)]
    found = _that_change_something(wanted, base)
    if len(found) < MIN_ARMS - 1:
        found = _that_change_something([*wanted, *USUAL], base)[: MIN_ARMS - 1]
    return (*found[: MAX_ARMS - 1], TUNING)


def _that_change_something(names: Sequence[str], base: Base) -> list[str]:
    return [name for name in dict.fromkeys(names) if _changes_something(name, base)]


def _changes_something(name: str, base: Base) -> bool:
    try:
        return isinstance(outcome_of(name, base), Change)
    except InvalidSpec:  # a combination whose parts exclude each other on this spec
        return False
