"""Which finding each term of a gap belongs to, what a finding explains in all, and whether that matters."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import sqrt
from typing import Any

from heldout.diagnosis.evaluation import SplitFigures
from heldout.diagnosis.facts import Facts
from heldout.diagnosis.findings import Explained, Finding
from heldout.diagnosis.gap.budget import Bounds, Gap, Term, TermCode, includes_0
from heldout.diagnosis.thresholds import MIN_EXPLAINED, MIN_EXPLAINED_OF_LOSS, MIN_PART_OF_CLASSES, MIN_PART_OF_NOISE

# A term belongs to the first of these findings that was made, unless that is an info.
FINDINGS_OF_TERM: Mapping[TermCode, tuple[str, ...]] = {
    "late_epochs": ("overfitting", "overconfidence", "memorised_noise"),
    # The two about classes only where these classes are at least half of the term; overconfidence only where it is no
    # matter of accuracy.
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
    # Labels only where the answers show it and no renaming was measured; see `_can_have`.
    "split_difference": ("label_order_mismatch", "split_shift"),
    "label_order": ("label_order_mismatch",),
    # Of brightness and swapped channels split_shift first; see `_order_codes`.
    "pixel_values": ("scale_mismatch", "split_shift"),
    "copies_in_test": ("leakage",),
}
# If one of these surely narrows the gap it belongs to none: no finding is about that.
_ONLY_WIDENING = ("late_epochs", "generalisation", "label_order", "pixel_values")
_OF_COPIES = ("copies_in_validation", "copies_in_test")
_OF_CLASSES = ("collapsed_class", "class_imbalance")
# What may be undone in the pixels: the codes are the audit's, which calls the first a shift, and the others a scale.
SHIFTS_OF_PIXELS = ("brightness", "channel_order")
SCALES_OF_PIXELS = ("scale", "inversion")


def attribute_terms(gap: Gap, facts: Facts, findings: Sequence[Finding]) -> Gap:
    """The gap with each term's finding. Beside a term that is surely there, one that may be chance belongs to none."""
    terms = [replace(term, finding=_choose_finding(term, facts, findings)) for term in gap.terms]
    sure = {term.finding for term in terms if not term.may_be_chance}
    return replace(
        gap,
        terms=tuple(
            replace(term, finding=None) if term.may_be_chance and term.finding in sure else term for term in terms
        ),
    )


def drop_explained(findings: Sequence[Finding], gap: Gap) -> list[Finding]:
    """Without too little data where what it would explain belongs to another finding."""
    term = gap.find_term("generalisation")
    owner = None if term is None else term.finding
    is_explained = owner is not None and owner != "too_little_data"
    return [finding for finding in findings if not (is_explained and finding.code == "too_little_data")]


def weigh_findings(findings: Sequence[Finding], gap: Gap, facts: Facts) -> list[Finding]:
    """The findings with what they explain; infos where that surely is too little to matter.

    Of several findings of one code the first has the terms.
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
    """The sum of figures with an interval as of independent ones; None where one of them has none.

    Terms that share a level are not quite independent: then the interval is a little too wide. A figure that is exactly
    0, such as of late epochs that were not surely worse, says nothing and widens nothing.

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
    """What a finding explains: the sum of its terms; None where it has none."""
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
    """Whether a finding surely explains less than half a point, and no loss that matters.

    Faults in validation make test look good: the other side of their term counts.
    """
    if finding.explains is None or finding.explains.matters_by_loss:
        return False
    most = 0.0
    for term in gap.terms:
        if term.finding == finding.code and term.code in _OF_COPIES:
            most += max(abs(term.accuracy), _largest_lift(term, facts))
        elif term.finding == finding.code and term.accuracy_interval is not None:
            low, high = term.accuracy_interval
            most += -low if finding.evidence.get("split") == "validation" else high
    return most < MIN_EXPLAINED


def _largest_lift(term: Term, facts: Facts) -> float:
    """How much a split's accuracy would fall without copies that are all answered correctly."""
    assert facts.gap is not None
    copies = facts.gap.test_copies if term.code == "copies_in_test" else facts.gap.validation_copies
    if copies is None or copies.clean is None or copies.copied is None:
        return 0.0
    return (1 - copies.clean.accuracy) * copies.copied.count / (copies.copied.count + copies.clean.count)


def _choose_finding(term: Term, facts: Facts, findings: Sequence[Finding]) -> str | None:
    bounds = term.accuracy_interval
    if term.code in _ONLY_WIDENING and bounds is not None and bounds[1] < 0:
        return None
    if term.code == "late_epochs" and term.accuracy == term.loss == 0:  # not surely anything
        return None
    for code in _order_codes(term, facts):
        made = [finding for finding in findings if finding.code == code and finding.severity != "info"]
        if any(_can_have(finding, term, facts) for finding in made):
            return code
    return None


def _can_have(finding: Finding, term: Term, facts: Facts) -> bool:
    """Whether the finding is about what the term is about."""
    if term.code == "generalisation" and finding.code == "overconfidence":
        return includes_0(term.accuracy_interval)
    if term.code == "split_difference" and finding.code == "label_order_mismatch":
        return bool(finding.evidence.get("by_answers"))
    if term.code == "pixel_values" and finding.evidence.get("split") == "validation":
        return False
    if term.code == "generalisation" and finding.code == "label_noise":
        return _is_large_part(finding, term)
    return finding.code not in _OF_CLASSES or _is_mostly_of_its_classes(term, facts, finding)


def _is_large_part(noise: Finding, term: Term) -> bool:
    """Whether wrong labels can be a large part of the term: they cost at most as many points as there are of them."""
    evidence = noise.evidence
    share = evidence.get("share", evidence.get("validation_accuracy", 0.0) - evidence.get("train_accuracy", 0.0))
    return bool(share >= MIN_PART_OF_NOISE * term.accuracy)


def _order_codes(term: Term, facts: Facts) -> tuple[str, ...]:
    codes = FINDINGS_OF_TERM[term.code]
    pixels = None if facts.gap is None else facts.gap.pixels
    if term.code == "pixel_values" and pixels is not None and set(pixels.choices) & set(SHIFTS_OF_PIXELS):
        return codes[::-1]
    return codes


def _is_mostly_of_its_classes(term: Term, facts: Facts, finding: Finding) -> bool:
    """Whether at least half of what validation lacks is lacking in the classes of the finding."""
    lost = _compute_lost(facts, _get_classes(finding.evidence))
    return lost is not None and lost > 0 and lost >= MIN_PART_OF_CLASSES * term.accuracy


def _get_classes(evidence: Mapping[str, Any]) -> Sequence[str]:
    if "class" in evidence:
        return [evidence["class"]]
    if "smallest" in evidence:
        return [evidence["smallest"]["class"]]
    missing: Sequence[str] = evidence.get("train", {}).get("classes", ())
    return missing


def _compute_lost(facts: Facts, classes: Sequence[str]) -> float | None:
    """Validation accuracy that is lost in these classes beside training; None where that is not known by class."""
    train, validation = facts.train, facts.validation
    if train is None or validation is None or not (train.confusion and validation.confusion):
        return None
    labels = [label for label, name in enumerate(facts.classes) if name in classes]
    images = sum(map(sum, validation.confusion))
    lost = 0.0
    for label in labels:
        row = validation.confusion[label]
        expected = _get_recall(train, label)
        lost += sum(row) * (train.accuracy if expected is None else expected) - row[label]
    return lost / images


def _get_recall(figures: SplitFigures, label: int) -> float | None:
    row = figures.confusion[label]
    return row[label] / sum(row) if sum(row) else None
