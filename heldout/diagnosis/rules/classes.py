"""Findings about single classes: with few training images, or with few right answers."""

from collections.abc import Collection
from dataclasses import replace
from statistics import median
from typing import Any

from heldout.diagnosis import remedies, thresholds
from heldout.diagnosis.evaluation import SplitFigures
from heldout.diagnosis.facts import Facts
from heldout.diagnosis.findings import Finding
from heldout.diagnosis.rules.learning import still_learns
from heldout.metrics import PROPOSED_OBJECTIVE
from heldout.statistics import compute_newcombe_interval, compute_wilson_interval
from heldout.words import percent, pluralize


def find_class_imbalance(facts: Facts) -> Finding | None:
    """Report what the confusion matrix shows, unless the audit found it."""
    counts = [] if facts.train is None else [sum(row) for row in facts.train.confusion]
    if (
        "class_imbalance" in facts.audited
        or len(counts) < 2
        or min(counts) >= thresholds.MIN_CLASS_BALANCE * max(counts)
    ):
        return None
    names = facts.classes or tuple(map(str, range(len(counts))))
    fewest, most = min(counts), max(counts)
    rarest = names[counts.index(fewest)]
    advice = "" if remedies.counts_classes(facts.spec) else f" {PROPOSED_OBJECTIVE}"
    return Finding(
        "class_imbalance",
        "info" if remedies.weighs_classes(facts.spec) else "warning",
        f"Class {rarest!r} has {pluralize(fewest, 'training image')}, but the largest class has {most:,}. A "
        f"network can ignore {rarest!r} and still be accurate overall.{advice}",
        {
            "smallest": {"class": rarest, "count": fewest},
            "largest": {"class": names[counts.index(most)], "count": most},
            **({"proposed_objective": "balanced_accuracy"} if advice else {}),
        },
        remedies.suggest(facts.base, "class_weights", "balanced_sampling"),
    )


# Audit findings about test that explain bad answers there.
_TEST_IS_ANOTHER_KIND = {"split_shift", "scale_mismatch", "label_order_mismatch"}


def find_collapsed_in_validation(facts: Facts) -> Finding | None:
    """Report a class in validation, unless the network is still learning and may simply not know it yet."""
    return None if still_learns(facts) else _find_collapsed(facts, "validation", facts.validation)


def find_collapsed_in_test(facts: Facts) -> Finding | None:
    """Report a class in test if validation shows none, and test is not of a different kind anyway."""
    if _TEST_IS_ANOTHER_KIND & facts.audited.keys() or still_learns(facts) or find_collapsed_in_validation(facts):
        return None
    return None if find_rare_in_test(facts) else _find_collapsed(facts, "test", facts.test)


def find_rare_in_test(facts: Facts) -> Finding | None:
    """Report a class that is rare in training, and of which validation has too few images to show what that costs.

    Nothing but test shows it, so a difference between validation and test speaks for this finding, not against it.
    """
    train, validation, test = facts.train, facts.validation, facts.test
    if train is None or validation is None or test is None or still_learns(facts):
        return None
    if not (train.confusion and validation.confusion and test.confusion):
        return None
    few = train.count / len(train.confusion) / 2
    rare = [
        label
        for label, (trained, seen) in enumerate(zip(train.confusion, validation.confusion, strict=True))
        if sum(trained) < few and sum(seen) < thresholds.MIN_VALIDATION_OF_CLASS
    ]
    found = _find_collapsed(facts, "test", test, rare)
    return found and replace(found, evidence=found.evidence | _measure_cost(test, found.evidence["class"], facts))


def _measure_cost(test: SplitFigures, name: str, facts: Facts) -> dict[str, Any]:
    """The test accuracy that a class costs, compared with the others' accuracy."""
    label = [_get_class_name(facts, label) for label in range(len(test.confusion))].index(name)
    right, count = test.confusion[label][label], sum(test.confusion[label])
    others = (test.correct - right, test.count - count)
    low, high = compute_newcombe_interval(others, (right, count))
    share = count / test.count
    points = share * (others[0] / others[1] - right / count)
    return {"points": points, "points_interval": [share * low, share * high]}


def _find_collapsed(
    facts: Facts, split: str, figures: SplitFigures | None, labels: Collection[int] | None = None
) -> Finding | None:
    """labels: the classes to look at; None for all."""
    if figures is None:
        return None
    # (label, right answers, images)
    rows = [(label, row[label], sum(row)) for label, row in enumerate(figures.confusion)]
    classes = [row for row in rows if row[2] >= thresholds.MIN_CLASS_IMAGES]
    usual = median(right / count for _, right, count in classes) if classes else 0.0
    # With many classes of few images, some look bad by chance, so all share the allowed false alarms.
    confidence = 1 - thresholds.MAX_FALSE_ALARMS / max(1, len(classes))
    by_class = remedies.counts_classes(facts.spec)
    least = usual - thresholds.MIN_RECALL_GAP if by_class else thresholds.MIN_RECALL
    worst = [
        (label, right, count)
        for label, right, count in classes
        if (labels is None or label in labels)
        and right / count < least
        and compute_wilson_interval(right, count, confidence)[1] < usual
    ]
    # If most classes are answered badly, no single class is the problem.
    if not worst or usual <= thresholds.MIN_USUAL_RECALL:
        return None
    label, right, count = min(worst, key=lambda entry: entry[1] / entry[2])
    low, high = compute_wilson_interval(right, count)
    known = f"only {right:,}" if right else "none"
    name = _get_class_name(facts, label)
    return Finding(
        "collapsed_class",
        "critical",
        f"The network recognizes {known} of {pluralize(count, f'{split} image')} of class {name!r} "
        f"({percent(right / count)}), though it recognizes most other "
        f"classes.{_describe_taken_for(facts, figures, label)}",
        {
            "class": name,
            "split": split,
            "recall": right / count,
            "recall_interval": [low, high],
            "count": count,
            **({"others": [figures.correct - right, figures.count - count]} if by_class else {}),
        },
        (
            *(
                remedies.suggest(facts.base, "class_weights", "balanced_sampling")
                if _is_rare(facts.train, label)
                else ()
            ),
            *remedies.suggest_data_fix(f"Collect more images of {name!r}, and check how its images are labeled."),
        ),
    )


def _describe_taken_for(facts: Facts, figures: SplitFigures, label: int) -> str:
    """Say which class its images are most often taken for, with a leading space."""
    answers = [0 if answer == label else count for answer, count in enumerate(figures.confusion[label])]
    most = max(answers)
    return f" {most:,} of them are taken for {_get_class_name(facts, answers.index(most))!r}." if most else ""


def _is_rare(train: SplitFigures | None, label: int) -> bool:
    """Whether class weights would give this class more weight; true if its number of images is unknown."""
    counts = [sum(row) for row in train.confusion] if train is not None else []
    return label >= len(counts) or counts[label] * len(counts) < sum(counts)


def _get_class_name(facts: Facts, label: int) -> str:
    return facts.classes[label] if label < len(facts.classes) else str(label)
