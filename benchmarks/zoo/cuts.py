"""A set that is cut into splits, and what a fault changed in it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from benchmarks.zoo import sets

Rows = NDArray[np.int64]
Splits = Mapping[str, Rows]


@dataclass(frozen=True)
class Cut:
    """A set with its splits, each of them positions in the arrays; groups and labels as in `sets.Built`."""

    images: NDArray[np.uint8]
    labels: NDArray[np.int32]
    splits: Splits
    groups: NDArray[np.int32]
    classes: int


def cut_of(built: sets.Built, folds: Sequence[int], seed: int = 0) -> Cut:
    """The set, cut by its rule; another seed cuts it otherwise."""
    return Cut(built.images, built.labels, sets.split(built, folds, seed), built.groups, len(built.classes))


@dataclass(frozen=True)
class Change:
    """What one fault changed.

    field: what differs: images (pixels), labels, both (an image was replaced by another), or splits (images left
        the split, or changed places).
    rows: positions of the images that differ, or that left their split; share: of their split, before.
    sources: for copies, the position of the image that each of the rows is a copy of.
    """

    fault: str
    strength: float
    split: str
    field: Literal["images", "labels", "both", "splits"]
    rows: Rows
    share: float
    sources: Rows | None = None


Planter = Callable[[Cut, np.random.Generator, float], tuple[Cut, list[Change]]]


class NotApplicable(Exception):
    """The fault cannot be planted in this set: it has one channel, too few groups or too few images."""


def lowest(rows: Rows, draws: NDArray[np.floating], count: int) -> Rows:
    """The `count` rows with the lowest draws, in ascending order."""
    return np.sort(rows[np.argsort(draws[rows], kind="stable")[:count]])


def part_of(rows: Rows, draws: NDArray[np.floating], share: float) -> Rows:
    """A share of the rows, at least one of them."""
    return lowest(rows, draws, max(1, round(share * len(rows))))


def record_change(
    strength: float,
    split: str,
    field: Literal["images", "labels", "both", "splits"],
    rows: Rows,
    whole: Rows,
    sources: Rows | None = None,
) -> list[Change]:
    """One change of a split that had the rows `whole` before; `plant` adds the fault's name."""
    return [Change("", strength, split, field, rows, len(rows) / len(whole), sources)]
