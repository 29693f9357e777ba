"""What a held-out accuracy would read once a cause is fixed, where that was measured."""

from heldout.diagnosis.facts import Facts
from heldout.diagnosis.findings import FigureAfter, Finding
from heldout.diagnosis.gap.budget import Gap, accuracy_of, levels_of
from heldout.diagnosis.undone_pixels import accuracies_of
from heldout.stored.gap import HeldOutCopies, Tally


def figure_after(finding: Finding, facts: Facts, gap: Gap | None) -> FigureAfter | None:
    """None where that was not measured, or reads the same."""
    found = _measured(finding, facts, gap)
    return None if found is None or f"{found.now:.3f}" == f"{found.after:.3f}" else found


def _measured(finding: Finding, facts: Facts, gap: Gap | None) -> FigureAfter | None:
    if finding.code == "leakage" and (copied := most_copied(facts)) is not None:
        split, copies, whole = copied
        return None if copies.clean is None else _of(split, accuracy_of(whole), accuracy_of(copies.clean))
    if finding.code == "label_order_mismatch":
        split = finding.evidence.get("split", "test")
        now, renamed = before_and_renamed(facts, finding, split)
        return None if renamed is None else _of(split, now, renamed)
    needed = facts.preprocessing
    if finding.code == "preprocessing_mismatch" and needed is not None and "test" in needed.before:
        return _of("test", needed.before["test"].accuracy, needed.after["test"].accuracy)
    # A finding of the audit has no figures of its own.
    term, split = None if gap is None else gap.term("pixel_values"), finding.evidence.get("split", "test")
    pixels = None if facts.gap is None or split == "train" else facts.gap.pixels_of(split)
    is_its_term = split == "test" and term is not None and term.finding == finding.code
    if pixels is not None and (is_its_term or f"{split}_accuracy_undone" in finding.evidence):
        return _of(split, *accuracies_of(pixels))
    return None


def _of(split: str, now: float, after: float) -> FigureAfter:
    return FigureAfter("validation_accuracy" if split == "validation" else "test_accuracy", now, after)


def most_copied(facts: Facts) -> tuple[str, HeldOutCopies, Tally] | None:
    """The held-out split that copies change most: its name, its parts and all of it."""
    gap = facts.gap
    if gap is None:
        return None
    splits = (("test", gap.test_copies, gap.test), ("validation", gap.validation_copies, gap.validation))
    found = [
        (name, copies, whole)
        for name, copies, whole in splits
        if copies is not None and copies.copied is not None and whole is not None
    ]
    return max(found, key=_flattery, default=None)


def _flattery(split: tuple[str, HeldOutCopies, Tally]) -> float:
    _, copies, whole = split
    return 1.0 if copies.clean is None else abs(accuracy_of(whole) - accuracy_of(copies.clean))


def before_and_renamed(facts: Facts, finding: Finding, split: str) -> tuple[float, float | None]:
    """Accuracy with the labels as they are and with the classes renamed, by the finding or by the measured gap."""
    evidence, gap = finding.evidence, facts.gap
    if f"{split}_accuracy_renamed" in evidence:
        return float(evidence[f"{split}_accuracy"]), float(evidence[f"{split}_accuracy_renamed"])
    levels = None if gap is None or gap.labels is None or split != "test" else levels_of(gap)
    if levels is None:
        return float(evidence.get(f"{split}_accuracy", 0.0)), None
    return accuracy_of(levels.pixels_undone), accuracy_of(levels.labels_renamed)
