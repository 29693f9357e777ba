"""Split shift: test images are of a different kind than the others."""

from typing import Any

from heldout.diagnosis import remedies, usual_renamings
from heldout.diagnosis.attribution import SHIFTS_OF_PIXELS
from heldout.diagnosis.facts import Facts
from heldout.diagnosis.findings import Finding, Severity, SuggestedRemedy
from heldout.diagnosis.gap.budget import compute_levels
from heldout.diagnosis.thresholds import COMPARISON_CONFIDENCE, MAX_SELECTION_EFFECT, MIN_CRITICAL_SHIFT, MIN_SURE_GAP
from heldout.diagnosis.undone_pixels import find_undone_pixels
from heldout.fixes.offers import RESPLIT
from heldout.remedies.change import Spec
from heldout.statistics.intervals import compute_newcombe_interval
from heldout.words import percent


def find_in_images(facts: Facts) -> list[Finding]:
    """Report what the audit found."""
    return list(facts.audited.get("split_shift", ()))


def find_in_accuracy(facts: Facts) -> list[Finding]:
    """Report that test is answered clearly worse than validation, if there is no audit finding or gap to say why."""
    validation, test = facts.validation, facts.test
    if validation is None or test is None or facts.budget is not None or "split_shift" in facts.audited:
        return []
    low, high = compute_newcombe_interval(validation.counts, test.counts, COMPARISON_CONFIDENCE)
    if low <= MAX_SELECTION_EFFECT:
        return []
    return _make_finding(
        facts,
        low,
        f"Test accuracy ({percent(test.accuracy)}) is lower than validation accuracy "
        f"({percent(validation.accuracy)}), by more than chance. The network was trained on neither, so this is not "
        "overfitting: the test images are of a different kind.",
        {
            "validation_accuracy": validation.accuracy,
            "test_accuracy": test.accuracy,
            "difference": validation.accuracy - test.accuracy,
            "difference_interval": [low, high],
        },
    )


def find_in_pixels(facts: Facts) -> list[Finding]:
    """Report splits that are answered clearly better with the brightness or channel order of training."""
    found = []
    for split in ("test", "validation"):
        is_known = split == "test" and _is_known_of_test(facts)
        undone = None if is_known else find_undone_pixels(facts, SHIFTS_OF_PIXELS, split)
        if undone is not None:
            found += _make_finding(
                facts, undone.at_least, undone.explanation, undone.evidence, undone.advice, undone.fix
            )
    return found


def find_in_measured_gap(facts: Facts) -> list[Finding]:
    """Report that test is answered clearly worse than validation without copies, and with pixels and labels undone."""
    if (
        facts.gap is None
        or _is_known_of_test(facts)
        or any(finding.evidence["split"] == "test" for finding in find_in_pixels(facts))
    ):
        return []
    levels = compute_levels(facts.gap)
    if levels is None or levels.clean_validation is None:
        return []
    validation, test = levels.clean_validation, levels.labels_renamed
    low, high = compute_newcombe_interval(validation.counts, test.counts, COMPARISON_CONFIDENCE)
    if low <= MAX_SELECTION_EFFECT and compute_newcombe_interval(validation.counts, test.counts)[0] < MIN_SURE_GAP:
        return []
    renamed = None if facts.gap.labels is not None else usual_renamings.find_in_test(facts)
    if renamed is not None and low - renamed.gain < MIN_SURE_GAP:
        return []  # labels in another order explain it
    return _make_finding(
        facts,
        low,
        "The test images are of a different kind. Leaving copies, pixel values and the order of labels aside, the "
        f"network answers {percent(test.accuracy)} of them correctly, and {percent(validation.accuracy)} of the "
        "validation images. It was trained on neither, so this is not overfitting.",
        {
            "validation_accuracy": validation.accuracy,
            "test_accuracy": test.accuracy,
            "difference": validation.accuracy - test.accuracy,
            "difference_interval": [low, high],
        },
    )


def _is_known_of_test(facts: Facts) -> bool:
    """Whether the audit found that test images, and not just validation images, are of a different kind."""
    audited = facts.audited.get("split_shift", ())
    return any(finding.severity != "info" and finding.evidence.get("split") != "validation" for finding in audited)


def _make_finding(
    facts: Facts,
    low: float,
    explanation: str,
    evidence: dict[str, Any],
    advice: str = "Compare how the test images and the others were taken, scaled, cropped and labeled.",
    fix: dict[str, Any] | None = None,
) -> list[Finding]:
    severity: Severity = "critical" if low > MIN_CRITICAL_SHIFT else "warning"
    return [Finding("split_shift", severity, explanation, evidence, _suggest_remedies(facts.spec, advice, fix))]


def _suggest_remedies(spec: Spec | None, advice: str, fix: dict[str, Any] | None) -> tuple[SuggestedRemedy, ...]:
    how = "" if spec is None else " (`splits.existing: merge`)"
    pool = f"Split all images again from one pool{how}, and see whether test is still worse."
    return (remedies.suggest_data_fix(advice, fix), remedies.suggest_data_fix(pool, dict(RESPLIT)))
