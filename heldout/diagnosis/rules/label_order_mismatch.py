"""Label order mismatch: the test split numbers its classes in a different order than training and validation do."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from heldout.diagnosis import remedies, usual_renamings
from heldout.diagnosis.compared_splits import has_other_pixels, is_known, list_pairs
from heldout.diagnosis.evaluation import SplitFigures
from heldout.diagnosis.facts import Facts
from heldout.diagnosis.findings import Finding, Severity
from heldout.diagnosis.gap.budget import compute_levels
from heldout.diagnosis.renaming import find_best_renaming
from heldout.diagnosis.thresholds import (
    COMPARISON_CONFIDENCE,
    MAX_SELECTION_EFFECT,
    MIN_CRITICAL_SHIFT,
    MIN_EXPLAINED_BY_RENAMING,
)
from heldout.diagnosis.undone_pixels import mention_left_out_copies
from heldout.fixes import offers
from heldout.statistics.intervals import compute_newcombe_interval, compute_paired_interval, compute_wilson_interval
from heldout.stored.gap import StoredGap
from heldout.words import percent


def find(facts: Facts) -> list[Finding]:
    """Report what the audit found, or else a renaming of test's classes that clearly makes answers right.

    A usual renaming is recognized with few images, and answers worse than guessing need no renaming as evidence.
    """
    split = find_worse_than_guessing(facts)
    if "label_order_mismatch" in facts.audited:
        found = list(facts.audited["label_order_mismatch"])
    else:
        if facts.budget is None:
            found = _find_by_confusion(facts)
        else:
            found = _find_usually_renamed(facts) or _find_measured(facts) or usual_renamings.find_part(facts)
        found = found or ([] if split is None else _find_without_renaming(facts, split))
    worse = {} if split is None else {"worse_than_guessing": True, "by_answers": True}
    return [replace(finding, evidence=finding.evidence | worse) for finding in found]


def find_worse_than_guessing(facts: Facts) -> str | None:
    """The held-out split that is clearly answered worse than by guessing, if the other one is clearly better.

    None without a measured gap: then different pixel values, which can cause such answers too, were not ruled out.
    """
    if facts.budget is None:
        return None
    for split, figures, other in list_pairs(facts):
        if len(facts.classes) > 1:
            high = compute_wilson_interval(*_count_right(facts, split, figures), COMPARISON_CONFIDENCE)[1]
            if high < 1 / len(facts.classes) and is_known(facts, other) and not has_other_pixels(facts, split):
                return split
    return None


def _count_right(facts: Facts, split: str, figures: SplitFigures) -> tuple[int, int]:
    """Correct answers and images, with pixel values undone, because wrong pixels also cause bad answers."""
    pixels = None if facts.gap is None else facts.gap.get_pixels(split)
    if pixels is not None and facts.is_undone(split):
        return pixels.tally.counts
    return figures.counts


def _find_usually_renamed(facts: Facts) -> list[Finding]:
    found = usual_renamings.find_whole(facts)
    if found is None:
        return []
    names = facts.classes
    meant = {names[given]: names[means] for given, means in enumerate(found.renaming) if given != means}
    evidence = {"split": found.split, "difference_interval": [*found.interval], "by_answers": True}
    after, fix = found.before + found.gain, offers.offer_renaming(found.split, meant)
    return [_make_finding(facts, found.before, after, found.renaming, found.severity, evidence, fix)]


def _find_without_renaming(facts: Facts, split: str) -> list[Finding]:
    splits = {"test": facts.test, "validation": facts.validation}
    figures, other = splits.pop(split), next(split_figures for name, split_figures in splits.items() if name != split)
    assert figures is not None
    assert other is not None
    guessing = 1 / len(facts.classes)
    name = next(name for name in ("test", "validation") if name != split)
    return [
        Finding(
            "label_order_mismatch",
            "critical",
            f"The network answers {percent(figures.accuracy)} of the {split} images correctly, which is worse than "
            f"guessing ({percent(guessing)}), but {percent(other.accuracy)} of the {name} images. Images that are only "
            f"harder would be answered at least as well as by guessing, so the labels of {split} do not belong to its "
            "images. No renaming of classes explains it.",
            {"split": split, f"{split}_accuracy": figures.accuracy, "chance": guessing, "by_answers": True},
            (remedies.suggest_data_fix(f"Check how the labels of the {split} split were joined to its images."),),
        )
    ]


def _find_measured(facts: Facts) -> list[Finding]:
    """Report a renaming that one half of test chose and the other half confirms."""
    assert facts.gap is not None
    levels, labels = compute_levels(facts.gap), facts.gap.labels
    if levels is None or labels is None:
        return []
    renaming = next((of_half for of_half in labels.renamings if of_half is not None), None)
    change = labels.change
    low, high = compute_paired_interval(change.gained, change.lost, change.count, COMPARISON_CONFIDENCE)
    if renaming is None or low <= MAX_SELECTION_EFFECT or not is_known(facts, facts.validation):
        return []
    before, after = levels.pixels_undone.accuracy, levels.labels_renamed.accuracy
    evidence = {"difference_interval": [low, high]}
    severity: Severity = "critical" if low > MIN_CRITICAL_SHIFT else "warning"
    fix = offers.offer_renamed_test(labels, tuple(facts.classes))
    return [_make_finding(facts, before, after, renaming, severity, evidence, fix, _describe_aside(facts.gap))]


def _describe_aside(gap: StoredGap) -> str:
    """Say how the figure differs from the plain test accuracy, with a leading space."""
    return f"{mention_left_out_copies(gap)}{'' if gap.pixels is None else ' and with its pixel values fixed'}"


def _find_by_confusion(facts: Facts) -> list[Finding]:
    """Report a renaming that makes test nearly as good as validation."""
    validation, test = facts.validation, facts.test
    if validation is None or test is None or len(test.confusion) < 2:
        return []
    if test.accuracy > validation.accuracy - MIN_CRITICAL_SHIFT:
        return []
    # Every matrix has a best renaming. It only counts if it explains most of the accuracy missing against validation.
    explained = test.accuracy + MIN_EXPLAINED_BY_RENAMING * (validation.accuracy - test.accuracy)
    renamed = find_best_renaming(test.confusion, more_than=explained * test.count)
    if renamed is None:
        return []
    accuracy = sum(row[answer] for row, answer in zip(test.confusion, renamed, strict=True)) / test.count
    low, _ = compute_newcombe_interval((round(accuracy * test.count), test.count), test.counts, COMPARISON_CONFIDENCE)
    if low <= MIN_CRITICAL_SHIFT:
        return []
    evidence = {"validation_accuracy": validation.accuracy}
    # This is too little evidence to offer a renaming that is applied without looking.
    return [_make_finding(facts, test.accuracy, accuracy, renamed, "critical", evidence, None)]


def _make_finding(
    facts: Facts,
    before: float,
    after: float,
    renaming: Sequence[int],
    severity: Severity,
    evidence: dict[str, Any],
    fix: dict[str, Any] | None,
    aside: str = "",
) -> Finding:
    """aside: what was left out of the accuracy, such as ` without copies`."""
    names = facts.classes or tuple(map(str, range(len(renaming))))
    mapping = {names[given]: names[meant] for given, meant in enumerate(renaming) if given != meant}
    shown = ", ".join(f"{given} → {meant}" for given, meant in list(mapping.items())[:10])
    shown += ", …" if len(mapping) > 10 else ""
    split = evidence.get("split", "test")
    other = "validation" if split == "test" else "test"
    return Finding(
        "label_order_mismatch",
        severity,
        f"The {split} split numbers its classes in a different order than training and {other} do: {split} accuracy is "
        f"{percent(before)}{aside}, and {percent(after)} if the classes are renamed ({shown}).",
        {f"{split}_accuracy": before, f"{split}_accuracy_renamed": after, "renamed": mapping, **evidence},
        (
            remedies.suggest_data_fix(
                f"Number the classes of the {split} split as the training split does.",
                fix,
            ),
        ),
    )
