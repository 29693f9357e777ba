"""Which images of a dataset are in a split and have a class, a page of them, from its stored files."""

import io
from dataclasses import dataclass

import numpy as np

from models.blobs import BlobMissing, Blobs
from models.file_names import FileNames, members_key


@dataclass(frozen=True)
class ListedImage:
    """index: position in the dataset; label: position of its class; member: its name in the upload."""

    index: int
    label: int
    member: str | None


def images_of_split(
    blobs: Blobs, dataset_id: str, sha256: str, split: str, label: int | None, after: int, limit: int
) -> tuple[list[ListedImage], int]:
    """`limit` images of a split after the first `after`, and how many there are in all.

    Args:
        label: position of the only class that is wanted; None for all.
    Raises:
        BlobMissing, StorageUnavailable.
    """
    labels = np.load(io.BytesIO(blobs.read(f"datasets/{sha256}/labels.npy")))
    with np.load(io.BytesIO(blobs.read(f"datasets/{sha256}/splits.npz"))) as splits:
        indices = splits[split]
    if label is not None:
        indices = indices[labels[indices] == label]
    names = _names(blobs, dataset_id)
    shown = [
        ListedImage(index, int(labels[index]), names[index] if names is not None and index < len(names) else None)
        for index in indices[after : after + limit].tolist()
    ]
    return shown, len(indices)


def _names(blobs: Blobs, dataset_id: str) -> FileNames | None:
    try:
        return FileNames(blobs.read(members_key(dataset_id)))
    except BlobMissing:
        return None  # bundled datasets have none, and neither have uploads to early releases
