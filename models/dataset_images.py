"""Which images of a dataset are in a split and have a class, a page of them, from its stored files."""

from collections.abc import Sequence
from dataclasses import dataclass

from models.blob_files import open_blob
from models.blobs import BlobMissing, Blobs
from models.database import Session
from models.file_names import members_key, names_of
from models.store import file_digests
from models.stored_files import read_labels, read_splits, require_whole


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
    chosen = indices[after : after + limit].tolist()
    names = _names(session, blobs, dataset_id, chosen)
    return [ListedImage(index, int(labels[index]), names.get(index)) for index in chosen], len(indices)


def _names(session: Session, blobs: Blobs, dataset_id: str, indices: Sequence[int]) -> dict[int, str]:
    key = members_key(dataset_id)
    try:
        require_whole(session, blobs, key)
        with open_blob(blobs, key) as file:
            return names_of(file, indices)
    except BlobMissing:
        if file_digests.find(session, key) is not None:
            raise
        return {}  # bundled datasets have none, and neither have uploads to early releases
