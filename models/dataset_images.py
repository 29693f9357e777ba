"""Lists the images of a split, optionally of one class, from a dataset's stored files."""

from collections.abc import Collection
from dataclasses import dataclass

from analysis.arrays.file_names import FileNames, make_members_key, read_names
from models.blob_files import open_blob
from models.blobs import BlobMissing, Blobs
from models.database import Session
from models.store import file_digests
from models.stored_files import read_file, read_labels, read_splits, require_whole


@dataclass(frozen=True)
class ListedImage:
    """An image. index: position in the dataset; label: position of its class; member: its name in the upload."""

    index: int
    label: int
    member: str | None


def list_split_images(
    session: Session, blobs: Blobs, dataset_id: str, sha256: str, split: str, label: int | None, after: int, limit: int
) -> tuple[list[ListedImage], int]:
    """List `limit` images of a split after the first `after`, and count all of them.

    Args:
        label: position of the wanted class. None for all classes.
    Raises:
        BlobMissing, DatasetDamaged, StorageUnavailable.
    """
    labels, indices = read_labels(session, blobs, sha256), read_splits(session, blobs, sha256)[split]
    if label is not None:
        indices = indices[labels[indices] == label]
    chosen = indices[after : after + limit].tolist()
    names = read_names_at(session, blobs, dataset_id, chosen)
    return [ListedImage(index, int(labels[index]), names.get(index)) for index in chosen], len(indices)


def find_positions(session: Session, blobs: Blobs, dataset_id: str, names: Collection[str]) -> dict[str, int]:
    """Find the positions of the images with these names. Omits unknown names. Raises like `list_split_images`."""
    key, wanted = make_members_key(dataset_id), set(names)
    if not wanted:
        return {}
    try:
        listed = FileNames(read_file(session, blobs, key))
    except BlobMissing:
        if file_digests.find(session, key) is not None:
            raise
        return {}
    return {name: index for index in range(len(listed)) if (name := listed[index]) in wanted}


def read_names_at(session: Session, blobs: Blobs, dataset_id: str, indices: Collection[int]) -> dict[int, str]:
    """Read the names of the images at these positions, if they have any. Raises like `list_split_images`."""
    key = make_members_key(dataset_id)
    try:
        require_whole(session, blobs, key)
        with open_blob(blobs, key) as file:
            return read_names(file, indices)
    except BlobMissing:
        if file_digests.find(session, key) is not None:
            raise
        return {}  # bundled datasets and uploads to early releases have no names
