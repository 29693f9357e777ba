"""The related images of a dataset: copies of each other, and members of one group; a file next to its others."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import sqrt
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from analysis.arrays.dataset import SPLITS
from heldout.statistics import compute_wilson_interval
from heldout.stored.looks import StoredLooks

FILE_NAME = "relations.npz"
# The splits in which an image of a cluster of copies stays, best first: held-out images are few.
_FIRST_TO_STAY = ("test", "validation", "train")


@dataclass(frozen=True)
class Relations:
    """The relations of each image.

    copy_of: (images,) int32, the position of the first image of its cluster of copies; an image without copies has its
        own position.
    group: (images,) int32, its group by the upload's rule (patient, source photograph, ...); null if the upload has
    none.
    """

    copy_of: NDArray[np.int32]
    group: NDArray[np.int32] | None = None

    def units(self) -> NDArray[np.int32]:
        """Return (images,) a number for each unit of related images, by copies, groups or a chain of both."""
        units = self.copy_of.astype(np.int32)
        if self.group is None:
            return units
        while True:  # a unit takes the smallest number in its group, and after some rounds the smallest of its chain
            before = units
            for joined in (self.group, self.copy_of):
                _, which = np.unique(joined, return_inverse=True)
                smallest = np.full(len(units), len(units), np.int32)
                np.minimum.at(smallest, which, units)
                units = smallest[which]
            if np.array_equal(units, before):
                return units

    def find_related(self, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return (images,) whether an image has a copy or a member of its group among the images at `rows`."""
        related = np.isin(self.copy_of, self.copy_of[rows])
        if self.group is not None:
            related |= np.isin(self.group, self.group[rows])
        return related


def estimate_wrong_share(agreeing: int, pairs: int, classes: int) -> tuple[float, tuple[float, float]]:
    """Estimate the share of wrong labels from how many pairs of copies have the same label, with a 95% interval.

    Both labels of a pair are wrong equally often, and each wrong label is any other class equally often.
    """

    def solve(share: float) -> float:
        # If a share r of labels is right, r² + (1 - r)² / (classes - 1) of the pairs agree.
        root = sqrt(max(0.0, 1 - classes * (1 - share * (classes - 1))))
        return 1 - (1 + root) / classes

    low, high = compute_wilson_interval(agreeing, pairs)
    return solve(agreeing / pairs), (solve(high), solve(low))


@dataclass(frozen=True)
class HeldOutRelations:
    """The relations of a held-out split's images.

    is_related: (count,) whether an image has a copy, or a member of its group, in training. unit: (count,) the unit of
        related images that it belongs to; None if unknown.
    twin_label: (count,) the label of its copy in training, -1 if it has none; None if unknown.
    named: (count,) the group that its file name suggests, by the rule `named_by`; None if names suggest none.
    """

    is_related: NDArray[np.bool_]
    unit: NDArray[np.int32] | None = None
    twin_label: NDArray[np.int32] | None = None
    named: NDArray[np.int64] | None = None
    named_by: str = ""


LabelPairs = tuple[tuple[int, int, int], ...]


def join_copies(copy_of: NDArray[np.int32], pairs: Sequence[tuple[int, int]]) -> NDArray[np.int32]:
    """Return (images,) the first image of each cluster of copies, with more pairs of copies.

    Args:
        copy_of: (images,) of `Relations`.
    """
    first_of = np.arange(len(copy_of), dtype=np.int32)

    def find(image: int) -> int:
        while first_of[image] != image:
            image = int(first_of[image])
        return image

    for pair in pairs:
        first, second = sorted(find(int(copy_of[image])) for image in pair)
        first_of[second] = first
    return np.array([find(image) for image in first_of.tolist()], np.int32)[copy_of] if pairs else copy_of


def find_twin_labels(
    copy_of: NDArray[np.int32], rows: NDArray[np.int64], train: NDArray[np.int64], train_labels: NDArray[np.int32]
) -> NDArray[np.int32]:
    """Return for each of `rows` the label of its first copy among the training images, -1 if it has none.

    Args:
        copy_of: (images,) of `Relations`.
        train_labels: of the images at `train`.
    """
    label_of = np.full(len(copy_of), -1, np.int32)
    label_of[copy_of[train[::-1]]] = train_labels[::-1]
    return label_of[copy_of[rows]]


def count_label_pairs(labels: NDArray[np.int32], twin_labels: NDArray[np.int32]) -> LabelPairs:
    """Count copies by their label and that of their copy in training: (label, label of the copy, how many)."""
    has = twin_labels >= 0
    pairs, counts = np.unique(np.stack([labels[has], twin_labels[has]], axis=1), axis=0, return_counts=True)
    return tuple((own, other, count) for (own, other), count in zip(pairs.tolist(), counts.tolist(), strict=True))


def find_units(relations: Relations) -> NDArray[np.int64] | None:
    """Return (images,) a number for each unit of related images, by copies, groups or a chain of both.

    None where each image is alone.
    """
    units = relations.units()
    return None if np.array_equal(units, np.arange(len(units))) else units.astype(np.int64)


def find_superfluous_copies(
    copy_of: NDArray[np.int32], labels: NDArray[np.int32], split_of: NDArray[np.int8]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return rows of copies to drop so that one of each cluster stays, and rows of clusters with different labels.

    Args: all (images,); copy_of is the same for the images of one cluster; split_of positions in SPLITS.
    """
    sizes = np.bincount(copy_of, minlength=len(copy_of))
    in_cluster = np.flatnonzero(sizes[copy_of] > 1)
    if not len(in_cluster):
        return in_cluster, in_cluster
    clusters = copy_of[in_cluster]
    _, first, which = np.unique(clusters, return_index=True, return_inverse=True)
    differs = labels[in_cluster] != labels[in_cluster][first][which]
    is_conflict = np.isin(clusters, clusters[differs])
    conflicting, agreeing = in_cluster[is_conflict], in_cluster[~is_conflict]
    preference = np.array([_FIRST_TO_STAY.index(split) for split in SPLITS])
    order = np.lexsort((agreeing, preference[split_of[agreeing]], copy_of[agreeing]))
    ordered = agreeing[order]
    is_first = np.append(True, copy_of[ordered][1:] != copy_of[ordered][:-1])[: len(ordered)]
    return np.sort(ordered[~is_first]), conflicting


def make_relations_key(dataset_id: str) -> str:
    """Return where the relations of a dataset are stored.

    They belong to the dataset and not to its content, as groups do.
    """
    return f"datasets/{dataset_id}/{FILE_NAME}"


def save_relations(relations: Relations, file: Path) -> None:
    """Write the relations into `file`."""
    arrays = {"copy_of": relations.copy_of.astype(np.int32)}
    if relations.group is not None:
        arrays["group"] = relations.group.astype(np.int32)
    np.savez_compressed(file, **arrays)  # type: ignore[arg-type]


def load_relations(file: Path | BinaryIO) -> Relations:
    """Read the file of `save_relations`."""
    with np.load(file) as arrays:
        return Relations(arrays["copy_of"], arrays.get("group"))


def load_known_relations(file: Path | None, looks: Path | None) -> Relations | None:
    """Read the relations with the copies that features found; None if there are none.

    They say what held-out images have in common with training images. Splits and folds are cut without them.

    Args:
        looks: the file of `StoredLooks`.
    """
    if file is None:
        return None
    relations = load_relations(file)
    if looks is None:
        return relations
    return replace(relations, copy_of=join_copies(relations.copy_of, StoredLooks.from_bytes(looks.read_bytes()).copies))
