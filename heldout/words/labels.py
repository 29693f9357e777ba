"""The names that people read for remedies, verdicts, terms of the gap, pixel changes and effects."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from heldout.verdicts import FINDING_KINDS
from heldout.words import join_with_and

# Remedies whose code, with spaces for underscores, is not clear enough.
REMEDY_NAMES: Mapping[str, str] = {
    "l2": "L2 penalty",
    "ema": "averaged weights",
    "batch_norm": "batch normalization",
    "less_regularisation": "less regularization",
    "longer_cosine": "longer training with cosine decay",
    "one_cycle": "one-cycle learning rate",
    "step_decay": "learning rate in steps",
    "nesterov": "Nesterov momentum",
    "clip_norm": "clipped gradients",
    "trivial_augment": "TrivialAugment",
    "retune": "tuned learning rate",
}
VERDICT_NAMES: Mapping[str, str] = {
    "healthy": "healthy",
    "cannot_tell": "cannot tell",
    **{code: kind.name for code, kind in FINDING_KINDS.items()},
}


class TermLabel(NamedTuple):
    """The name of a term of the gap, its phrase within a sentence, and its meaning."""

    name: str
    phrase: str
    meaning: str


TERMS: Mapping[str, TermLabel] = {
    "late_epochs": TermLabel(
        "Trained too long",
        "training too long",
        "What the epochs after the best one cost on validation images.",
    ),
    "generalisation": TermLabel(
        "Gap to new images",
        "the gap to new images",
        "Validation images, which the network was not trained on, compared with training images.",
    ),
    "copies_in_validation": TermLabel(
        "Copies in validation",
        "copies in validation",
        "Validation images that are copies of training images make validation look too good.",
    ),
    "split_difference": TermLabel(
        "Different test set",
        "a different test set",
        "Test images compared with validation images; the network was trained on neither.",
    ),
    "label_order": TermLabel(
        "Labels in another order",
        "labels in another order",
        "The test labels number the classes differently from the training labels.",
    ),
    "pixel_values": TermLabel(
        "Other pixel values",
        "other pixel values",
        "Test images have a different scale, brightness or channel order.",
    ),
    "copies_in_test": TermLabel(
        "Copies in test",
        "copies in test",
        "Test images that are copies of training images make test look too good.",
    ),
}


class PixelLabel(NamedTuple):
    """How to name images with changed pixels, their headline, and the phrase for undoing the change."""

    name: str
    headline: str
    undone: str


PIXELS: Mapping[str, PixelLabel] = {
    "inversion": PixelLabel("inverted", "{images} are inverted.", "With light and dark swapped back"),
    "scale": PixelLabel(
        "another scale", "{split} pixel values are on another scale.", "With the scale of the training images"
    ),
    "channel_order": PixelLabel(
        "swapped color channels", "{images} have red and blue swapped.", "With the channels swapped back"
    ),
    "brightness": PixelLabel(
        "another brightness or contrast",
        "{images} differ in brightness or contrast.",
        "With the brightness of the training images",
    ),
}
EFFECTS: Mapping[str, str] = {
    "better": "clearly better",
    "worse": "clearly worse",
    "mixed": "better and worse",
    "may_be_chance": "may be chance",
}
# How to read the differences that a study measured.
HOW_TO_READ = (
    "Ranges are 95% confidence intervals of the difference from the base. They are adjusted for all comparisons of the "
    "study: in 95 of 100 studies, all of them are right at once. If a range lies entirely on the better side of 0, the "
    "remedy is clearly better; if it includes 0, the difference may be chance."
)


def get_verdict_name(verdict: str) -> str:
    """The name of a verdict; for a code unknown to this release, the code with spaces."""
    return VERDICT_NAMES.get(verdict, verdict.replace("_", " "))


def describe_remedy(name: str) -> str:
    """Name a remedy, a combination, or a client's own patch: `l2+dropout` is `L2 penalty + dropout`."""
    return " + ".join(REMEDY_NAMES.get(part, part.replace("_", " ")) for part in name.split("+"))


def quote_remedy(name: str) -> str:
    """`"label smoothing"`: a remedy's words within a sentence."""
    return f'"{describe_remedy(name)}"'


def say_helps(objective: str | None, *, is_plural: bool = False, negated: bool = False) -> str:
    """`helps`, or with one measure that decides, `improves accuracy`."""
    verb = "help" if objective is None else "improve"
    if negated:
        verb = f"{'do' if is_plural else 'does'} not {verb}"
    elif not is_plural:
        verb += "s"
    return verb if objective is None else f"{verb} {objective}"


def join_remedies(names: Sequence[str]) -> str:
    """`"dropout"`, `"dropout" and "mixup"`, `"dropout", "mixup" and "L2 penalty"`."""
    return join_with_and([quote_remedy(name) for name in names])


ONE_LABEL = "Heldout trains and measures classifiers that give each image one label."
SEVERAL_LABELS = (
    f"{ONE_LABEL} Several labels per image are not supported. Make a dataset for each label, with two classes such as "
    "cat and no cat, or keep only the images with one label."
)
MEASURED_VALUES = (
    f"{ONE_LABEL} Labels that are measured values (regression) are not supported. Save ranges of the values as "
    "classes, such as low, medium and high."
)
OTHER_TASK = (
    f"{ONE_LABEL} Detection, segmentation and text are not supported. To use such images, cut out each object and save "
    "it under its class."
)
OTHER_LAYERS = (
    "Blocks have no such layers. Build the network in Keras, upload it, and name it in `network.model`; it is trained "
    "unchanged."
)

# Fields that a spec does not have, and that people look for.
BEYOND_SPECS: Mapping[str, str] = {
    **dict.fromkeys(("depthwise", "separable", "dilation", "dilation_rate"), OTHER_LAYERS),
    **dict.fromkeys(("skip_connections", "shortcut"), "A block with `residual: true` has a shortcut."),
    **dict.fromkeys(("multi_label", "multilabel", "labels_per_image"), SEVERAL_LABELS),
    **dict.fromkeys(("regression", "targets"), MEASURED_VALUES),
    **dict.fromkeys(("task", "boxes", "bboxes", "bounding_boxes", "masks", "segmentation", "detection"), OTHER_TASK),
}
