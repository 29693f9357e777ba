"""Every finding that a diagnosis can name: its name, the effort to fix it, and the remedies that may cure it.

Each finding is one entry. Its rule is in `heldout/diagnosis/rules/`, and its sentences are in `heldout/words/`.
Both are checked against this list when they are imported.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

# The least effort that fixes a cause.
Effort = Literal[
    "nothing", "no_training", "new_version", "one_training", "several_trainings", "new_labels", "new_images"
]


@dataclass(frozen=True)
class FindingKind:
    """What is known about a kind of finding, whatever the training.

    name: the name that people read.
    effort: the least effort that fixes it.
    remedies: what a study tries, ordered by how often each remedy helped on a collection of trainings
        (docs/explanation/diagnosis.md).
    is_curable: whether a study can compare remedies for it.
    part: its name as a part of the gap, in a few words; None if it explains none of it.
    caveat: why figures mislead, for findings that do not explain a gap.
    """

    name: str
    effort: Effort
    remedies: tuple[str, ...] = ()
    is_curable: bool = True
    part: str | None = None
    caveat: str | None = None


FINDING_KINDS: Mapping[str, FindingKind] = {
    "preprocessing_mismatch": FindingKind("model expects other pixels", "no_training"),
    "leakage": FindingKind(
        "copied images",
        "new_version",
        caveat="Some images are in two splits, so results on held-out images can look better than they are.",
    ),
    "label_order_mismatch": FindingKind("labels in another order", "new_version", part="labels in another order"),
    "scale_mismatch": FindingKind("other pixel values", "new_version", part="other pixel values"),
    "split_shift": FindingKind("splits differ", "new_version", part="images of another kind"),
    "label_conflicts": FindingKind(
        "one picture, two labels",
        "new_version",
        part="pictures with two labels",
        caveat="Copies of one image have different labels, so even a perfect network gets some wrong.",
    ),
    # Networks learn wrong labels last, and only if they are large enough to memorize them.
    "label_noise": FindingKind(
        "wrong labels",
        "new_labels",
        remedies=("early_stopping", "label_smoothing", "dropout", "mixup", "smaller_network", "ema"),
        part="wrong training labels",
    ),
    # Not curable: shuffled labels teach nothing.
    "memorised_noise": FindingKind(
        "labels that do not fit",
        "new_labels",
        remedies=("early_stopping", "label_smoothing", "dropout", "mixup", "smaller_network"),
        is_curable=False,
        part="memorized labels",
    ),
    "class_imbalance": FindingKind(
        "class imbalance",
        "one_training",
        remedies=("class_weights", "balanced_sampling", "augmentation", "dropout", "label_smoothing"),
        part="rare classes",
    ),
    "collapsed_class": FindingKind(
        "unrecognized class",
        "one_training",
        remedies=("class_weights", "balanced_sampling", "augmentation", "label_smoothing", "longer_cosine"),
        part="an unrecognized class",
    ),
    "worst_group": FindingKind("a group that is worse", "new_images", is_curable=False),
    "shortcut_suspected": FindingKind("a shortcut", "new_images", is_curable=False),
    "evaluation_lags": FindingKind(
        "evaluation lags behind",
        "one_training",
        remedies=("recount_batch_norm", "batch_norm_momentum", "more_epochs", "longer_cosine"),
        part="averages that lag behind",
    ),
    # Not curable: a diverged training cannot serve as the base of a comparison.
    "diverged": FindingKind(
        "diverged",
        "one_training",
        remedies=("lower_learning_rate", "batch_norm", "longer_cosine"),
        is_curable=False,
        part="training that diverged",
    ),
    "nothing_trainable": FindingKind("nothing to train", "one_training"),
    "no_activation": FindingKind("no activation", "one_training"),
    "wrong_output": FindingKind("wrong last layer", "one_training"),
    "unscaled_input": FindingKind("pixels scaled wrongly", "one_training", ("fitting_pixels",)),
    "exploding_gradients": FindingKind("exploding gradients", "one_training", ("clip_norm", "lower_learning_rate")),
    "dead_units": FindingKind("dead units", "one_training", ("lower_learning_rate",)),
    "vanishing_gradients": FindingKind("vanishing gradients", "one_training"),
    "too_much_regularization": FindingKind("too much regularization", "one_training", ("less_regularisation",)),
    "cannot_see_enough": FindingKind("sees too little", "one_training"),
    "learning_rate_too_high": FindingKind("learning rate too high", "one_training", ("lower_learning_rate",)),
    "learning_rate_too_low": FindingKind("learning rate too low", "one_training", ("higher_learning_rate",)),
    "overfitting": FindingKind(
        "overfitting",
        "several_trainings",
        remedies=(
            "pretrained",
            "augmentation",
            "dropout",
            "dropout+augmentation",
            "fine_tuning",
            "early_stopping",
            "horizontal_flip",
            "weight_decay",
        ),
        part="memorized training images",
    ),
    "underfitting": FindingKind(
        "underfitting",
        "one_training",
        remedies=(
            "pretrained",
            "larger_network",
            "less_regularisation",
            "batch_norm",
            "longer_cosine",
            "fine_tuning",
            "more_epochs",
        ),
        part="learning too little",
    ),
    "not_converged": FindingKind(
        "ended too early",
        "one_training",
        remedies=("longer_cosine", "more_epochs", "more_patience", "batch_norm", "ema"),
        part="ending too early",
    ),
    # No early stopping: the loss does not rise, so an earlier epoch would be no better.
    "too_little_data": FindingKind(
        "too little data",
        "several_trainings",
        remedies=(
            "pretrained",
            "augmentation",
            "dropout",
            "dropout+augmentation",
            "fine_tuning",
            "horizontal_flip",
            "mixup",
            "weight_decay",
        ),
        part="too few training images",
    ),
    "overconfidence": FindingKind(
        "overconfidence",
        "no_training",
        remedies=("label_smoothing", "augmentation", "dropout", "mixup", "early_stopping", "ema"),
        part="too much confidence in wrong answers",
    ),
    "test_too_small": FindingKind(
        "test set too small",
        "new_images",
        caveat="There are too few test images, in total or of one class, so test accuracy is only roughly known.",
    ),
    "metric_artefact": FindingKind(
        "misleading fit accuracy",
        "nothing",
        caveat="The training accuracy that `fit` prints is lower than the real one, so do not compare with it.",
    ),
}


# What says that training is broken, and the faults inside a network that may bring it about, in the order in which they
# are named. A fault is only named right after one of its findings, and never by itself.
BROKEN = ("diverged", "collapsed_class", "underfitting", "not_converged")
# Such a network may learn its training images, and be poor on others. What its layers say is certain, its cost is not.
LIMITED = ("overfitting", "overconfidence", "too_little_data", "test_too_small")
FAULTS: Mapping[str, tuple[str, ...]] = {
    "nothing_trainable": BROKEN,
    "no_activation": (*BROKEN, *LIMITED),
    "wrong_output": (*BROKEN, *LIMITED),
    "unscaled_input": (*BROKEN, *LIMITED),
    "exploding_gradients": BROKEN,
    "dead_units": BROKEN,
    "vanishing_gradients": BROKEN,
    "too_much_regularization": BROKEN,
    "cannot_see_enough": BROKEN,
    # Networks that are too small are poor at high rates, too, but not because of them.
    "learning_rate_too_high": ("diverged",),
    "learning_rate_too_low": BROKEN,
}


def require_every_kind(codes: Iterable[str], what: str) -> None:
    """Raise TypeError at import unless `codes` names every finding and nothing else."""
    missing, unknown = FINDING_KINDS.keys() - codes, set(codes) - FINDING_KINDS.keys()
    if missing or unknown:
        raise TypeError(f"{what}: missing {sorted(missing)}, unknown {sorted(unknown)}")
