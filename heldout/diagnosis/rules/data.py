"""Findings about the data: copies, other pixel values, splits of another kind, conflicting labels, few test images."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from typing import Any

from heldout.diagnosis import remedies, thresholds
from heldout.diagnosis.attribution import SCALES_OF_PIXELS, SHIFTS_OF_PIXELS
from heldout.diagnosis.bounds import bound_difference
from heldout.diagnosis.evaluation import SplitFigures
from heldout.diagnosis.facts import Facts
from heldout.diagnosis.findings import Finding, SuggestedRemedy
from heldout.diagnosis.rules.label_order import choose_severity, find_test_renamed, mention_left_out_copies
from heldout.fixes.offers import DROP_COPIES, RESPLIT, advise_resplit, count_copied, offer_undone_pixels
from heldout.statistics import (
    compute_newcombe_interval,
    compute_paired_interval,
    compute_wilson_interval,
    count_images_needed,
)
from heldout.stored.gap import TURNS, HeldOutName, StoredGap, Tally
from heldout.words import describe_part, percent, percent_range, pluralize
from heldout.words.changed_images import PIXELS


def report_audit(code: str) -> Callable[[Facts], Sequence[Finding]]:
    """Make the rule that reports what the audit found."""
    return lambda facts: facts.audited.get(code, ())


def find_leakage(facts: Facts) -> Finding | None:
    """Report the copies that the worker counted, unless the audit found some.

    If copies are unknown, report a test split that is answered clearly better than validation.
    """
    train, validation, test = facts.train, facts.validation, facts.test
    if "leakage" in facts.audited:
        return None
    if facts.gap is not None and (facts.gap.validation_copies is not None or facts.gap.test_copies is not None):
        return _find_counted_copies(facts.gap)
    if validation is None or test is None:
        return None
    low, high = compute_newcombe_interval(validation.counts, test.counts, thresholds.COMPARISON_CONFIDENCE)
    if high >= -thresholds.MAX_SELECTION_EFFECT or not _can_be_copies(train, validation, test):
        return None
    return Finding(
        "leakage",
        "warning",
        f"Test accuracy ({percent(test.accuracy)}) is higher than validation accuracy "
        f"({percent(validation.accuracy)}), by more than chance. Often the reason is that the network was also "
        "trained on test images.",
        _compare(validation, test, low, high),
        remedies.suggest_data_fix(
            "Look for test images in the training set. The audit of an uploaded dataset does this."
        ),
    )


def _compare(validation: SplitFigures | Tally, test: SplitFigures | Tally, low: float, high: float) -> dict[str, Any]:
    """The evidence of a difference between two held-out splits."""
    return {
        "validation_accuracy": validation.accuracy,
        "test_accuracy": test.accuracy,
        "difference": validation.accuracy - test.accuracy,
        "difference_interval": [low, high],
    }


def _find_counted_copies(gap: StoredGap) -> Finding | None:
    copied = {
        name: (copies.copied.count, split.count)
        for name, split, copies in (
            ("validation", gap.validation, gap.validation_copies),
            ("test", gap.test, gap.test_copies),
        )
        if split is not None and copies is not None and copies.copied is not None
    }
    if not copied:
        return None
    seen = " and ".join(
        f"{images:,} of {pluralize(count, f'{name} image')} ({percent(images / count)})"
        for name, (images, count) in copied.items()
    )
    is_critical = any(images >= thresholds.MIN_CRITICAL_LEAK * count for images, count in copied.values())
    return Finding(
        "leakage",
        "critical" if is_critical else "warning",
        f"{seen} have a copy, or an image of the same group, among the training images. The network has seen "
        "these, so results on them look better than they are.",
        {name: {"images": images, "share": images / count} for name, (images, count) in copied.items()},
        remedies.suggest_data_fix("Keep copies and groups in one split only.", dict(DROP_COPIES)),
    )


def prefer_resplit(findings: Sequence[Finding], facts: Facts) -> list[Finding]:
    """Offer to split all images again where splits share copies and also differ by nature.

    Without the copies alone, the splits would still differ, and the network would train on fewer images.
    """
    if not any(finding.is_shift_by_nature for finding in findings):
        return list(findings)
    return [
        replace(finding, remedies=(*_divide_all(finding, facts), *finding.remedies))
        if finding.code == "leakage" and set(finding.fix or {}) == {"drop_copies"}
        else finding
        for finding in findings
    ]


def _divide_all(finding: Finding, facts: Facts) -> tuple[SuggestedRemedy, ...]:
    splits = (facts.train, facts.validation, facts.test)
    counts = [split.count for split in splits if split is not None]
    images = sum(counts) if len(counts) == len(splits) else None
    return remedies.suggest_data_fix(advise_resplit(images, count_copied(finding.evidence)), dict(RESPLIT))


def _can_be_copies(train: SplitFigures | None, validation: SplitFigures, test: SplitFigures) -> bool:
    """Whether copies can explain it: they lift test from validation toward training accuracy, but not beyond."""
    if train is None:
        return True
    low, _ = compute_newcombe_interval(train.counts, validation.counts, thresholds.COMPARISON_CONFIDENCE)
    return low > 0 and test.accuracy <= train.accuracy


# How to describe altered images.
_ALTERED = {"inversion": "light and dark swapped", "channel_order": "red and blue swapped"}


def _find_undone_pixels(facts: Facts, code: str, choices: Collection[str], split: str) -> Finding | None:
    """Report the change of pixel values that was undone, if it is one of `choices` and clearly helps."""
    pixels = None if facts.gap is None else facts.gap.get_pixels(split)
    if facts.gap is None or pixels is None or pixels.chosen not in choices or not facts.is_undone(split):
        return None
    change, (before, after) = pixels.change, pixels.accuracies
    low, high = compute_paired_interval(change.gained, change.lost, change.count)
    advice = "Store the pixel values of all splits the same way."
    undone = PIXELS[pixels.chosen].undone
    about = f"The pixel values of {split} have a different meaning than those of training"
    if pixels.chosen in TURNS:
        advice = "Read the images of all splits with the same code; it must also obey the orientation that files name."
        about = f"The {split} images are oriented differently from those of training"
    then = f"{undone[0].lower()}{undone[1:]}"
    evidence: dict[str, Any] = {
        "split": split,
        f"{split}_accuracy": before,
        f"{split}_accuracy_undone": after,
        "undone": pixels.chosen,
        "parameters": list(pixels.parameters),
        "difference_interval": [low, high],
    }
    if pixels.share is not None:
        images, altered = round(pixels.share * change.count), _ALTERED[pixels.chosen]
        about = (
            f"About {describe_part(pixels.share)} of the {split} images ({images:,} of {change.count:,}) have {altered}"
        )
        then = "once these are swapped back"
        advice = f"Look for the {split} images that have {altered}, swap them back and upload the dataset again."
        evidence["share"] = pixels.share
    return Finding(
        code,
        choose_severity(low),
        f"{about}: the network answers {percent(before)} of the {split} images"
        f"{mention_left_out_copies(facts.gap, split)} correctly as they are, and {percent(after)} {then}.",
        evidence,
        (
            # No fix if the two halves of the images disagree on the change, or only some images are altered.
            *remedies.suggest_data_fix(advice, offer_undone_pixels(split, pixels)),
            *(_suggest_resplit() if code == "split_shift" else ()),
        ),
    )


def find_other_pixels(facts: Facts) -> Finding | None:
    """Report that pixels had to be changed for the model to work."""
    needed = facts.preprocessing
    if needed is None:
        return None
    remedy = SuggestedRemedy("preprocess_alike", needed.advice)
    return Finding("preprocessing_mismatch", "critical", needed.explanation, needed.evidence, (remedy,))


def find_scale_mismatch(facts: Facts) -> list[Finding]:
    """Report what the audit found, and splits that are answered clearly better once their scale is undone."""
    unknown = [split for split in ("test", "validation") if not facts.has_other_scale(split)]
    undone = [_find_undone_pixels(facts, "scale_mismatch", SCALES_OF_PIXELS, split) for split in unknown]
    audited = (_add_cost(finding, facts) for finding in facts.audited.get("scale_mismatch", ()))
    return [*audited, *(finding for finding in undone if finding is not None)]


def _add_cost(finding: Finding, facts: Facts) -> Finding:
    """Add what another scale of validation costs, by any change that undoes it. That of test is a term of the gap."""
    if finding.evidence.get("split") != "validation":
        return finding
    choices = (*SCALES_OF_PIXELS, *SHIFTS_OF_PIXELS)
    undone = _find_undone_pixels(facts, finding.code, choices, "validation")
    return finding if undone is None else replace(finding, evidence=undone.evidence | finding.evidence)


def find_shift_in_accuracy(facts: Facts) -> Finding | None:
    """Report that test is answered clearly worse than validation, if there is no audit finding or gap to say why."""
    validation, test = facts.validation, facts.test
    if validation is None or test is None or facts.budget is not None or "split_shift" in facts.audited:
        return None
    low, high = compute_newcombe_interval(validation.counts, test.counts, thresholds.COMPARISON_CONFIDENCE)
    if low <= thresholds.MAX_SELECTION_EFFECT:
        return None
    return _make_shift(
        facts,
        low,
        f"Test accuracy ({percent(test.accuracy)}) is lower than validation accuracy "
        f"({percent(validation.accuracy)}), by more than chance. The network was trained on neither, so this is not "
        "overfitting: the test images are of a different kind.",
        _compare(validation, test, low, high),
    )


def find_shift_in_pixels(facts: Facts, split: HeldOutName) -> Finding | None:
    """Report a split that is answered clearly better with the brightness, channel order or orientation of training."""
    return None if facts.has_other_scale(split) else _find_undone_pixels(facts, "split_shift", SHIFTS_OF_PIXELS, split)


def find_shift_in_validation_pixels(facts: Facts) -> Finding | None:
    """Report validation pixels; those of test belong to one finding with what the audit says of it."""
    return find_shift_in_pixels(facts, "validation")


def find_shift_in_measured_gap(facts: Facts) -> Finding | None:
    """Report that test is answered clearly worse than validation without copies, and with pixels and labels undone."""
    gap = facts.budget
    if (
        gap is None
        or gap.degraded_validation is None
        or _is_known_of_test(facts)
        or find_shift_in_pixels(facts, "test") is not None
    ):
        return None
    validation, test = gap.degraded_validation, gap.labels_renamed
    # Thresholds were fitted to splits of unknown groups. Where groups are known, few of them prove little.
    family = gap.stored.family
    low, high = bound_difference(validation, test, family, thresholds.COMPARISON_CONFIDENCE)
    if low <= thresholds.MAX_SELECTION_EFFECT and (
        bound_difference(validation, test, family)[0] < thresholds.MIN_SURE_GAP
    ):
        return None
    renamed = None if gap.stored.labels is not None else find_test_renamed(facts)
    if renamed is not None and low - (renamed.after - renamed.before) < thresholds.MIN_SURE_GAP:
        return None  # labels in another order explain it
    return _make_shift(
        facts,
        low,
        "The test images are of a different kind. Leaving copies, pixel values and the order of labels aside, the "
        f"network answers {percent(test.accuracy)} of them correctly, and {percent(validation.accuracy)} of the "
        "validation images. It was trained on neither, so this is not overfitting.",
        {**_compare(validation, test, low, high), **({"found_groups": gap.found_groups} if gap.found_groups else {})},
    )


def _is_known_of_test(facts: Facts) -> bool:
    """Whether the audit found that test images, and not just validation images, are of a different kind."""
    audited = facts.audited.get("split_shift", ())
    return any(finding.severity != "info" and finding.evidence.get("split") != "validation" for finding in audited)


def _make_shift(facts: Facts, low: float, explanation: str, evidence: dict[str, Any]) -> Finding:
    advice = "Compare how the test images and the others were taken, scaled, cropped and labeled."
    advised = (*remedies.suggest_data_fix(advice), *_suggest_resplit())
    return Finding("split_shift", choose_severity(low), explanation, evidence, advised)


def _suggest_resplit() -> tuple[SuggestedRemedy, ...]:
    pool = "Split all images again from one pool, and see whether test is still worse."
    return remedies.suggest_data_fix(pool, dict(RESPLIT))


def find_few_test_images(facts: Facts) -> list[Finding]:
    """Report what the audit counted; a measured accuracy says better how many images are needed."""
    audited, test = list(facts.audited.get("test_too_small", ())), facts.test
    if test is None:
        return audited
    found = [finding for finding in audited if finding.evidence["audit"] != "test_too_small"]
    low, high = compute_wilson_interval(*test.counts)
    half = (high - low) / 2
    if half <= thresholds.MAX_TEST_UNCERTAINTY:
        return found
    needed = count_images_needed(test.correct / test.count, thresholds.MAX_TEST_UNCERTAINTY)
    advice = f"Use about {_round_count(needed):,} test images before you trust small differences between networks."
    few = Finding(
        "test_too_small",
        "warning" if half > thresholds.MAX_TEST_UNCERTAINTY_OF_INFO else "info",
        f"With {pluralize(test.count, 'test image')}, accuracy is only known to within ±{_format_points(half)} "
        f"points ({percent_range(low, high)}). It takes about {_round_count(needed):,} test images to know it to "
        f"within ±{100 * thresholds.MAX_TEST_UNCERTAINTY:.0f} points.",
        {"test_accuracy": test.accuracy, "test_interval": [low, high], "count": test.count, "needed": needed},
        remedies.suggest_data_fix(advice),
    )
    return [*found, few]


def _format_points(half: float) -> str:
    """`2.6`; `2.03` if one decimal would look like the precision asked for."""
    short = f"{100 * half:.1f}"
    return f"{100 * half:.2f}" if float(short) == 100 * thresholds.MAX_TEST_UNCERTAINTY else short


def _round_count(count: int) -> int:
    """Round up to two significant digits."""
    step = int(10 ** max(0, len(str(count)) - 2))
    return -(-count // step) * step
