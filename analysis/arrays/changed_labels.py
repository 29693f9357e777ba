"""The labels and classes of a dataset after the changes that make a new version of it."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from analysis.arrays.dataset import SPLITS
from heldout.fixes.changes import VersionChanges


def change_labels(
    changes: VersionChanges,
    labels: NDArray[np.int32],
    split_of: NDArray[np.int8],
    classes: Sequence[str],
    relabel: Mapping[int, str],
) -> NDArray[np.int32]:
    """Return (images,) labels in the classes as they are, before any class is renamed for all splits.

    Args:
        split_of: (images,) positions in SPLITS.
        relabel: the new classes of images by their positions.
    """
    label_of = {name: label for label, name in enumerate(classes)}
    changed = labels.copy()
    for code, split in enumerate(SPLITS):
        meant = changes.get_for_split(split)
        to = np.array([label_of[meant.get(name, name)] for name in classes], np.int32)
        changed[split_of == code] = to[labels[split_of == code]]
    for row, name in relabel.items():
        changed[row] = label_of[name]
    return changed


def rename_classes(classes: Sequence[str], renamed: Mapping[str, str]) -> tuple[tuple[str, ...], NDArray[np.int32]]:
    """Return the new class names, each once and in order of appearance, and the position there of each old class."""
    left = tuple(dict.fromkeys(renamed.get(name, name) for name in classes))
    return left, np.array([left.index(renamed.get(name, name)) for name in classes], np.int32)
