"""Class imbalance: a class has few training images compared with the largest one, or none."""

from heldout.diagnosis import remedies
from heldout.diagnosis.facts import Facts
from heldout.diagnosis.findings import Finding
from heldout.diagnosis.thresholds import MIN_CLASS_BALANCE
from heldout.words import pluralize


def find(facts: Facts) -> list[Finding]:
    """Report what the audit found, or else what the confusion matrix shows."""
    if "class_imbalance" in facts.audited:
        return list(facts.audited["class_imbalance"])
    counts = [] if facts.train is None else [sum(row) for row in facts.train.confusion]
    if len(counts) < 2 or min(counts) >= MIN_CLASS_BALANCE * max(counts):
        return []
    names = facts.classes or tuple(map(str, range(len(counts))))
    fewest, most = min(counts), max(counts)
    rarest = names[counts.index(fewest)]
    return [
        Finding(
            "class_imbalance",
            "info" if remedies.weighs_classes(facts.spec) else "warning",
            f"Class {rarest!r} has {pluralize(fewest, 'training image')}, but the largest class has {most:,}. A "
            f"network can ignore {rarest!r} and still be accurate overall.",
            {
                "smallest": {"class": rarest, "count": fewest},
                "largest": {"class": names[counts.index(most)], "count": most},
            },
            remedies.suggest_balanced_weights(facts.base),
        )
    ]
