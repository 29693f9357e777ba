"""Test set too small: test accuracy is not known precisely enough, or a class has no test images."""

from heldout.diagnosis import remedies
from heldout.diagnosis.evaluation import SplitFigures
from heldout.diagnosis.facts import Facts
from heldout.diagnosis.findings import Finding
from heldout.diagnosis.thresholds import MAX_TEST_UNCERTAINTY, MAX_TEST_UNCERTAINTY_OF_INFO
from heldout.statistics.intervals import compute_wilson_interval, count_images_needed
from heldout.words import percent_range, pluralize


def find(facts: Facts) -> list[Finding]:
    """Report what the audit counted; a measured accuracy says better how many images are needed."""
    audited = list(facts.audited.get("test_too_small", ()))
    if facts.test is None:
        return audited
    return [
        *(finding for finding in audited if finding.evidence["audit"] != "test_too_small"),
        *_judge_measured(facts.test),
    ]


def _judge_measured(test: SplitFigures) -> list[Finding]:
    low, high = compute_wilson_interval(*test.counts)
    half = (high - low) / 2
    if half <= MAX_TEST_UNCERTAINTY:
        return []
    needed = count_images_needed(test.correct / test.count, MAX_TEST_UNCERTAINTY)
    return [
        Finding(
            "test_too_small",
            "warning" if half > MAX_TEST_UNCERTAINTY_OF_INFO else "info",
            f"With {pluralize(test.count, 'test image')}, accuracy is only known to within ±{_format_points(half)} "
            f"points ({percent_range(low, high)}). It takes about {_round_count(needed):,} test images to know it to "
            f"within ±{100 * MAX_TEST_UNCERTAINTY:.0f} points.",
            {"test_accuracy": test.accuracy, "test_interval": [low, high], "count": test.count, "needed": needed},
            (
                remedies.suggest_data_fix(
                    f"Use about {_round_count(needed):,} test images before you trust small differences between "
                    "networks."
                ),
            ),
        )
    ]


def _format_points(half: float) -> str:
    """`2.6`; `2.03` if one decimal would look like the precision asked for."""
    short = f"{100 * half:.1f}"
    return f"{100 * half:.2f}" if float(short) == 100 * MAX_TEST_UNCERTAINTY else short


def _round_count(count: int) -> int:
    """Round up to two significant digits."""
    step = int(10 ** max(0, len(str(count)) - 2))
    return -(-count // step) * step
