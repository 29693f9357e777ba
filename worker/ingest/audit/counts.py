"""Findings from counts and from pixel values: classes, proportions, too few images, blank images, narrow ranges."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis.arrays.dataset import SPLITS
from heldout.metrics import PROPOSED_OBJECTIVE
from heldout.statistics import compute_wilson_interval
from heldout.stored.audit import AuditFinding
from heldout.words import percent_range, rough_percent
from worker.ingest.audit.dataset import ADJECTIVES, MAX_EXAMPLES, IngestedDataset, describe_part
from worker.ingest.audit.scan import BINS, Scan
from worker.ingest.rejection import list_some

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
    """Return (splits, classes) numbers of images."""
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
        f"{len(classes):,} of {total:,} classes ({list_some(classes)}) {'has' if len(classes) == 1 else 'have'} "
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
        what_to_do="Add images of these classes, or upload again and merge the splits.",
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
            "proposed_objective": "balanced_accuracy",
        },
        explanation=f"Class {least!r} has {rarest}, but class {most!r} has "
        f"{int(train[largest]):,}. A network can ignore {least!r} and still have a good accuracy.",
        what_to_do=f"{PROPOSED_OBJECTIVE} Train with balanced class weights or balanced sampling, or add images of the "
        "rare classes.",
    )


def _find_proportions(dataset: IngestedDataset, counts: NDArray[np.int64]) -> AuditFinding | None:
    """Decide whether class shares in a held-out split differ from train's by much, and by more than chance."""
    train = counts[0] / counts[0].sum()
    worst: dict[str, Any] = {}
    for split, of_split in list(zip(SPLITS, counts, strict=True))[1:]:
        size = int(of_split.sum())
        distance = float(np.abs(of_split / size - train).sum() / 2)
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
        what_to_do="Compare the accuracy of each class, or upload again and merge the splits.",
    )


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


QUANTILES = {"p01": 0.01, "median": 0.5, "p99": 0.99}
CRITICAL_BLANK_SHARE = 0.01
MAX_LISTED_ROWS = 10_000  # of blank images, so that a version without them can be made
MIN_USED_RANGE = 0.25  # of the value range, between the darkest and the brightest thousandth of all pixels


def compute_statistics(dataset: IngestedDataset, scan: Scan) -> dict[str, dict[str, Any]]:
    """Compute mean, deviation and quantiles by split and channel, and extremes by split, in pixel values."""
    found = {}
    for code, split in enumerate(SPLITS):
        rows = dataset.splits[split]
        channels = [_summarize_histogram(counts, _compute_centers(dataset)) for counts in scan.histograms[code]]
        found[split] = {
            "low": _round_to_six_digits(float(np.min(scan.images["low"][rows]))),
            "high": _round_to_six_digits(float(np.max(scan.images["high"][rows]))),
            "channels": channels,
        }
    return found


def find_value_faults(dataset: IngestedDataset, scan: Scan) -> list[AuditFinding]:
    found = [_find_blank(dataset, scan), _find_narrow(dataset, scan), _find_gray(dataset, scan)]
    return [finding for finding in found if finding is not None]


def _find_blank(dataset: IngestedDataset, scan: Scan) -> AuditFinding | None:
    blank = np.flatnonzero(scan.images["low"] == scan.images["high"])
    if not len(blank):
        return None
    share = len(blank) / len(dataset.labels)
    numbers: dict[str, Any] = {"images": len(blank), "share": round(share, 6)}
    for code, split in enumerate(SPLITS):
        numbers[split] = int((dataset.split_of[blank] == code).sum())
    if len(blank) <= MAX_LISTED_ROWS:
        numbers["rows"] = blank.tolist()
    return AuditFinding(
        code="blank_images",
        severity="critical" if share >= CRITICAL_BLANK_SHARE else "warning",
        numbers=numbers,
        explanation=f"{describe_part(len(blank), len(dataset.labels))} have one colour throughout. They show nothing, "
        "and their labels can only be guessed.",
        what_to_do="Remove them. If they should show something, look for files that were read or written incompletely.",
        examples=dataset.examples(blank),
    )


def _find_narrow(dataset: IngestedDataset, scan: Scan) -> AuditFinding | None:
    counts = scan.histograms.sum(axis=(0, 1))
    low, high = (float(_compute_quantile(counts, _compute_centers(dataset), share)) for share in (0.001, 0.999))
    width = dataset.value_range[1] - dataset.value_range[0]
    if high - low >= MIN_USED_RANGE * width:
        return None
    return AuditFinding(
        code="narrow_range",
        severity="warning",
        numbers={
            "p001": _round_to_six_digits(low),
            "p999": _round_to_six_digits(high),
            "range": list(dataset.value_range),
        },
        explanation=f"99.8% of the pixel values lie between {low:.4g} and {high:.4g}, "
        f"{rough_percent((high - low) / width)} of the range from {dataset.value_range[0]:g} to "
        f"{dataset.value_range[1]:g}. Networks learn slowly from low contrast.",
        what_to_do="Stretch the values over the range first, or upload float arrays, whose range is measured.",
    )


def _find_gray(dataset: IngestedDataset, scan: Scan) -> AuditFinding | None:
    if dataset.pixels.shape[3] != 3 or scan.is_coloured:
        return None
    return AuditFinding(
        code="grey_as_rgb",
        severity="info",
        numbers={"channels": 3},
        explanation=f"All {len(dataset.labels):,} images have three channels that are equal.",
        what_to_do="Upload again in grayscale: the images then take a third of the memory.",
    )


def _compute_centers(dataset: IngestedDataset) -> NDArray[np.float64]:
    """Return the pixel value in the middle of each bin; exact for uint8."""
    low, high = dataset.value_range
    if dataset.pixels.dtype == np.uint8 and high == BINS - 1:
        return np.arange(BINS, dtype=np.float64)
    return low + (np.arange(BINS) + 0.5) * (high - low) / BINS


def _summarize_histogram(counts: NDArray[np.int64], centres: NDArray[np.float64]) -> dict[str, float]:
    total = max(1, int(counts.sum()))
    mean = float(counts @ centres / total)
    deviation = float(np.sqrt(counts @ (centres - mean) ** 2 / total))
    quantiles = {
        name: _round_to_six_digits(_compute_quantile(counts, centres, share)) for name, share in QUANTILES.items()
    }
    return {"mean": _round_to_six_digits(mean), "std": _round_to_six_digits(deviation), **quantiles}


def _compute_quantile(counts: NDArray[np.int64], centres: NDArray[np.float64], share: float) -> float:
    reached = np.cumsum(counts)
    return float(centres[np.searchsorted(reached, share * reached[-1])])


def _round_to_six_digits(value: float) -> float:
    """Round to six significant digits: enough to read, without noise."""
    return float(f"{float(value):.6g}")
