"""Reads and writes stored files of jobs and datasets, lists the images of a split, and computes the splits of jobs."""

import io
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from analysis.arrays.dataset import SPLITS
from analysis.arrays.features import Picture, load_picture
from analysis.arrays.file_names import FileNames, make_members_key, read_names
from analysis.arrays.folds import Positions, assign_job_folds, compute_job_splits, find_class_lacking_fold
from analysis.arrays.npy_rows import NpyRows
from analysis.arrays.relations import Relations, find_units, join_copies, load_relations, make_relations_key
from heldout.errors import ArtifactLost, CopiesNotKnown, DatasetLost, HeldoutError, ImageNotFound, InvalidSpec
from heldout.errors.missing import UNUSABLE
from heldout.fixes.leakage import join_leakage
from heldout.lifecycle.resources import RelationsStatus, SearchStatus
from heldout.spec.job import JobSpec
from heldout.stored.artifacts import ArtifactFormat, ArtifactName
from heldout.stored.audit import SplitLabels, StoredAudit, SuspectsSummary, audit_key, make_suspects_key
from heldout.stored.evaluation import StoredEvaluation
from heldout.stored.gap import StoredGap
from heldout.stored.looks import StoredLooks, make_features_key, make_looks_key
from models.blob_files import guard_reading, open_blob
from models.blobs import BlobMissing, Blobs, raise_if_missing
from models.database import Session
from models.digests import compute_file_digest, describe
from models.store import artifacts, file_digests
from models.store.artifacts import Artifact
from models.tables import DatasetRow

Stored = TypeVar("Stored", StoredEvaluation, StoredGap)
Suspects = TypeVar("Suspects", bound=SuspectsSummary)
Read = TypeVar("Read")


def read_file(session: Session, blobs: Blobs, key: str) -> bytes:
    """Read a small file and check its digest.

    Raises:
        BlobMissing, DatasetDamaged, ArtifactDamaged, StorageUnavailable.
    """
    return blobs.read(key, file_digests.find(session, key))


def read_labels(session: Session, blobs: Blobs, sha256: str) -> NDArray[np.int32]:
    """Read the labels of a content. Raises the same errors as `read_file`."""
    key = f"datasets/{sha256}/labels.npy"
    content = read_file(session, blobs, key)
    with guard_reading(key):
        labels: NDArray[np.int32] = np.load(io.BytesIO(content))
        return labels


def read_splits(session: Session, blobs: Blobs, sha256: str) -> dict[str, NDArray[np.int64]]:
    """Read the positions of the images in each split of a content. Raises the same errors as `read_file`."""
    key = f"datasets/{sha256}/splits.npz"
    content = read_file(session, blobs, key)
    with guard_reading(key), np.load(io.BytesIO(content)) as arrays:
        return {split: arrays[split] for split in SPLITS}


# Only the header and one row of the file are read.
_HEADER_BYTES = 1024


def read_image(session: Session, blobs: Blobs, dataset: DatasetRow, index: int) -> NDArray[Any]:
    """Read one image of a ready dataset, (height, width, channels).

    Raises:
        ImageNotFound, DatasetLost, DatasetDamaged, StorageUnavailable.
    """
    key = f"datasets/{dataset.sha256}/images.npy"
    expected = file_digests.find(session, key)
    with (
        raise_if_missing(DatasetLost(dataset.name)),
        guard_reading(key),
        open_blob(blobs, key, _HEADER_BYTES, expected) as file,
    ):
        rows = NpyRows(file)
        if not 0 <= index < len(rows):
            raise ImageNotFound(
                f"Dataset {dataset.name!r} has no image {str(index)[:20]}. Positions are 0 to {len(rows) - 1:,}."
            )
        return rows.one(index)


def store_artifact(blobs: Blobs, key: str, file: Path, name: ArtifactName, format_: ArtifactFormat) -> Artifact:
    """Store a file of a job. The caller writes its row.

    Raises:
        StorageUnavailable.
    """
    blobs.put(key, file)
    digest = compute_file_digest(file)
    return Artifact(name, format_, key, digest.size_bytes, digest.sha256)


def read_audit(session: Session, blobs: Blobs, dataset: DatasetRow) -> StoredAudit | None:
    """Read the audit of an upload. None for bundled datasets, and if there was no audit or the dataset was deleted.

    Copies that features found join those of the audit.

    A missing file without a stored digest may never have existed, because early releases made no audits.

    Raises:
        DatasetLost, DatasetDamaged, StorageUnavailable, FileOfLaterRelease.
    """
    if dataset.owner is None:
        return None
    key = audit_key(dataset.id)
    try:
        content = read_file(session, blobs, key)
    except BlobMissing as error:
        if dataset.deleted_at is not None or file_digests.find(session, key) is None:
            return None
        raise DatasetLost(dataset.name) from error
    with guard_reading(key):
        audit = StoredAudit.from_bytes(content)
    looks = read_unless_lost([], lambda: read_looks(session, blobs, dataset))
    counts = {split: about.count for split, about in audit.splits.items()}
    by_features = None if looks is None else looks.leakage
    return audit.model_copy(update={"findings": join_leakage(audit.findings, by_features, counts)})


def read_suspects(session: Session, blobs: Blobs, dataset: DatasetRow, as_: type[Suspects]) -> Suspects | None:
    """Read the result of the last search for wrong labels. None if no search has succeeded.

    Args:
        as_: the class to read: the complete result or its summary.
    Raises:
        DatasetLost, DatasetDamaged, StorageUnavailable, FileOfLaterRelease.
    """
    return _read_found(session, blobs, dataset, dataset.suspects_status, make_suspects_key(dataset.id), as_.from_bytes)


def read_looks(session: Session, blobs: Blobs, dataset: DatasetRow) -> StoredLooks | None:
    """Read what a dataset's features show. None if they were not computed. Raises like `read_suspects`."""
    key = make_looks_key(dataset.id)
    return _read_found(session, blobs, dataset, dataset.features_status, key, StoredLooks.from_bytes)


def _read_found(
    session: Session,
    blobs: Blobs,
    dataset: DatasetRow,
    status: SearchStatus | None,
    key: str,
    read: Callable[[bytes], Read],
) -> Read | None:
    if status is not SearchStatus.STORED:
        return None
    try:
        content = read_file(session, blobs, key)
    except BlobMissing as error:
        if dataset.deleted_at is not None:
            return None
        raise DatasetLost(dataset.name) from error
    with guard_reading(key):
        return read(content)


def read_picture(session: Session, blobs: Blobs, dataset: DatasetRow) -> Picture:
    """Read the neighbors and places of a dataset's images, without their features.

    Raises:
        BlobMissing, DatasetDamaged, StorageUnavailable.
    """
    key = make_features_key(dataset.id)
    with open_blob(blobs, key, expected=file_digests.find(session, key)) as file, guard_reading(key):
        return load_picture(file)


def read_wrong_labels(session: Session, blobs: Blobs, dataset: DatasetRow) -> Mapping[str, SplitLabels]:
    """Read the number of wrong labels per split. Empty unless a search could tell. Raises like `read_suspects`."""
    found = read_suspects(session, blobs, dataset, SuspectsSummary)
    return found.splits if found is not None and found.can_tell else {}


def read_artifact(blobs: Blobs, artifact: Artifact | None, as_: type[Stored]) -> Stored | None:
    """Read a job's JSON file, such as its scores. None if it has none, like results of earlier releases.

    Raises:
        ArtifactLost, ArtifactDamaged, StorageUnavailable, FileOfLaterRelease.
    """
    if artifact is None:
        return None
    with raise_if_missing(ArtifactLost(describe(artifact.key), artifact.key.split("/")[1])):
        content = blobs.read(artifact.key, artifact.digest)
    with guard_reading(artifact.key):
        return as_.from_bytes(content)


def read_unless_lost(left_out: list[HeldoutError], read: Callable[[], Read]) -> Read | None:
    """Call `read`. If the file is lost or damaged, add the reason to `left_out` and return None."""
    try:
        return read()
    except UNUSABLE as error:
        left_out.append(error)
        return None


def find_and_read(session: Session, blobs: Blobs, job_id: str, as_: type[Stored]) -> Stored | None:
    """Find a job's JSON file and read it as `read_artifact` does."""
    name = ArtifactName(as_.file_name.removesuffix(".json"))
    return read_artifact(blobs, artifacts.find(session, job_id, name, ArtifactFormat.JSON), as_)


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
    wanted = set(names)
    listed = read_all_names(session, blobs, dataset_id) if wanted else None
    if listed is None:
        return {}
    return {name: index for index in range(len(listed)) if (name := listed[index]) in wanted}


def read_all_names(session: Session, blobs: Blobs, dataset_id: str) -> FileNames | None:
    """Read the names of all images, if they have any. Raises like `list_split_images`."""
    key = make_members_key(dataset_id)
    try:
        return FileNames(read_file(session, blobs, key))
    except BlobMissing:
        if file_digests.find(session, key) is not None:
            raise
        return None


def read_names_at(session: Session, blobs: Blobs, dataset_id: str, indices: Collection[int]) -> dict[int, str]:
    """Read the names of the images at these positions, if they have any. Raises like `list_split_images`."""
    key = make_members_key(dataset_id)
    try:
        blobs.require_whole(key, file_digests.find(session, key))
        with open_blob(blobs, key) as file:
            return read_names(file, indices)
    except BlobMissing:
        if file_digests.find(session, key) is not None:
            raise
        return {}  # bundled datasets and uploads to early releases have no names


def read_stored_splits(session: Session, blobs: Blobs, dataset: DatasetRow, spec: JobSpec) -> dict[str, Positions]:
    """Call `compute_job_splits` on the small stored files of a ready dataset.

    Raises:
        DatasetLost, DatasetDamaged, StorageUnavailable.
    """
    labels, splits, relations = _read_stored(session, blobs, dataset, spec)
    return compute_job_splits(labels, splits, spec, relations)


def require_folds(session: Session, blobs: Blobs, dataset: DatasetRow, spec: JobSpec) -> None:
    """Check that the spec's folds, if any, can be cut now, and that they will always be cut in the same way.

    Raises:
        CopiesNotKnown: if the search for the dataset's copies has not ended.
        InvalidSpec: if a fold would have no image of some class.
        DatasetLost, DatasetDamaged, StorageUnavailable.
    """
    if spec.folds is None:
        return
    if dataset.relations_status not in {RelationsStatus.STORED, RelationsStatus.FAILED}:
        raise CopiesNotKnown(dataset.name)
    labels, splits, relations = _read_stored(session, blobs, dataset, spec)
    pool, folds = np.concatenate([splits["train"], splits["validation"]]), spec.folds.folds
    lacking = find_class_lacking_fold(labels, pool, assign_job_folds(labels, pool, spec.folds, relations), folds)
    if lacking is None:
        return
    name = (dataset.classes or ())[lacking]
    of_class = pool[labels[pool] == lacking]
    units = None if relations is None else find_units(relations)
    alone = len(of_class) if units is None else len(np.unique(units[of_class]))
    together = "" if alone == len(of_class) else f" in {alone:,} sets that belong together (copies and groups)"
    detail = (
        f"Class {name!r} has only {len(of_class):,} images{together} outside of test, too few for {folds} folds. "
        f"Use {'fewer folds' if alone > 2 else 'the splits of the dataset'}, or add images of that class."
    )
    raise InvalidSpec.at("/validation/folds", detail)


def list_copied_images(session: Session, blobs: Blobs, dataset: DatasetRow, spec: JobSpec) -> list[int]:
    """List the positions of a job's training images that have a copy among its held-out images, ascending.

    Raises:
        DatasetLost, DatasetDamaged, StorageUnavailable.
    """
    labels, splits, relations = _read_stored(session, blobs, dataset, spec, with_relations=True)
    if relations is None:
        return []
    own = compute_job_splits(labels, splits, spec, relations)
    looks = read_unless_lost([], lambda: read_looks(session, blobs, dataset))
    copy_of = relations.copy_of if looks is None else join_copies(relations.copy_of, looks.copies)
    held_out = np.concatenate([own["validation"], own["test"]])
    is_copied = np.isin(copy_of[own["train"]], copy_of[held_out])
    positions: list[int] = own["train"][is_copied].tolist()
    return positions


def uses_relations(dataset_status: RelationsStatus | None) -> bool:
    """Whether folds of a dataset keep copies and groups together. This never changes after a job was accepted."""
    return dataset_status is RelationsStatus.STORED


def _read_stored(
    session: Session, blobs: Blobs, dataset: DatasetRow, spec: JobSpec, *, with_relations: bool = False
) -> tuple[NDArray[np.int32], dict[str, Positions], Relations | None]:
    sha256, key = dataset.sha256 or "", make_relations_key(dataset.id)
    with raise_if_missing(DatasetLost(dataset.name)):
        labels, splits = read_labels(session, blobs, sha256), read_splits(session, blobs, sha256)
        relations = None
        if (with_relations or spec.folds is not None) and uses_relations(dataset.relations_status):
            content = read_file(session, blobs, key)
            with guard_reading(key):
                relations = load_relations(io.BytesIO(content))
    return labels, splits, relations
