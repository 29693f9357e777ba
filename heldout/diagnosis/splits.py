"""What the splits say of each other: a test that is another kind of data, or too small, or labelled otherwise."""

from statistics import median
from typing import Any

from heldout.diagnosis import remedies
from heldout.diagnosis.audited import RARE
from heldout.diagnosis.evaluation import Evaluation, SplitFigures
from heldout.diagnosis.findings import Finding, counted
from heldout.diagnosis.remedies import Spec
from heldout.diagnosis.renaming import best_renaming
from heldout.intervals import images_needed, newcombe_interval, wilson_interval

# Points of accuracy that validation may be better by, for what was chosen on it, and by which it is another split.
CHOSEN, ANOTHER = 0.02, 0.08
# Every diagnosis makes this comparison: an interval of 95 % would be wrong too often.
SURE = 0.99
WIDE, TOO_WIDE = 0.02, 0.04
EXPLAINED = 0.8
COLLAPSED = 0.2
USUAL = 0.6
FEW_IMAGES = 8


def of_splits(evaluation: Evaluation, spec: Spec | None) -> list[Finding]:
    """All that counts alone can tell."""
    validation, test = evaluation.get("validation"), evaluation.get("test")
    found: list[Finding | None] = [_imbalance(evaluation, spec), _collapsed(evaluation, spec)]
    if test is not None:
        found.append(_too_small(test))
        if validation is not None:
            found.append(_label_order(evaluation, validation, test) or _shift(evaluation, validation, test))
    return [one for one in found if one is not None]


def _shift(evaluation: Evaluation, validation: SplitFigures, test: SplitFigures) -> Finding | None:
    low, high = newcombe_interval(validation.counts, test.counts, SURE)
    numbers = {
        "validation_accuracy": validation.accuracy,
        "test_accuracy": test.accuracy,
        "difference": validation.accuracy - test.accuracy,
        "difference_interval": [low, high],
    }
    if low > CHOSEN:
        return Finding(
            "split_shift",
            "critical" if low > ANOTHER else "warning",
            f"Validation is answered better than test: {validation.accuracy:.3f} against {test.accuracy:.3f} "
            f"(difference {low:.3f} to {high:.3f}). Neither was trained on, so this is no overfitting: the "
            "test images differ from the others, and no regularisation changes that.",
            numbers,
            (
                remedies.mend_data("Compare how test images were taken, scaled, cropped and labelled with the others."),
                remedies.mend_data("Cut all splits from one pool (`splits.existing: merge`) and see whether it stays."),
            ),
        )
    if high < -CHOSEN and _is_between(evaluation.get("train"), validation, test):
        return Finding(
            "leakage",
            "warning",
            f"Test is answered better than validation: {test.accuracy:.3f} against {validation.accuracy:.3f} "
            f"(difference {-high:.3f} to {-low:.3f}). A test that is too good often holds what was trained on.",
            numbers,
            (remedies.mend_data("Look for test images among the training images; the audit of an upload does."),),
        )
    return None


def _is_between(train: SplitFigures | None, validation: SplitFigures, test: SplitFigures) -> bool:
    """Copies of training images are answered as training is: they can lift test from validation towards it, no more."""
    if train is None:
        return True
    return newcombe_interval(train.counts, validation.counts, SURE)[0] > 0 and test.accuracy <= train.accuracy


def _label_order(evaluation: Evaluation, validation: SplitFigures, test: SplitFigures) -> Finding | None:
    """A test confusion matrix that is a permutation, where validation's is not."""
    if len(test.confusion) < 2 or test.accuracy > validation.accuracy - ANOTHER:
        return None
    # Any matrix has a best renaming: it is one only where it explains what is missing, as well as validation is known.
    explained = test.accuracy + EXPLAINED * (validation.accuracy - test.accuracy)
    named = best_renaming(test.confusion, more_than=explained * test.count)
    if named is None:
        return None
    permuted = sum(row[answer] for row, answer in zip(test.confusion, named, strict=True)) / test.count
    low, _ = newcombe_interval((round(permuted * test.count), test.count), test.counts, SURE)
    if low <= ANOTHER:
        return None
    names = evaluation.classes or tuple(map(str, range(len(named))))
    mapping = {names[place]: names[answer] for place, answer in enumerate(named) if place != answer}
    shown = ", ".join(f"{given} → {meant}" for given, meant in list(mapping.items())[:10])
    return Finding(
        "label_order_mismatch",
        "critical",
        f"The test accuracy is {test.accuracy:.3f}, and {permuted:.3f} once the labels are renamed ({shown}): the test "
        "split numbers its classes in another order than training and validation do.",
        {
            "test_accuracy": test.accuracy,
            "test_accuracy_renamed": permuted,
            "validation_accuracy": validation.accuracy,
            "renamed": mapping,
        },
        (remedies.mend_data("Number the classes of the test split as the training split does, and upload again."),),
    )


def _too_small(test: SplitFigures) -> Finding | None:
    low, high = wilson_interval(*test.counts)
    half = (high - low) / 2
    if half <= WIDE:
        return None
    needed = images_needed(test.correct / test.count, WIDE)
    return Finding(
        "test_too_small",
        "warning" if half > TOO_WIDE else "info",
        f"By {counted(test.count, 'test image')} the accuracy is known to within {100 * half:.1f} points ({low:.3f} "
        f"to {high:.3f}). For {100 * WIDE:.0f} points about {needed:,} are needed.",
        {"test_accuracy": test.accuracy, "test_interval": [low, high], "count": test.count, "needed": needed},
        (
            remedies.mend_data(
                f"Put about {needed:,} images into the test split before small differences are believed."
            ),
        ),
    )


def _imbalance(evaluation: Evaluation, spec: Spec | None) -> Finding | None:
    counts = _counts(evaluation.get("train"))
    if len(counts) < 2 or min(counts) >= RARE * max(counts):
        return None
    rarest = counts.index(min(counts))
    name = _name(evaluation, rarest)
    return Finding(
        "class_imbalance",
        "info" if remedies.weighs_classes(spec) else "warning",
        f"Class {name!r} has {min(counts):,} training images, the largest class {max(counts):,}: a network that never "
        f"names {name!r} loses next to nothing.",
        {
            "smallest": {"class": name, "count": min(counts)},
            "largest": {"class": _name(evaluation, counts.index(max(counts))), "count": max(counts)},
        },
        remedies.balanced_weights(spec),
    )


def _collapsed(evaluation: Evaluation, spec: Spec | None) -> Finding | None:
    for split in ("validation", "test"):
        figures = evaluation.get(split)
        if figures is None:
            continue
        recalls = {
            place: (row[place], sum(row)) for place, row in enumerate(figures.confusion) if sum(row) >= FEW_IMAGES
        }
        # Where most classes are answered badly it is no matter of one class.
        usual = median(right / count for right, count in recalls.values()) if recalls else 0.0
        # Of many classes with few images some have a bad day: each gets its share of one chance in twenty.
        sure = 1 - 0.05 / max(1, len(recalls))
        worst = [
            (place, right, count)
            for place, (right, count) in recalls.items()
            if right / count < COLLAPSED and wilson_interval(right, count, sure)[1] < usual
        ]
        if worst and usual > USUAL:
            place, right, count = min(worst, key=lambda one: one[1] / one[2])
            return _lost(evaluation, split, place, right, count, spec)
    return None


def _lost(evaluation: Evaluation, split: str, place: int, right: int, count: int, spec: Spec | None) -> Finding:
    low, high = wilson_interval(right, count)
    name = _name(evaluation, place)
    numbers: dict[str, Any] = {
        "class": name,
        "split": split,
        "recall": right / count,
        "recall_interval": [low, high],
        "count": count,
    }
    return Finding(
        "collapsed_class",
        "critical",
        f"Of {count} images of class {name!r} in {split}, {right} were answered rightly ({low:.2f} to {high:.2f}): the "
        "network does not know this class, whatever its accuracy over all.",
        numbers,
        (*remedies.balanced_weights(spec), remedies.mend_data(f"Collect more images of {name!r}.")),
    )


def _counts(figures: SplitFigures | None) -> list[int]:
    return [sum(row) for row in figures.confusion] if figures is not None else []


def _name(evaluation: Evaluation, place: int) -> str:
    return evaluation.classes[place] if place < len(evaluation.classes) else str(place)
