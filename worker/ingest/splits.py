"""The splits of a dataset: from the upload, or cut from train by a fixed rule.

Copies of an image stay in one split, and so do members of a group.
"""

import re
import signal
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from analysis.arrays.dataset import SPLITS
from heldout.lifecycle.resources import RejectionCode
from heldout.spec.dataset import SplitSpec
from worker.ingest.rejection import Rejection, clean_name

NO_SPLIT = -1
# Processor time in which a group rule must match all names. A million names take a second or two.
GROUPING_S = 30.0


@dataclass(frozen=True)
class Splits:
    """Ascending positions of each split's images, and where it came from in words. cut: splits cut from train."""

    indices: Mapping[str, NDArray[np.int64]]
    origin: Mapping[str, str]
    cut: tuple[str, ...]


def find_groups(names: Sequence[str], pattern: str | None, limit_s: float = GROUPING_S) -> NDArray[np.int64] | None:
    """Return (images,) the number of each image's group, in order of appearance; None without a rule.

    Runs only in a process's main thread, because only that can stop a matcher.

    Raises:
        Rejection: `group_unmatched` with the first name that the rule does not match; `group_too_slow`.
    """
    if pattern is None:
        return None
    search = re.compile(pattern).search
    numbers: dict[str, int] = {}
    groups = np.empty(len(names), np.int64)
    unmatched = []
    with _stop_after(limit_s, pattern):
        for row, name in enumerate(names):
            found = search(name)
            if found is None or found[1] is None:
                unmatched.append(name)
            else:
                groups[row] = numbers.setdefault(found[1], len(numbers))
    if unmatched:
        count = f" and {len(unmatched) - 1:,} more of {len(names):,} names" if len(unmatched) > 1 else ""
        raise Rejection(
            RejectionCode.GROUP_UNMATCHED,
            f"The group rule {pattern!r} does not match {clean_name(unmatched[0])!r}{count}. It must match every name: "
            "widen it, or leave it out.",
            unmatched[0],
        )
    return groups


@contextmanager
def _stop_after(limit_s: float, pattern: str) -> Iterator[None]:
    """Stop a match that takes too long: some patterns take forever. Python's matcher handles signals."""

    def stop(*_: object) -> None:
        raise Rejection(
            RejectionCode.GROUP_TOO_SLOW,
            f"The group rule {pattern!r} takes too long to match. Repeat nothing that is repeated itself, as in "
            "`(?:a+)+`.",
        )

    before = signal.signal(signal.SIGVTALRM, stop)
    signal.setitimer(signal.ITIMER_VIRTUAL, limit_s)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


def make_splits(
    labels: NDArray[np.int32],
    given_splits: NDArray[np.int8],
    rule: SplitSpec,
    units: NDArray[np.int64] | None = None,
) -> Splits:
    """Return the upload's own splits, and cut the missing ones from train.

    Args: labels (images,); given_splits (images,) positions in SPLITS or NO_SPLIT, all of which counts as train; units
        (images,) numbers, equal for images that are cut together.
    Raises:
        Rejection: `too_few_images` if a split is empty.
    """
    if rule.existing == "merge":
        given_splits = np.full_like(given_splits, NO_SPLIT)
    train = np.flatnonzero((given_splits == NO_SPLIT) | (given_splits == SPLITS.index("train")))
    if not len(train):
        raise Rejection(RejectionCode.TOO_FEW_IMAGES, "The upload has splits, but no train split. Add one.")
    indices = {"train": train}
    origin = {"train": "upload" if np.any(given_splits >= 0) else "images that were not cut off"}
    own = []
    for split, share in (("test", rule.test), ("validation", rule.validation)):
        indices[split] = np.flatnonzero(given_splits == SPLITS.index(split))
        origin[split] = "upload"
        if not len(indices[split]):
            indices["train"], indices[split] = cut_off(labels, indices["train"], share, rule.seed, units)
            origin[split] = (
                f"cut from train: of each class the last {share:g} (rounded down, at least one image) of a permutation "
                f"from numpy.random.default_rng({rule.seed})"
                + (", copies and groups kept together" if units is not None else "")
            )
            own.append(split)
    for split in SPLITS:
        if not len(indices[split]):
            raise Rejection(
                RejectionCode.TOO_FEW_IMAGES,
                f"With {len(labels)} images the {split} split is empty. Upload more"
                + (" that are not copies of each other, or choose a finer group rule." if units is not None else "."),
            )
    return Splits({split: indices[split] for split in SPLITS}, {split: origin[split] for split in SPLITS}, tuple(own))


def cut_off(
    labels: NDArray[np.int32], train: NDArray[np.int64], share: float, seed: int, units: NDArray[np.int64] | None
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Shuffle `train`, and cut off the last share of each class, at least one image. Returns the rest and the part.

    With units, whole units are cut. A unit has the position of its first image, and the class of most of its images.
    Units are cut from the end while that brings the class closer to its share. The only unit of a class stays in
    train.
    """
    shuffled = np.random.default_rng(seed).permutation(train)
    exact = Fraction(str(share))
    held = []
    for label in np.unique(labels[train]):
        if units is None:
            of_class = shuffled[labels[shuffled] == label]
            held.append(of_class[len(of_class) - _count_to_cut(len(of_class), exact) :])
    if units is not None:
        held = _choose_whole_units(labels, shuffled, exact, units)
    cut_off = np.sort(np.concatenate(held)) if held else np.empty(0, np.int64)
    return np.setdiff1d(train, cut_off), cut_off


def _count_to_cut(count: int, share: Fraction) -> int:
    return max(1, int(count * share))


def _choose_whole_units(
    labels: NDArray[np.int32], shuffled: NDArray[np.int64], share: Fraction, units: NDArray[np.int64]
) -> list[NDArray[np.int64]]:
    order = np.argsort(units[shuffled], kind="stable")
    numbers, starts = np.unique(units[shuffled][order], return_index=True)
    members = dict(zip(numbers.tolist(), np.split(shuffled[order], starts[1:]), strict=True))
    seen = dict.fromkeys(units[shuffled].tolist())  # Units in shuffled order, by their first images.
    of_label: dict[int, list[NDArray[np.int64]]] = {}
    for number in seen:
        unit = members[number]
        majority = int(labels[unit[0]] if len(unit) == 1 else np.argmax(np.bincount(labels[unit])))
        of_label.setdefault(majority, []).append(unit)
    held = []
    for of_class in of_label.values():
        if len(of_class) == 1:
            continue
        wanted = _count_to_cut(sum(map(len, of_class)), share)
        most_units = max(1, len(of_class) // 2)  # Train and the next split need units too.
        taken = units_taken = 0
        for unit in reversed(of_class):
            if abs(taken + len(unit) - wanted) < abs(taken - wanted):
                held.append(unit)
                taken += len(unit)
                units_taken += 1
            if taken >= wanted or units_taken == most_units:
                break
        if not taken:  # Each unit is larger than twice the share.
            held.append(min(reversed(of_class), key=len))
    return held
