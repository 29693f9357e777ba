"""Which images of a dataset belong together: copies of each other, and members of one group. Beside its other files."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

FILE_NAME = "relations.npz"


@dataclass(frozen=True)
class Relations:
    """What belongs together, image by image.

    copy_of: (images,) int32, the position of the first image of its cluster of copies; an image without copies has its
        own position.
    group: (images,) int32, its group by the upload's rule (patient, source photograph, ...); null where the upload has
        none.
    """

    copy_of: NDArray[np.int32]
    group: NDArray[np.int32] | None = None

    def related_to(self, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
        """(images,) whether an image has a copy or a member of its group among the images at `rows`."""
        related = np.isin(self.copy_of, self.copy_of[rows])
        if self.group is not None:
            related |= np.isin(self.group, self.group[rows])
        return related


def units_of(relations: Relations) -> NDArray[np.int64] | None:
    """(images,) a number for each unit of images that belong together, by copies, groups or a chain of both.

    None where each image is alone.
    """
    units = relations.copy_of
    if relations.group is not None:
        _, first, which = np.unique(relations.group, return_index=True, return_inverse=True)
        pairs = np.unique(np.stack([units, units[first[which]]], axis=1), axis=0)
        units = first_of_joined(len(units), pairs.tolist())[units]
    return None if np.array_equal(units, np.arange(len(units))) else units.astype(np.int64)


def first_of_joined(count: int, pairs: Iterable[Sequence[int]]) -> NDArray[np.int32]:
    """(count,) the first of the images that a chain of pairs joins an image with."""
    first_of: dict[int, int] = {}  # towards the first image, for those that pairs join

    def first(row: int) -> int:
        while (before := first_of.get(row, row)) != row:
            first_of[row] = first_of.get(before, before)  # keeps the next way short
            row = before
        return row

    for one, other in pairs:
        earlier, later = sorted((first(one), first(other)))
        first_of[later] = earlier
    firsts = np.arange(count, dtype=np.int32)
    for row in first_of:
        firsts[row] = first(row)
    return firsts


def relations_key(dataset_id: str) -> str:
    """Where the relations of a dataset are stored. They belong to the dataset, not to its content: groups do."""
    return f"datasets/{dataset_id}/{FILE_NAME}"


def save_relations(relations: Relations, file: Path) -> None:
    """Write the relations into `file`."""
    arrays = {"copy_of": relations.copy_of.astype(np.int32)}
    if relations.group is not None:
        arrays["group"] = relations.group.astype(np.int32)
    np.savez_compressed(file, **arrays)  # type: ignore[arg-type]


def load_relations(file: Path | BinaryIO) -> Relations:
    """Read what `save_relations` wrote."""
    with np.load(file) as arrays:
        return Relations(arrays["copy_of"], arrays.get("group"))
