"""Label order mismatch: the test split numbers its classes in another order than training and validation do."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from heldout.diagnosis import remedies
from heldout.diagnosis.effect import Effect
from heldout.diagnosis.evaluation import chance_of
from heldout.diagnosis.facts import Facts
from heldout.diagnosis.findings import Finding, Severity
from heldout.diagnosis.gap.budget import accuracy_of, levels_of
from heldout.diagnosis.renaming import best_renaming, usual_renamings
from heldout.diagnosis.thresholds import (
    COMPARISON_CONFIDENCE,
    MAX_SELECTION_EFFECT,
    MIN_CRITICAL_SHIFT,
    MIN_EXPLAINED_BY_RENAMING,
)
from heldout.diagnosis.undone_pixels import without_copies
from heldout.diagnosis.words import percent
from heldout.intervals import newcombe_interval, paired_interval, wilson_interval
from heldout.mending import offers
from heldout.stored.gap import StoredGap


def find(facts: Facts) -> list[Finding]:
    """What the audit found, else a renaming of test's classes that surely makes answers right.

    A usual renaming is told by few images; and answers that are worse than guesses need none.
    """
    worse = {"worse_than_guessing": True, "by_answers": True} if is_worse_than_guessing(facts) else {}
    if "label_order_mismatch" in facts.audited:
        return [replace(one, evidence=one.evidence | worse) for one in facts.audited["label_order_mismatch"]]
    found = _by_confusion(facts) if facts.budget is None else _measured(facts)
    found = found or _by_usual_renaming(facts) or (_without_renaming(facts) if worse else [])
    return [replace(one, evidence=one.evidence | worse) for one in found]


def is_worse_than_guessing(facts: Facts) -> bool:
    """Whether test is surely answered worse than by guesses, and validation surely better."""
    validation, test, classes = facts.validation, facts.test, len(facts.classes)
    if validation is None or test is None or classes < 2:
        return False
    high = wilson_interval(*test.counts, COMPARISON_CONFIDENCE)[1]
    low = wilson_interval(*validation.counts, COMPARISON_CONFIDENCE)[0]
    return high < 1 / classes and low > chance_of(validation, classes)


def _by_usual_renaming(facts: Facts) -> list[Finding]:
    """The usual mistakes of numbering, each tried on all test images: they share the false alarms.

    One has to explain most of what is missing beside validation, unless test is answered worse than by guesses.
    """
    test, validation, classes = facts.test, facts.validation, len(facts.classes)
    if test is None or validation is None or len(test.confusion) != classes:
        return []
    missing = 0.0 if is_worse_than_guessing(facts) else validation.accuracy - test.accuracy
    renamings = usual_renamings(facts.classes)
    confidence = 1 - (1 - COMPARISON_CONFIDENCE) / max(1, len(renamings))
    best, at_least = None, MAX_SELECTION_EFFECT
    for renaming in renamings:
        moved = [label for label in range(classes) if renaming[label] != label]
        gained = sum(test.confusion[label][renaming[label]] for label in moved)
        lost = sum(test.confusion[label][label] for label in moved)
        low, high = paired_interval(gained, lost, test.count, confidence)
        if low > at_least and (gained - lost) / test.count >= MIN_EXPLAINED_BY_RENAMING * missing:
            best, at_least = (renaming, (gained - lost) / test.count, (low, high)), low
    if best is None:
        return []
    renaming, gain, interval = best
    severity: Severity = "critical" if at_least > MIN_CRITICAL_SHIFT else "warning"
    evidence = {"difference_interval": [*interval], "by_answers": True}
    return [_finding(facts, test.accuracy, test.accuracy + gain, renaming, severity, evidence, _mend(facts, renaming))]


def _mend(facts: Facts, renaming: Sequence[int]) -> dict[str, Any] | None:
    """The body of a new version of the dataset in which the test classes have the names that they mean."""
    names = facts.classes
    return offers.renaming(
        "test", {names[given]: names[meant] for given, meant in enumerate(renaming) if given != meant}
    )


def _without_renaming(facts: Facts) -> list[Finding]:
    test, validation = facts.test, facts.validation
    assert test is not None
    assert validation is not None
    guessing = 1 / len(facts.classes)
    return [
        Finding(
            "label_order_mismatch",
            "critical",
            f"The network answers {percent(test.accuracy)} of the test images correctly, which is worse than guessing "
            f"({percent(guessing)}), but {percent(validation.accuracy)} of the validation images. Images that are only "
            "harder are answered as well as by guessing: the labels of test do not belong to its images. No renaming "
            "of classes explains it.",
            {"test_accuracy": test.accuracy, "validation_accuracy": validation.accuracy, "chance": guessing},
            (remedies.mend_data("Check how the labels of the test split were joined to its images."),),
        )
    ]


def _measured(facts: Facts) -> list[Finding]:
    """Renamed by one half of test, and counted on the other."""
    assert facts.gap is not None
    levels, labels = levels_of(facts.gap), facts.gap.labels
    if levels is None or labels is None:
        return []
    renaming = next((one for one in labels.renamings if one is not None), None)
    change = labels.change
    low, high = paired_interval(change.gained, change.lost, change.count)
    if renaming is None or not Effect((change.gained - change.lost) / change.count, (low, high)).matters:
        return []
    before, after = accuracy_of(levels.pixels_undone), accuracy_of(levels.labels_renamed)
    evidence = {"difference_interval": [low, high]}
    severity: Severity = "critical" if low > MIN_CRITICAL_SHIFT else "warning"
    mend = offers.renamed_test(labels, tuple(facts.classes))
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
                "Number the classes of the test split as the training split does.",
                mend,
            ),
        ),
    )
