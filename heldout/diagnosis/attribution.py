"""Assigns the terms of a gap to findings, sums up what each finding explains, and decides whether that matters."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import sqrt
from typing import Any

from heldout.diagnosis.bounds import Bounds
from heldout.diagnosis.facts import Facts
from heldout.diagnosis.findings import Explained, Finding
from heldout.diagnosis.gap import Gap, Term, TermCode
from heldout.diagnosis.thresholds import MIN_EXPLAINED, MIN_EXPLAINED_OF_LOSS, MIN_PART_OF_CLASSES, MIN_PART_OF_NOISE
from heldout.statistics import includes_0
from heldout.stored.gap import TURNS

# A term belongs to the first of these findings that was made and is not an info.
FINDINGS_OF_TERM: Mapping[TermCode, tuple[str, ...]] = {
    "late_epochs": ("overfitting", "overconfidence", "memorised_noise"),
    # The two findings about classes qualify only if their classes make up enough of the term, and overconfidence only
    # if accuracy is not affected.
    "generalisation": (
        "memorised_noise",
        "label_noise",
        "collapsed_class",
        "class_imbalance",
        "overfitting",
        "too_little_data",
        "overconfidence",
    ),
    "copies_in_validation": ("leakage",),
    "image_quality": ("split_shift",),
    # The labels only if the answers show it and no renaming was measured; see `_can_have`.
    "split_difference": ("label_order_mismatch", "split_shift"),
    "label_order": ("label_order_mismatch",),
    # For brightness and swapped channels, split_shift comes first, unless the audit saw another scale.
    "pixel_values": ("scale_mismatch", "split_shift"),
    "copies_in_test": ("leakage",),
}
# If one of these clearly narrows the gap, it belongs to no finding: none is about a narrower gap.
_ONLY_WIDENING = ("late_epochs", "generalisation", "image_quality", "label_order", "pixel_values")
_OF_COPIES = ("copies_in_validation", "copies_in_test")
_OF_CLASSES = ("collapsed_class", "class_imbalance")
# Pixel changes that may be undone. The audit reports the first two kinds as a shift and the last as a scale.
SHIFTS_OF_PIXELS = ("brightness", "channel_order", *TURNS)
SCALES_OF_PIXELS = ("scale", "inversion")


def attribute_terms(gap: Gap, facts: Facts, findings: Sequence[Finding]) -> Gap:
    """Set each term's finding. If a finding has a term clearly above chance, its terms that may be chance get none."""
    terms = [replace(term, finding=_choose_finding(term, facts, findings)) for term in gap.terms]
    sure = {term.finding for term in terms if not term.may_be_chance}
    return replace(
        gap,
        terms=tuple(
            replace(term, finding=None) if term.may_be_chance and term.finding in sure else term for term in terms
        ),
    )


def drop_explained(findings: Sequence[Finding], gap: Gap) -> list[Finding]:
    """Drop `too_little_data` if what it would explain belongs to another finding."""
    term = gap.find_term("generalisation")
    owner = None if term is None else term.finding
    is_explained = owner is not None and owner != "too_little_data"
    return [finding for finding in findings if not (is_explained and finding.code == "too_little_data")]


def weigh_findings(findings: Sequence[Finding], gap: Gap, facts: Facts) -> list[Finding]:
    """Add what each finding explains, and turn those that clearly explain too little into infos.

    If several findings share a code, the first one gets the terms.
    """
    found, seen = list[Finding](), set[str]()
    for finding in findings:
        with_terms = replace(finding, explains=_sum_explained(finding.code, gap))
        if _is_small(with_terms, gap, facts):
            with_terms = replace(with_terms, severity="info")
        found.append(replace(with_terms, explains=None) if finding.code in seen else with_terms)
        seen.add(finding.code)
    return found


def sum_figures(parts: Sequence[tuple[float, Bounds | None]]) -> tuple[float, Bounds | None]:
    """Sum figures and combine their intervals as if they were independent; None if a figure has no interval.

    Terms that share a level are not quite independent, which makes the interval slightly too wide. A figure of exactly
    0, such as late epochs that were not clearly worse, does not widen the interval.

    Source: Zou and Donner 2008, Statistics in Medicine 27(10) (square-and-add).
    """
    counted = [(value, bounds) for value, bounds in parts if value] or list(parts[:1])
    total = sum(value for value, _ in counted)
    known = [(value, bounds) for value, bounds in counted if bounds is not None]
    if len(known) < len(counted):
        return total, None
    below = sqrt(sum((value - low) * (value - low) for value, (low, _) in known))
    above = sqrt(sum((high - value) * (high - value) for value, (_, high) in known))
    return total, (total - below, total + above)


def _sum_explained(code: str, gap: Gap) -> Explained | None:
    """What a finding explains: the sum of its terms, or None if it has none."""
    terms = [term for term in gap.terms if term.finding == code]
    if not terms:
        return None
    accuracy, accuracy_interval = sum_figures([(term.accuracy, term.accuracy_interval) for term in terms])
    loss, loss_interval = sum_figures([(term.loss, term.loss_interval) for term in terms])
    matters_by_loss = (
        loss_interval is not None and loss_interval[0] > 0 and loss > MIN_EXPLAINED_OF_LOSS * gap.test.loss
    )
    return Explained(accuracy, accuracy_interval, loss, loss_interval, matters_by_loss)


def _is_small(finding: Finding, gap: Gap, facts: Facts) -> bool:
    """Whether a finding clearly explains less than half a point, and no loss that matters.

    Faults in validation make test look good, so for them the opposite bound of the term counts.
    """
    if finding.explains is None or finding.explains.matters_by_loss:
        return False
    most = 0.0
    for term in gap.terms:
        if term.finding == finding.code and term.code in _OF_COPIES:
            most += max(abs(term.accuracy), _compute_largest_lift(term, facts))
        elif term.finding == finding.code and term.accuracy_interval is not None:
            low, high = term.accuracy_interval
            most += -low if finding.evidence.get("split") == "validation" else high
    return most < MIN_EXPLAINED


def _compute_largest_lift(term: Term, facts: Facts) -> float:
    """How far a split's accuracy would fall without its copies if all of them were answered correctly."""
    assert facts.gap is not None
    copies = facts.gap.test_copies if term.code == "copies_in_test" else facts.gap.validation_copies
    return 0.0 if copies is None or copies.clean is None else (1 - copies.clean.accuracy) * copies.share


def _choose_finding(term: Term, facts: Facts, findings: Sequence[Finding]) -> str | None:
    bounds = term.accuracy_interval
    if term.code in _ONLY_WIDENING and bounds is not None and bounds[1] < 0:
        return None
    if term.code == "late_epochs" and term.accuracy == term.loss == 0:  # nothing clearly above chance
        return None
    for code in _order_codes(term, facts):
        made = [finding for finding in findings if finding.code == code and finding.severity != "info"]
        if any(_can_have(finding, term, facts) for finding in made):
            return code
    return None


def _can_have(finding: Finding, term: Term, facts: Facts) -> bool:
    """Whether the finding is about the same thing as the term."""
    if term.code == "generalisation" and finding.code == "overconfidence":
        return includes_0(term.accuracy_interval)
    if finding.may_be_chance:
        return False
    if term.code == "split_difference" and finding.code == "label_order_mismatch":
        return bool(finding.evidence.get("by_answers"))
    if term.code == "pixel_values" and finding.evidence.get("split") == "validation":
        return False
    if term.code == "generalisation" and finding.code == "label_noise":
        # Wrong labels can be a large part of the term: a share of wrong labels costs at most that share.
        evidence = finding.evidence
        share = evidence.get("share", evidence.get("validation_accuracy", 0.0) - evidence.get("train_accuracy", 0.0))
        return bool(share >= MIN_PART_OF_NOISE * term.accuracy)
    return finding.code not in _OF_CLASSES or _is_mostly_of_its_classes(term, facts, finding.evidence)


def _order_codes(term: Term, facts: Facts) -> tuple[str, ...]:
    codes = FINDINGS_OF_TERM[term.code]
    pixels = None if facts.gap is None else facts.gap.pixels
    if term.code != "pixel_values" or pixels is None or not set(pixels.choices) & set(SHIFTS_OF_PIXELS):
        return codes
    return codes if facts.has_other_scale("test") else codes[::-1]


def _is_mostly_of_its_classes(term: Term, facts: Facts, evidence: Mapping[str, Any]) -> bool:
    """Whether enough of validation's deficit lies in the classes of the finding; False without confusion matrices."""
    train, validation = facts.train, facts.validation
    if train is None or validation is None or not (train.confusion and validation.confusion):
        return False
    classes = evidence.get("train", {}).get("classes", ())
    if found := evidence if "class" in evidence else evidence.get("smallest"):
        classes = [found["class"]]
    lost = 0.0  # right answers that validation lacks, compared with training
    for label in (label for label, name in enumerate(facts.classes) if name in classes):
        row, expected = validation.confusion[label], train.get_recall(label)
        lost += sum(row) * (train.accuracy if expected is None else expected) - row[label]
    return lost > 0 and lost / sum(map(sum, validation.confusion)) >= MIN_PART_OF_CLASSES * term.accuracy
