"""What copies mean: leaks between splits, repetitions within one, one picture under two labels; and look-alikes."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis.arrays.dataset import SPLITS
from analysis.arrays.relations import LabelPairs, estimate_wrong_share
from heldout.fixes.leakage import COMPARED, CRITICAL_SHARE, make_leakage
from heldout.fixes.offers import MAX_PAIRS, make_finding
from heldout.stored.audit import AuditFinding
from heldout.words import rough_percent
from worker.ingest.audit.copies import HOWS, Copies
from worker.ingest.audit.dataset import MAX_EXAMPLES, IngestedDataset, describe_part

MIN_PAIRS_OF_LABELS = 30  # copies across the splits, before they say how many labels are wrong
MIN_WRONG_LABELS = 0.01  # a smaller share may be chance


@dataclass(frozen=True)
class _Pairs:
    """Pairs of images that are copies of each other.

    rows: (pairs, 2), the original first. exact: (pairs,). how: how many of them were shifted, mirrored and so on.
    """

    rows: NDArray[np.int64]
    exact: NDArray[np.bool_]
    how: dict[str, int]

    @property
    def numbers(self) -> dict[str, Any]:
        near = int((~self.exact).sum())
        changed = {"how": self.how} if self.how else {}
        return {"images": len(self.rows), "exact": len(self.rows) - near, "near": near, **changed}

    @property
    def changes(self) -> str:
        """` (3 shifted, 1 mirrored)`, or nothing; begins with a space."""
        return f" ({', '.join(f'{count:,} {how}' for how, count in self.how.items())})" if self.how else ""


def list_copy_findings(dataset: IngestedDataset, copies: Copies, pairs: LabelPairs = ()) -> list[AuditFinding]:
    """Find leakage, label conflicts, duplicates and look-alikes.

    Args:
        pairs: copies across the splits by both labels; empty if they say nothing about wrong labels.
    """
    firsts = [_find_first(copies, np.flatnonzero(dataset.split_of == code)) for code in range(len(SPLITS))]
    contradicting = _find_contradicting(dataset, copies)
    found = [
        _find_leakage(dataset, copies, firsts),
        _describe_conflicts(dataset, copies, contradicting, pairs),
        _find_duplicates(dataset, copies, firsts, contradicting.rows),
        _look_alikes(dataset, copies.look_alikes),
    ]
    return [finding for finding in found if finding is not None]


def _find_first(copies: Copies, rows: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Find for each original the first of `rows` with the same pixels, and the first near copy; -1 if there is none."""
    none = len(copies.original)
    exact = np.full(none, none)
    np.minimum.at(exact, copies.original[rows], rows)
    near = np.full(none, none)
    for side in (0, 1):
        np.minimum.at(near, copies.near[:, side], exact[copies.near[:, 1 - side]])
    return np.where(exact < none, exact, -1), np.where(near < none, near, -1)


def _find_partners(
    copies: Copies, rows: NDArray[np.int64], exact: NDArray[np.int64], near: NDArray[np.int64]
) -> _Pairs:
    """Pair each of `rows` with its exact copy, or else its near one. Rows without either are left out."""
    partner = np.where(exact >= 0, exact, near)
    has = partner >= 0
    pairs, is_exact = np.stack([partner[has], rows[has]], axis=1), exact[has] >= 0
    of_near = np.bincount(_describe_how(copies, pairs[~is_exact]), minlength=len(HOWS)).tolist()
    how = {name: count for name, count in zip(HOWS, of_near, strict=True) if count and name != HOWS[0]}
    return _Pairs(pairs, is_exact, how)


def _describe_how(copies: Copies, pairs: NDArray[np.int64]) -> NDArray[np.int8]:
    """Return (pairs,) what happened to near copies, as positions in HOWS."""
    count = len(copies.original)
    known, wanted = copies.near, np.sort(copies.original[pairs], axis=1)
    keys, order = known[:, 0] * count + known[:, 1], np.argsort(known[:, 0] * count + known[:, 1])
    return copies.how[order[np.searchsorted(keys[order], wanted[:, 0] * count + wanted[:, 1])]]


def _find_leakage(
    dataset: IngestedDataset, copies: Copies, firsts: list[tuple[NDArray[np.int64], NDArray[np.int64]]]
) -> AuditFinding | None:
    numbers: dict[str, Any] = {"undone": list(copies.undone)} if copies.undone else {}
    shown = []
    for held, seen in COMPARED:
        rows = dataset.splits[held]
        exact, near = firsts[SPLITS.index(seen)]
        pairs = _find_partners(copies, rows, exact[copies.original[rows]], near[copies.original[rows]])
        numbers[f"{held}_in_{seen}"] = pairs.numbers
        shown.append(pairs.rows)
    counts = {split: len(rows) for split, rows in dataset.splits.items()}
    return make_leakage(numbers, counts, **_list_examples(dataset, np.concatenate(shown)))


def _find_contradicting(dataset: IngestedDataset, copies: Copies) -> _Pairs:
    """Pair each image that has a copy with another label with the first of these copies."""
    labels, original = dataset.labels, copies.original
    everything = np.arange(len(labels))
    other = np.flatnonzero(labels != labels[original])
    exact, _ = _find_first(copies, other)
    # An image that differs from its original is paired with it; the others with the first that differs.
    exact = np.where(labels != labels[original], original, exact[original])
    contradicting = copies.near[labels[copies.near[:, 0]] != labels[copies.near[:, 1]]]
    _, near = _find_first(replace(copies, near=contradicting), everything)
    return _find_partners(copies, everything, exact, near[original])


def _describe_conflicts(
    dataset: IngestedDataset, copies: Copies, pairs: _Pairs, across: LabelPairs
) -> AuditFinding | None:
    if not len(pairs.rows):
        return None
    remark, wrong = _describe_wrong_labels(across, len(dataset.classes))
    share = len(pairs.rows) / len(dataset.labels)
    return AuditFinding(
        code="label_conflicts",
        severity="critical" if share >= CRITICAL_SHARE else "warning",
        numbers={
            **pairs.numbers,
            "share": round(share, 6),
            **({"undone": list(copies.undone)} if copies.undone else {}),
            **({"wrong_labels": wrong} if wrong else {}),
            "of_split": {split: int(np.isin(dataset.splits[split], pairs.rows).sum()) for split in SPLITS},
        },
        explanation=f"{describe_part(len(pairs.rows), len(dataset.labels))} have a copy with another label"
        f"{pairs.changes}. One picture has two labels; no network gets both right.{remark}",
        what_to_do="Decide on one label for each of these images, or leave them out.",
        **_list_examples(dataset, pairs.rows),
    )


def _describe_wrong_labels(across: LabelPairs, classes: int) -> tuple[str, dict[str, Any]]:
    """Say what copies across the splits tell about all labels; nothing if they are few, or hardly any differ."""
    pairs = sum(count for *_, count in across)
    agreeing = sum(count for own, other, count in across if own == other)
    if pairs < MIN_PAIRS_OF_LABELS or classes < 2:
        return "", {}
    share, (low, high) = estimate_wrong_share(agreeing, pairs, classes)
    if low < MIN_WRONG_LABELS:
        return "", {}
    return (
        f" Of {pairs:,} copies across the splits, {agreeing:,} have the same label. If they are like the other images, "
        f"about {rough_percent(share)} of the labels are wrong ({rough_percent(low)} to {rough_percent(high)}).",
        {"pairs": pairs, "agreeing": agreeing, "share": round(share, 4), "interval": [round(low, 4), round(high, 4)]},
    )


def _find_duplicates(
    dataset: IngestedDataset,
    copies: Copies,
    firsts: list[tuple[NDArray[np.int64], NDArray[np.int64]]],
    contradicting: NDArray[np.int64],
) -> AuditFinding | None:
    """Find repetitions within a split, except of images that are label conflicts: those need a decision first."""
    numbers: dict[str, Any] = {}
    shown, repeated, count = [], [], 0
    for (exact, near), split in zip(firsts, SPLITS, strict=True):
        in_split = dataset.splits[split]
        rows = in_split[~np.isin(in_split, contradicting)]
        before = [
            np.where(first[copies.original[rows]] < rows, first[copies.original[rows]], -1) for first in (exact, near)
        ]
        pairs = _find_partners(copies, rows, *before)
        numbers[split] = {**pairs.numbers, "share": round(len(pairs.rows) / len(in_split), 6)}
        shown.append(pairs.rows)
        if len(pairs.rows):
            repeated.append(describe_part(len(pairs.rows), len(in_split), split) + pairs.changes)
        count += len(pairs.rows)
    if not count:
        return None
    is_many = count >= CRITICAL_SHARE * len(dataset.labels)
    effect = "They count more than other images, and make the split look larger than it is."
    return AuditFinding(
        code="duplicates",
        severity="warning" if is_many else "info",
        numbers=numbers,
        explanation=f"{' and '.join(repeated)} {'is a copy' if count == 1 else 'are copies'} of another image of the "
        f"same split with the same label. {effect if is_many else 'So few hardly change a result.'}",
        what_to_do="Keep one of each, unless the repetition is meant as a weight."
        if is_many
        else "No action is needed. If the repetition is a mistake, keep one of each.",
        **_list_examples(dataset, np.concatenate(shown)),
    )


def _look_alikes(dataset: IngestedDataset, pairs: NDArray[np.int64]) -> AuditFinding | None:
    if not len(pairs):
        return None
    shown = [(dataset.example(first), dataset.example(second)) for first, second in pairs[:MAX_PAIRS].tolist()]
    return make_finding(shown, len(pairs))


def _list_examples(dataset: IngestedDataset, pairs: NDArray[np.int64]) -> dict[str, Any]:
    """List examples and pairs of a finding. Two images that are each other's partners are one pair."""
    _, first = np.unique(np.sort(pairs, axis=1), axis=0, return_index=True)
    pairs = pairs[np.sort(first)]
    return {
        "examples": dataset.examples(np.unique(pairs[: MAX_EXAMPLES // 2])),
        "pairs": [(dataset.example(left), dataset.example(right)) for left, right in pairs[:MAX_PAIRS].tolist()],
    }
