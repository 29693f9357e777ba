"""The held-out accuracy to expect once a cause is fixed, if that was measured."""

from heldout.diagnosis.facts import Facts
from heldout.diagnosis.findings import FigureAfter, Finding
from heldout.diagnosis.gap.budget import Gap


def compute_figure_after(finding: Finding, facts: Facts, gap: Gap | None) -> FigureAfter | None:
    """Return None if that was not measured, or if the figure would read the same."""
    found = _get_measured(finding, facts, gap)
    return None if found is None or f"{found.now:.3f}" == f"{found.after:.3f}" else found


def _get_measured(finding: Finding, facts: Facts, gap: Gap | None) -> FigureAfter | None:
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


def _make_figure(split: str, now: float, after: float) -> FigureAfter:
    return FigureAfter("validation_accuracy" if split == "validation" else "test_accuracy", now, after)
