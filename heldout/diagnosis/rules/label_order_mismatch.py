"""Label order mismatch: the test split numbers its classes in another order than training and validation do."""

from collections.abc import Sequence
from typing import Any

from heldout.diagnosis import remedies
from heldout.diagnosis.facts import Facts
from heldout.diagnosis.findings import Finding, Severity
from heldout.diagnosis.gap.budget import accuracy_of, levels_of
from heldout.diagnosis.renaming import best_renaming
from heldout.diagnosis.thresholds import (
    COMPARISON_CONFIDENCE,
    MAX_SELECTION_EFFECT,
    MIN_CRITICAL_SHIFT,
    MIN_EXPLAINED_BY_RENAMING,
)
from heldout.diagnosis.undone_pixels import without_copies
from heldout.diagnosis.words import percent
from heldout.intervals import newcombe_interval, paired_interval
from heldout.mending.offers import renamed_test
from heldout.stored.gap import StoredGap


def find(facts: Facts) -> list[Finding]:
    """What the audit found, else a renaming of test's classes that surely makes answers right."""
    if "label_order_mismatch" in facts.audited:
        return list(facts.audited["label_order_mismatch"])
    return _by_confusion(facts) if facts.budget is None else _measured(facts)


def _measured(facts: Facts) -> list[Finding]:
    """Renamed by one half of test, and counted on the other."""
    assert facts.gap is not None
    levels, labels = levels_of(facts.gap), facts.gap.labels
    if levels is None or labels is None:
        return []
    renaming = next((one for one in labels.renamings if one is not None), None)
    change = labels.change
    low, high = paired_interval(change.gained, change.lost, change.count, COMPARISON_CONFIDENCE)
    if renaming is None or low <= MAX_SELECTION_EFFECT:
        return []
    before, after = accuracy_of(levels.pixels_undone), accuracy_of(levels.labels_renamed)
    evidence = {"difference_interval": [low, high]}
    severity: Severity = "critical" if low > MIN_CRITICAL_SHIFT else "warning"
    mend = renamed_test(labels, tuple(facts.classes))
    return [_finding(facts, before, after, renaming, severity, evidence, mend, _aside(facts.gap))]


def _aside(gap: StoredGap) -> str:
    """What differs from the test accuracy as it is. Begins with a space."""
    return f"{without_copies(gap)}{'' if gap.pixels is None else ' and with its pixel values mended'}"


def _by_confusion(facts: Facts) -> list[Finding]:
    """A renaming that makes test as good as validation."""
    validation, test = facts.validation, facts.test
    if validation is None or test is None or len(test.confusion) < 2:
        return []
    if test.accuracy > validation.accuracy - MIN_CRITICAL_SHIFT:
        return []
    # Any matrix has a best renaming: it is one only where it explains what is missing, as well as validation is known.
    explained = test.accuracy + MIN_EXPLAINED_BY_RENAMING * (validation.accuracy - test.accuracy)
    renamed = best_renaming(test.confusion, more_than=explained * test.count)
    if renamed is None:
        return []
    accuracy = sum(row[answer] for row, answer in zip(test.confusion, renamed, strict=True)) / test.count
    low, _ = newcombe_interval((round(accuracy * test.count), test.count), test.counts, COMPARISON_CONFIDENCE)
    if low <= MIN_CRITICAL_SHIFT:
        return []
    evidence = {"validation_accuracy": validation.accuracy}
    # On this few figures nobody should rename classes unseen.
    return [_finding(facts, test.accuracy, accuracy, renamed, "critical", evidence, None)]


def _finding(
    facts: Facts,
    before: float,
    after: float,
    renaming: Sequence[int],
    severity: Severity,
    evidence: dict[str, Any],
    mend: dict[str, Any] | None,
    aside: str = "",
) -> Finding:
    """aside: what the test accuracy is without, such as ` without copies`."""
    names = facts.classes or tuple(map(str, range(len(renaming))))
    mapping = {names[given]: names[meant] for given, meant in enumerate(renaming) if given != meant}
    shown = ", ".join(f"{given} → {meant}" for given, meant in list(mapping.items())[:10])
    shown += ", …" if len(mapping) > 10 else ""
    return Finding(
        "label_order_mismatch",
        severity,
        "The test split numbers its classes in another order than training and validation do: test accuracy is "
        f"{percent(before)}{aside}, and {percent(after)} if the classes are renamed ({shown}).",
        {"test_accuracy": before, "test_accuracy_renamed": after, "renamed": mapping, **evidence},
        (
            remedies.mend_data(
                f"Number the classes of the test split as the training split does{remedies.and_again(facts.spec)}.",
                mend,
            ),
        ),
    )
