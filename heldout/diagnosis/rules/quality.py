"""Findings about test images that differ: what the audit saw, and what a training measured."""

from dataclasses import replace

from heldout.diagnosis import remedies
from heldout.diagnosis.facts import Effect, Facts
from heldout.diagnosis.findings import Finding
from heldout.diagnosis.rules.data import find_shift_in_pixels
from heldout.diagnosis.rules.label_order import choose_severity
from heldout.statistics import compute_paired_interval
from heldout.words import percent
from heldout.words.changed_images import QUALITIES


def report_shift(facts: Facts) -> list[Finding]:
    """Report what the audit found, and what pixels, blur, noise, compression or enlargement of test cost.

    The audit says that images differ. What was measured says how and what to do, so it is one finding.
    """
    found = list(facts.audited.get("split_shift", ()))
    is_undone = any("undone_by" in finding.evidence and finding.evidence.get("split") == "test" for finding in found)
    pixels = None if is_undone else find_shift_in_pixels(facts, "test")
    for measured in (_find_lost_quality(facts), pixels):
        place = next((place for place, finding in enumerate(found) if _is_of_test_images(finding)), None)
        if measured is not None and place is not None:
            audited = found.pop(place)
            measured = replace(
                measured,
                severity="critical" if "critical" in (audited.severity, measured.severity) else "warning",
                explanation=f"{audited.explanation} {measured.explanation}",
                evidence=audited.evidence | measured.evidence,
            )
        if measured is not None:
            found.insert(0, measured)
    return found


def _is_of_test_images(finding: Finding) -> bool:
    evidence = finding.evidence
    return finding.severity != "info" and evidence.get("split") == "test" and evidence.get("audit") == "split_shift"


def _find_lost_quality(facts: Facts) -> Finding | None:
    """Report that the test images are blurred, noisy, compressed or enlarged, if that clearly costs accuracy."""
    gap = facts.budget
    if gap is None or gap.stored.quality is None or gap.clean_validation is None:
        return None
    quality = gap.stored.quality
    change, clean, degraded = quality.change, gap.clean_validation.accuracy, quality.tally.accuracy
    low, high = compute_paired_interval(change.lost, change.gained, change.count)
    if not Effect(clean - degraded, (low, high)).matters:
        return None
    label = QUALITIES[quality.kind]
    measure = label.measure.format(strength=quality.strength)
    return Finding(
        "split_shift",
        choose_severity(low),
        f"The test images are {label.name}, compared with validation images (about {measure}). Made the same, "
        f"validation images are answered correctly in {percent(degraded)} of the cases instead of {percent(clean)} by "
        "the same weights.",
        {
            "split": "test",
            "quality": quality.kind,
            "strength": quality.strength,
            "validation_accuracy": clean,
            "validation_accuracy_degraded": degraded,
            "difference_interval": [low, high],
        },
        remedies.suggest_data_fix(
            "Record, scale and store test images as those of training. If the network will meet such images, train it "
            "on some."
        ),
    )
