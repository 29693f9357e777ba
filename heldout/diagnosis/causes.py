"""Orders findings by what to fix first. docs/explanation/diagnosis.md has the same table.

False figures come first because they make every other judgment unreliable. Broken training is next, then the parts of
the remaining gap, largest first. What only costs loss comes last.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from heldout.diagnosis import thresholds
from heldout.diagnosis.copied_images import measure_conflicts, measure_copies
from heldout.diagnosis.facts import Effect, Facts
from heldout.diagnosis.findings import Cause, Diagnosis, FigureAfter, Finding, Tier
from heldout.diagnosis.gap import Gap, Term
from heldout.diagnosis.precedence import GRAVITY
from heldout.fixes.bodies import combine_bodies
from heldout.proofs.order import OF_FIGURES, ORDER_OF_TRAINING
from heldout.proofs.outcomes import OF_TRAINING
from heldout.statistics import compute_newcombe_interval
from heldout.verdicts import BROKEN, FAULTS, FINDING_KINDS, LIMITED

TIERS: tuple[Tier, ...] = ("figures_not_true", "training_broken", "rest_of_gap", "loss_only", "other")
# Findings that make figures misleading without explaining a gap. They are listed in addition to the verdict.
CAVEATS = {code: kind.caveat for code, kind in FINDING_KINDS.items() if kind.caveat}
# Terms that measure how wrong a reported figure is.
_FIGURE_TERMS = ("label_order", "pixel_values", "copies_in_validation", "copies_in_test")


def list_causes(
    facts: Facts, findings: Sequence[Finding], gap: Gap | None
) -> tuple[tuple[Cause, ...], tuple[Finding, ...]]:
    """The causes in the order to fix them, one for each code above `info`, and the finding behind each.

    Without a measured gap there are no points: the most serious finding comes first, then the order of rules decides.
    """
    found = [(_build_cause(finding, facts, gap), finding) for finding in findings if finding.severity != "info"]
    if gap is None:
        found.sort(key=lambda pair: (pair[0].tier != "figures_not_true", GRAVITY.index(pair[1].severity)))
    else:
        found.sort(key=lambda pair: _rank(*pair))
        # Never first, because nothing shows that it costs anything, but second, because looking at images is easy.
        seen = [pair for pair in found[2:] if _is_visible_only(*pair)]
        found = [*found[:1], *seen, *(pair for pair in found[1:] if pair not in seen)]
    first: dict[str, tuple[Cause, Finding]] = {}
    for cause, finding in found:
        first.setdefault(cause.code, (cause, finding))
    ordered = _put_faults_within(list(first.values()))
    return tuple(cause for cause, _ in ordered), tuple(finding for _, finding in ordered)


def _put_faults_within(found: list[tuple[Cause, Finding]]) -> list[tuple[Cause, Finding]]:
    """Put faults inside the network right after the finding that they may bring about; without one, leave them out.

    Where training is not broken, nothing shows that a fault costs anything, unless an experiment proves it.
    """
    others = [pair for pair in found if pair[0].code not in FAULTS]
    within = [pair for pair in found if pair not in others]
    within.sort(
        key=lambda pair: (
            "proof" not in pair[1].evidence,
            not pair[1].evidence["is_set"],
            tuple(FAULTS).index(pair[0].code),
        )
    )
    places = {codes: _find_first(codes, others) for codes in (BROKEN, LIMITED)}
    if places[BROKEN] is None:
        within = [
            (cause if "proof" in finding.evidence else replace(cause, tier="other"), finding)
            for cause, finding in within
        ]
    place = places[LIMITED] if places[BROKEN] is None else places[BROKEN]
    return others if place is None else [*others[:place], *within, *others[place:]]


def _find_first(codes: Sequence[str], found: Sequence[tuple[Cause, Finding]]) -> int | None:
    """The place behind the first cause that is one of the codes."""
    return next((place for place, (cause, _) in enumerate(found, 1) if cause.code in codes), None)


def _is_visible_only(cause: Cause, finding: Finding) -> bool:
    """Whether a split's images are of another kind, or its labels may be in another order, at an unknown cost."""
    if finding.may_be_chance:
        return True
    explains = finding.explains
    if finding.code != "split_shift" or cause.tier != "other":
        return False
    is_little = explains is not None and Effect(explains.accuracy, explains.interval).is_negligible
    return not is_little and finding.evidence.get("effect", 0.0) >= thresholds.MIN_VISIBLE_SHIFT


def list_caveats(causes: Sequence[Cause]) -> tuple[str, ...]:
    """Codes of misleading-figure findings other than the verdict."""
    return tuple(code for code in CAVEATS if code in {cause.code for cause in causes[1:]})


def _rank(cause: Cause, finding: Finding) -> tuple[int, float, int, int]:
    """Sort key: tier, then fixed order (training) or size, then caveats last, then severity."""
    tier, explains, size = TIERS.index(cause.tier), finding.explains, cause.points or 0.0
    if cause.tier == "training_broken":
        # They explain the same sign, so what an experiment proves comes before what is only likely.
        return tier, "proof" not in finding.evidence, (*ORDER_OF_TRAINING, *FAULTS).index(cause.code), 0
    if cause.tier == "loss_only" and explains is not None and explains.matters_by_loss:
        size = explains.loss
    return tier, -size, cause.code in CAVEATS, GRAVITY.index(finding.severity)


def _build_cause(finding: Finding, facts: Facts, gap: Gap | None) -> Cause:
    explains = finding.explains
    is_of_loss = explains is not None and explains.matters_by_loss
    is_of_loss |= finding.code in ("overconfidence", "not_converged")
    effects = ((tier, measure(finding, facts, gap)) for tier, measure in _EFFECTS.items())
    otherwise: tuple[Tier, None] = ("loss_only" if is_of_loss else "other", None)
    tier, effect = next(((tier, effect) for tier, effect in effects if effect is not None), otherwise)
    known = effect if effect is not None and effect.size else None
    return Cause(
        code=finding.code,
        tier=tier,
        points=None if known is None else known.size,
        interval=None if known is None else known.interval,
        loss=None if explains is None else explains.loss,
        loss_interval=None if explains is None else explains.loss_interval,
        what_to_do=finding.remedies[0].reason if finding.remedies else CAVEATS.get(finding.code, ""),
        effort=FINDING_KINDS[finding.code].effort,
        figure_after=_find_figure_after(finding, facts, gap),
    )


def _measure_false_figure(finding: Finding, facts: Facts, gap: Gap | None) -> Effect | None:
    """How wrong a reported figure is, or None if that does not matter."""
    if "proof" in finding.evidence and finding.code in OF_FIGURES:
        return _get_evidence_effect(finding)
    if finding.code == "preprocessing_mismatch":
        needed = facts.preprocessing
        if needed is None:
            return Effect(0.0, None)
        split = "test" if "test" in needed.before else "train"
        return Effect.of(needed.after[split].accuracy - needed.before[split].accuracy, None)
    if gap is None or finding.may_be_chance:
        return None
    if finding.code == "label_conflicts":
        conflicts = measure_conflicts(finding, facts, gap, across_splits=True)
        is_likely = conflicts is not None and (conflicts.size >= thresholds.MIN_LIKELY_EFFECT or conflicts.matters)
        return conflicts if is_likely else None
    effects = [
        Effect.of(term.accuracy, term.accuracy_interval)
        for term in gap.terms
        if (term.finding == finding.code and term.code in _FIGURE_TERMS) or _is_shown_by(term, finding)
    ]
    if finding.code == "label_order_mismatch" or "validation_accuracy_undone" in finding.evidence:
        measured = _get_evidence_effect(finding)
        effects += [] if measured is None else [measured]
    largest = max(effects, key=lambda effect: effect.size, default=None)
    if finding.evidence.get("worse_than_guessing"):
        return largest or Effect(0.0, None)
    if finding.code == "leakage":
        return measure_copies(gap)
    if largest is not None and (largest.matters or _looks_very_different(finding, facts)):
        return largest
    return None


def _looks_very_different(finding: Finding, facts: Facts) -> bool:
    """Whether a held-out split's images are of another kind at a glance, and probably answered worse than the other's.

    An interval that allows for families of similar images is wider, but such a difference of images needs less proof.
    """
    if (
        finding.evidence.get("effect", 0.0) < thresholds.MIN_LARGE_SHIFT
        or facts.validation is None
        or facts.test is None
    ):
        return False
    better, worse = facts.validation.counts, facts.test.counts
    if finding.evidence["split"] == "validation":
        better, worse = worse, better
    return compute_newcombe_interval(better, worse, thresholds.LIKELY_CONFIDENCE)[0] > 0


def _measure_broken_training(finding: Finding, facts: Facts, gap: Gap | None) -> Effect | None:
    """What better training would gain (0 if unknown), or None if training is not broken."""
    code, last = finding.code, facts.last
    if "proof" in finding.evidence and code in (*OF_TRAINING, *FAULTS):
        return _get_evidence_effect(finding) or Effect(0.0, None)
    if last is not None and "last_epoch" in finding.evidence and last.accuracy.interval[1] < 0:
        effect = Effect.of(last.accuracy.difference, last.accuracy.interval)
        return effect if code in ("not_converged", "overconfidence") and not effect.is_negligible else None
    if code == "evaluation_lags":
        return Effect(finding.evidence["fit_accuracy"] - finding.evidence["train_accuracy"], None)
    if code in ("diverged", "memorised_noise", *FAULTS):
        return Effect(0.0, None)
    if code == "collapsed_class" and _is_unknown_in_training(finding, facts):
        return Effect(0.0, None)
    if code not in ("underfitting", "not_converged"):
        return None
    lacking = 1.0 if facts.train is None else 1 - facts.train.accuracy
    return Effect(0.0, None) if gap is None or lacking >= thresholds.MIN_LEFT_TO_LEARN else None


def _measure_part_of_gap(finding: Finding, facts: Facts, gap: Gap | None) -> Effect | None:
    """How much of the gap the finding explains, or None unless that is at least a point and clearly above zero."""
    explains = finding.explains
    if "proof" in finding.evidence and (explains is None or explains.accuracy < thresholds.MIN_SURE_EFFECT):
        return _get_evidence_effect(finding)
    if explains is None and finding.code == "label_noise":
        return _get_evidence_effect(finding)
    if finding.code == "collapsed_class" and "points" in finding.evidence:
        return _get_evidence_effect(finding)
    if explains is None and finding.code == "label_conflicts":
        return measure_conflicts(finding, facts, gap)
    if explains is None or explains.accuracy < thresholds.MIN_SURE_EFFECT:
        return None
    effect = Effect(explains.accuracy, explains.interval)
    return effect if effect.interval is not None and effect.interval[0] > 0 else None


_WITH_POINTS = frozenset({"shortcut_suspected", "worst_group"})
_EFFECTS: Mapping[Tier, Callable[[Finding, Facts, Gap | None], Effect | None]] = {
    "figures_not_true": _measure_false_figure,
    "training_broken": _measure_broken_training,
    "rest_of_gap": _measure_part_of_gap,
    "other": lambda finding, _facts, _gap: _get_evidence_effect(finding) if finding.code in _WITH_POINTS else None,
}


def _get_evidence_effect(finding: Finding) -> Effect | None:
    """The effect that the rule itself measured."""
    evidence = finding.evidence
    if "points" in evidence:
        low, high = evidence["points_interval"]
        return Effect(evidence["points"], (low, high))
    if "share_interval" in evidence:
        low, high = evidence["share_interval"]
        return Effect(evidence["share"], (low, high))
    bounds = evidence.get("difference_interval")
    if bounds is None:
        return None
    split = evidence.get("split", "test")
    undone = [name for name in (f"{split}_accuracy_renamed", f"{split}_accuracy_undone") if name in evidence]
    if undone:
        change = evidence[undone[0]] - evidence[f"{split}_accuracy"]
    elif "train_accuracy" in evidence:
        change = evidence["validation_accuracy"] - evidence["train_accuracy"]
    else:
        return None
    return Effect.of(change, (bounds[0], bounds[1]))


def _is_shown_by(term: Term, finding: Finding) -> bool:
    """Whether the audit found that a held-out split differs, and accuracy on that split is lower."""
    evidence = finding.evidence
    audit, split = evidence.get("audit"), evidence.get("split")
    if term.code != "split_difference" or audit is None or finding.code == "leakage":
        return False
    if finding.code == "split_shift" and evidence.get("effect", 0.0) < thresholds.MIN_SHIFT_OF_IMAGES:
        return False
    return bool(split == "test" and term.accuracy > 0) or bool(split == "validation" and term.accuracy < 0)


def _is_unknown_in_training(finding: Finding, facts: Facts) -> bool:
    """Whether the class is not even recognized among the training images."""
    if facts.train is None or finding.evidence.get("class") not in facts.classes:
        return False
    recall = facts.train.get_recall(list(facts.classes).index(finding.evidence["class"]))
    return recall is not None and recall < thresholds.MIN_RECALL


def _find_figure_after(finding: Finding, facts: Facts, gap: Gap | None) -> FigureAfter | None:
    """Return None if that was not measured, or if the figure would read the same."""
    if finding.code == "leakage" and "resplit" in (finding.fix or {}):
        return None  # other images are then in each split
    if finding.code == "leakage" and (copied := facts.most_copied) is not None:
        split, copies, whole = copied
        return None if copies.clean is None else _make_figure(split, whole.accuracy, copies.clean.accuracy)
    if finding.code == "label_order_mismatch":
        split = finding.evidence.get("split", "test")
        now, renamed = facts.get_renamed(finding, split)
        return None if renamed is None else _make_figure(split, now, renamed)
    needed = facts.preprocessing
    if finding.code == "preprocessing_mismatch" and needed is not None and "test" in needed.before:
        return _make_figure("test", needed.before["test"].accuracy, needed.after["test"].accuracy)
    # Findings of the audit carry no accuracies, so look in the measured gap.
    term, split = None if gap is None else gap.find_term("pixel_values"), finding.evidence.get("split", "test")
    pixels = None if facts.gap is None or split == "train" else facts.gap.get_pixels(split)
    is_its_term = split == "test" and term is not None and term.finding == finding.code
    if pixels is not None and (is_its_term or f"{split}_accuracy_undone" in finding.evidence):
        return _make_figure(split, *pixels.accuracies)
    return None


def _make_figure(split: str, now: float, after: float) -> FigureAfter | None:
    if f"{now:.3f}" == f"{after:.3f}":
        return None
    return FigureAfter("validation_accuracy" if split == "validation" else "test_accuracy", now, after)


# With copies across splits, or copies with different labels, validation rewards the wrong thing.
_COPIES = {"leakage", "label_conflicts"}
_ORDER_AND_PIXELS = {"label_order_mismatch", "scale_mismatch", "split_shift"}


def select_first_fixes(diagnosis: Diagnosis) -> tuple[Finding, ...]:
    """The findings to fix first: copies, labels in another order, other pixel values.

    With a measured gap, these are the findings whose cost is certain; without one, the serious ones. Splits with
    different images do not count, since no new version is certain to cure that.
    """
    return tuple(finding for finding in diagnosis.findings if _must_be_fixed(finding, diagnosis))


def is_test_of_another_kind(diagnosis: Diagnosis) -> bool:
    """Whether test images differ by nature from the others: in a way that no change of the stored images undoes."""
    return any(
        finding.is_shift_by_nature
        and finding.evidence.get("split") != "validation"
        and finding.evidence.get("audit") != "class_shift"
        for finding in diagnosis.findings
    )


def get_fix(findings: Sequence[Finding]) -> dict[str, Any] | None:
    """The body of `POST /v1/datasets/{id}/versions` that fixes all findings, or None if none has a fix."""
    bodies = [finding.fix for finding in findings if finding.fix is not None]
    return combine_bodies(bodies) if bodies else None


def _must_be_fixed(finding: Finding, diagnosis: Diagnosis) -> bool:
    code = finding.code
    if code not in _COPIES | _ORDER_AND_PIXELS or finding.severity == "info":
        return False
    if code == "split_shift" and "pixel_values" not in (finding.fix or {}):
        return False
    if diagnosis.gap is None:
        return finding.severity == "critical" or (code in _ORDER_AND_PIXELS and code == diagnosis.verdict)
    cause = next((known_cause for known_cause in diagnosis.causes if known_cause.code == code), None)
    if cause is None:
        return False
    return cause.tier == "figures_not_true" or (code == "label_conflicts" and cause.points is not None)
