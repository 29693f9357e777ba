"""Which images of a dataset are in a split and have a class, a page of them, from its stored files."""

from dataclasses import dataclass

from models.blobs import BlobMissing, Blobs
from models.database import Session
from models.file_names import FileNames, members_key
from models.store import file_digests
from models.stored_files import read_file, read_labels, read_splits


@dataclass(frozen=True)
class ListedImage:
    """index: position in the dataset; label: position of its class; member: its name in the upload."""

    index: int
    label: int
    member: str | None


def images_of_split(
    session: Session, blobs: Blobs, dataset_id: str, sha256: str, split: str, label: int | None, after: int, limit: int
) -> tuple[list[ListedImage], int]:
    """`limit` images of a split after the first `after`, and how many there are in all.

    Args:
        label: position of the only class that is wanted; None for all.
    Raises:
        BlobMissing, DatasetDamaged, StorageUnavailable.
    """
    labels, indices = read_labels(session, blobs, sha256), read_splits(session, blobs, sha256)[split]
    if label is not None:
        indices = indices[labels[indices] == label]
    names = _names(session, blobs, dataset_id)
    shown = [
        ListedImage(index, int(labels[index]), names[index] if names is not None and index < len(names) else None)
        for index in indices[after : after + limit].tolist()
    ]
    return shown, len(indices)


def _names(session: Session, blobs: Blobs, dataset_id: str) -> FileNames | None:
    key = members_key(dataset_id)
    try:
        return FileNames(read_file(session, blobs, key))
    except BlobMissing:
        if file_digests.find(session, key) is not None:
            raise
        return None  # bundled datasets have none, and neither have uploads to early releases
