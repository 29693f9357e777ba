"""Statistics of pixel values, and their findings: blank images, a narrow range, gray stored as color."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis.arrays.dataset import SPLITS
from heldout.stored.audit import AuditFinding
from heldout.words import rough_percent
from worker.ingest.audit.dataset import IngestedDataset
from worker.ingest.audit.scan import BINS, Scan
from worker.ingest.audit.wording import describe_part

QUANTILES = {"p01": 0.01, "median": 0.5, "p99": 0.99}
CRITICAL_BLANK_SHARE = 0.01
MAX_LISTED_ROWS = 10_000  # of blank images, so that a version without them can be made
MIN_USED_RANGE = 0.25  # of the value range, between the darkest and the brightest thousandth of all pixels


def compute_statistics(dataset: IngestedDataset, scan: Scan) -> dict[str, dict[str, Any]]:
    """Mean, deviation and quantiles of each split and channel, and the extremes of each split, in pixel values."""
    found = {}
    for code, split in enumerate(SPLITS):
        rows = dataset.splits[split]
        channels = [_summarize_histogram(counts, _compute_centers(dataset)) for counts in scan.histograms[code]]
        found[split] = {
            "low": _round_to_six_digits(float(np.min(scan.low[rows]))),
            "high": _round_to_six_digits(float(np.max(scan.high[rows]))),
            "channels": channels,
        }
    return found


def find_value_faults(dataset: IngestedDataset, scan: Scan) -> list[AuditFinding]:
    found = [_find_blank(dataset, scan), _find_narrow(dataset, scan), _find_gray(dataset, scan)]
    return [finding for finding in found if finding is not None]


def _find_blank(dataset: IngestedDataset, scan: Scan) -> AuditFinding | None:
    blank = np.flatnonzero(scan.low == scan.high)
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
        what_to_do="Upload again with `colour: grey`: the images then take a third of the memory.",
    )


def _compute_centers(dataset: IngestedDataset) -> NDArray[np.float64]:
    """The pixel value in the middle of each bin; exact for uint8."""
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
