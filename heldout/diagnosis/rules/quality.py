"""Findings about test images that are blurred, noisy, compressed or enlarged."""

from dataclasses import replace

from heldout.diagnosis import remedies
from heldout.diagnosis.facts import Effect, Facts
from heldout.diagnosis.findings import Finding
from heldout.diagnosis.rules.label_order import choose_severity
from heldout.statistics import compute_paired_interval
from heldout.words import percent
from heldout.words.labels import QUALITIES


def report_shift(facts: Facts) -> list[Finding]:
    """Report what the audit found, and what blur, noise, compression or enlargement of test costs.

    The audit says that images differ. If their quality was measured, it says how and what to do, so it is one finding.
    """
    audited, quality = list(facts.audited.get("split_shift", ())), _find_lost_quality(facts)
    if quality is None:
        return audited
    place = next((place for place, finding in enumerate(audited) if _is_of_test_images(finding)), None)
    if place is None:
        return [quality, *audited]
    audited[place] = replace(
        audited[place],
        explanation=f"{audited[place].explanation} {quality.explanation}",
        evidence=audited[place].evidence | quality.evidence,
        remedies=quality.remedies,
    )
    return audited


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
