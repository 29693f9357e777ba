"""Findings from counts alone: missing and rare classes, splits of different proportions, too few test images."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis.arrays.dataset import SPLITS
from heldout.statistics import compute_wilson_interval
from heldout.stored.audit import AuditFinding
from heldout.words import percent_range, rough_percent
from worker.ingest.audit.dataset import MAX_EXAMPLES, IngestedDataset
from worker.ingest.audit.wording import ADJECTIVES, join_words

# Images of the largest class per image of the smallest.
MIN_WARNING_IMBALANCE_RATIO = 3.0
MIN_CRITICAL_IMBALANCE_RATIO = 20.0
MIN_PROPORTION_DISTANCE = 0.1  # share of the images that would have to change class for two splits to agree
RANDOM_DRAWS = 999
MAX_P_VALUE = 0.001
MAX_TEST_HALF_INTERVAL = 0.05  # of an accuracy of 90%


def count_findings(dataset: IngestedDataset) -> list[AuditFinding]:
    counts = count_per_class(dataset)
    found = [
        _find_missing(dataset, counts),
        _find_imbalance(dataset, counts[0]),
        _find_proportions(dataset, counts),
        _find_small(dataset),
    ]
    return [finding for finding in found if finding is not None]


def count_per_class(dataset: IngestedDataset) -> NDArray[np.int64]:
    """(splits, classes) how many images there are."""
    return np.stack(
        [np.bincount(dataset.labels[dataset.splits[split]], minlength=len(dataset.classes)) for split in SPLITS]
    )


def _find_missing(dataset: IngestedDataset, counts: NDArray[np.int64]) -> AuditFinding | None:
    missing = {
        split: [dataset.classes[label] for label in np.flatnonzero(of_split == 0)]
        for split, of_split in zip(SPLITS, counts, strict=True)
    }
    missing = {split: classes for split, classes in missing.items() if classes}
    if not missing:
        return None
    total = len(dataset.classes)
    where = " ".join(
        f"{len(classes):,} of {total:,} classes ({join_words(classes)}) {'has' if len(classes) == 1 else 'have'} "
        f"no {ADJECTIVES[split]} images."
        for split, classes in missing.items()
    )
    unlearned = " The network cannot learn a class without training images." if "train" in missing else ""
    unmeasured = (
        " Without held-out images, how well a class is recognized is not measured." if set(missing) - {"train"} else ""
    )
    return AuditFinding(
        code="class_missing",
        severity="critical" if "train" in missing else "warning",
        numbers={
            split: {"count": len(classes), "classes": classes[:MAX_EXAMPLES]} for split, classes in missing.items()
        },
        explanation=f"{where}{unlearned}{unmeasured}",
        what_to_do="Add images of these classes, or split the images again with `splits: {existing: merge}` "
        "(`--merge`).",
    )


def _find_imbalance(dataset: IngestedDataset, train: NDArray[np.int64]) -> AuditFinding | None:
    present = train[train > 0]
    ratio = float(np.max(present)) / float(np.min(present))
    if ratio < MIN_WARNING_IMBALANCE_RATIO:
        return None
    largest, smallest = int(np.argmax(train)), int(np.argmin(np.where(train > 0, train, np.max(train))))
    most, least = dataset.classes[largest], dataset.classes[smallest]
    majority = float(np.max(train)) / float(np.sum(train))
    fewest = int(train[smallest])
    rarest = f"{fewest:,} training {'image' if fewest == 1 else 'images'}"
    return AuditFinding(
        code="class_imbalance",
        severity="critical" if ratio >= MIN_CRITICAL_IMBALANCE_RATIO else "warning",
        numbers={
            "ratio": round(ratio, 3),
            "largest": {"class": most, "count": int(train[largest])},
            "smallest": {"class": least, "count": int(train[smallest])},
            # What always naming the largest class achieves.
            "majority_accuracy": round(majority, 6),
        },
        explanation=f"Class {least!r} has {rarest}, but class {most!r} has "
        f"{int(train[largest]):,}. A network can ignore {least!r} and still have a good accuracy.",
        what_to_do="Train with `class_weights: balanced`, look at the confusion matrix rather than at the accuracy, or "
        "add images of the rare classes.",
    )


def _find_proportions(dataset: IngestedDataset, counts: NDArray[np.int64]) -> AuditFinding | None:
    """Decide whether class shares in a held-out split differ from train's by much, and by more than chance."""
    train = counts[0] / counts[0].sum()
    worst: dict[str, Any] = {}
    for split, of_split in list(zip(SPLITS, counts, strict=True))[1:]:
        size = int(of_split.sum())
        distance = _compute_distance(of_split / size, train)
        draws = np.random.default_rng(0).multinomial(size, train, RANDOM_DRAWS) / size
        by_chance = np.abs(draws - train).sum(axis=1) / 2
        probability = (1 + int((by_chance >= distance).sum())) / (RANDOM_DRAWS + 1)
        if distance >= MIN_PROPORTION_DISTANCE and probability <= MAX_P_VALUE:
            change = of_split / size - train
            most = int(np.abs(change).argmax())
            worst[split] = {
                "distance": round(distance, 6),
                "p_value": probability,
                "class": dataset.classes[most],
                "train_share": round(float(train[most]), 6),
                "share": round(float(of_split[most] / size), 6),
            }
    if not worst:
        return None
    where = " ".join(
        f"Class {differs['class']!r} is {rough_percent(differs['share'])} of the {ADJECTIVES[split]} images, and "
        f"{rough_percent(differs['train_share'])} of the training images."
        for split, differs in worst.items()
    )
    return AuditFinding(
        code="class_shift",
        severity="warning",
        numbers=worst,
        explanation=f"The classes are not equally frequent in all splits. {where} So accuracies of these splits can "
        "differ even where each class is recognised equally well.",
        what_to_do="Compare each class's own accuracy, or split the images again with `splits: {existing: merge}` "
        "(`--merge`).",
    )


def _compute_distance(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    """Half the sum of absolute differences: the share of images that would have to move."""
    return float(np.abs(first - second).sum() / 2)


def _find_small(dataset: IngestedDataset) -> AuditFinding | None:
    count = len(dataset.splits["test"])
    low, high = compute_wilson_interval(round(0.9 * count), count)
    if (high - low) / 2 <= MAX_TEST_HALF_INTERVAL:
        return None
    return AuditFinding(
        code="test_too_small",
        severity="warning",
        numbers={"count": count, "interval_at_90_percent": [round(low, 4), round(high, 4)]},
        explanation=f"With {count:,} test images, an accuracy of 90% is only known to ±{50 * (high - low):.1f} points "
        f"({percent_range(low, high)}). Smaller differences between networks cannot be seen.",
        what_to_do="Add test images, or cut a larger share with `splits: {test: 0.3}` (`--test 0.3`).",
    )
