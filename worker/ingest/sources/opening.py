"""Opens an upload, alone or appended to a stored version. Its first bytes tell the format, not its name."""

from collections import Counter
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from heldout.lifecycle.resources import RejectionCode
from heldout.spec.dataset import DatasetSpec, ResizeSpec
from worker.ingest.archives.containers import BLOCK, gunzip, holds_archives, is_tar, open_nested, open_tar, open_zip
from worker.ingest.archives.members import Archive
from worker.ingest.images.pixels import Pixels
from worker.ingest.pool import ProcessPool
from worker.ingest.rejection import IngestLimits, Rejection, format_size, make_broken_files
from worker.ingest.sources.arrays import ArraySource
from worker.ingest.sources.base import StoredImages, UploadSource, check_classes, check_shape
from worker.ingest.sources.layout import NAMED_EXTENSIONS, READ_EXTENSIONS, FolderSource
from worker.ingest.sources.stored import BaseVersion

EXPECTED = (
    "Expected are a zip, tar or tar.gz of `class/file` or `split/class/file`, an .npz of images and labels, or Parquet "
    "with the columns `image` and `label`."
)
OTHER_FORMATS = {
    b"\x93NUMPY": "a single array (.npy); save images and labels together with numpy.savez",
    b"BZh": "packed by bzip2; use gzip",
    b"\xfd7zXZ\0": "packed by xz; use gzip",
    b"\x28\xb5\x2f\xfd": "packed by zstd; use gzip",
    b"Rar!": "a rar; use zip",
    b"7z\xbc\xaf": "a 7z; use zip",
    b"\x89HDF": "HDF5; save the arrays with numpy.savez",
    b"\x80": "a pickle, which is never loaded; save the arrays with numpy.savez",
    b"\x89PNG": "one image; pack folders of them",
    b"\xff\xd8\xff": "one image; pack folders of them",
}


def open_source(source: Path, spec: DatasetSpec, scratch: Path, limits: IngestLimits) -> UploadSource:
    """Read names, labels and splits of an upload. Files are unpacked into the folder `scratch`.

    Raises:
        Rejection: the format is unknown, a limit is exceeded, or names and labels do not fit.
    """
    size = source.stat().st_size
    if size > limits.upload_bytes:
        raise Rejection(
            RejectionCode.UPLOAD_TOO_LARGE,
            f"The upload has {format_size(size)}; at most {format_size(limits.upload_bytes)} are accepted. Upload "
            "less, or ask the operator for a higher limit.",
        )
    with source.open("rb") as file:
        head = file.read(BLOCK)
        file.seek(max(0, size - 4))
        tail = file.read(4)
    if head[:4] == b"PAR1" and tail == b"PAR1":
        from worker.ingest.sources.tables import TableSource

        return TableSource([(source, "table")], (), limits)
    archive = _open_archive(source, scratch, limits)
    if archive is not None:
        return _make_source(archive, spec, scratch, limits)
    other = next((what for start, what in OTHER_FORMATS.items() if head.startswith(start)), None)
    begins = f"begins with {head[:8].hex(' ')}" if head else "is empty"
    raise Rejection(
        RejectionCode.NOT_AN_ARCHIVE, f"The file is {other}. {EXPECTED}" if other else f"The file {begins}. {EXPECTED}"
    )


def _open_archive(source: Path, scratch: Path, limits: IngestLimits) -> Archive | None:
    """Return the members of a zip, tar or tar.gz; None for any other file. Raises Rejection."""
    with source.open("rb") as file:
        head = file.read(BLOCK)
    if head[:4] in (b"PK\x03\x04", b"PK\x05\x06"):
        return open_zip(source, limits)
    if is_tar(head):
        return open_tar(source, limits)
    if head[:2] != b"\x1f\x8b":
        return None
    unpacked = scratch / f"{source.name}.tar"
    gunzip(source, unpacked, limits)
    with unpacked.open("rb") as file:
        if not is_tar(file.read(BLOCK)):
            raise Rejection(RejectionCode.NOT_AN_ARCHIVE, f"The gzip holds no tar. {EXPECTED}")
    return open_tar(unpacked, limits, "tar.gz")


def _make_source(archive: Archive, spec: DatasetSpec, scratch: Path, limits: IngestLimits) -> UploadSource:
    extensions = _list_extensions(archive)
    if extensions.isdisjoint(NAMED_EXTENSIONS | {"parquet", "npy"}) and holds_archives(archive):
        archive = open_nested(archive, scratch, limits, lambda path: _open_archive(path, scratch, limits))
        extensions = _list_extensions(archive)
    if extensions.isdisjoint(READ_EXTENSIONS) and extensions & {"parquet", "npy"}:
        if archive.faults:
            raise make_broken_files(archive.faults, can_skip=False)
        if "parquet" in extensions:
            from worker.ingest.sources.tables import TableSource, unpack_tables

            others = [name for name in archive.names if not name.lower().endswith(".parquet")]
            return TableSource(unpack_tables(archive, scratch), others, limits)
        return ArraySource(archive, limits)
    return FolderSource(archive, spec, limits)


def _list_extensions(archive: Archive) -> set[str]:
    return {name.rpartition(".")[2].lower() for name in archive.names}


class AddedSource(UploadSource):
    """The unchanged images of a version, followed by the images of an upload.

    The version's splits stay. An uploaded image goes to the split that the upload names, else to train, so that
    held-out images stay the same. New classes come after the version's.

    Raises:
        Rejection: `too_many_classes`, `bad_labels`.
    """

    def __init__(self, base: BaseVersion, upload: UploadSource, limits: IngestLimits) -> None:
        self._base, self._upload = base, upload
        self.kind = f"{base.called} with {upload.kind} added"
        known = base.images.classes
        self.classes = check_classes([*known, *(name for name in upload.classes if name not in known)], limits)
        label_of = np.array([self.classes.index(name) for name in upload.classes], np.int32)
        self.labels: NDArray[np.int32] = np.concatenate([base.images.labels, label_of[upload.labels]])
        self.given_splits: NDArray[np.int8] = np.concatenate([base.list_splits(), upload.given_splits])
        self.names = [*base.names, *upload.names]
        unknown = ([None] * len(base.names), [None] * len(upload.names))
        self.columns = {
            name: [*base.columns.get(name, unknown[0]), *upload.columns.get(name, unknown[1])]
            for name in dict.fromkeys([*base.columns, *upload.columns])
        }
        self.passed_over, self.left_out = upload.passed_over, upload.left_out
        self.notes = [*upload.notes, f"The first {len(base.names):,} images are those of {base.called}."]

    def store(self, path: Path, spec: DatasetSpec, limits: IngestLimits, pool: ProcessPool) -> StoredImages:
        """Decode the upload to the version's size and channels, and append its pixels.

        Raises:
            Rejection: also if the upload cannot be converted.
        """
        images, count = self._base.images, len(self._base.names)
        height, width, channels = images.shape
        rule = "pad" if spec.resize is None else spec.resize.rule
        alike = spec.model_copy(
            update={
                "resize": ResizeSpec(height=height, width=width, rule=rule),
                "colour": {1: "grey", 3: "rgb"}.get(channels, "auto"),
            }
        )
        added = self._upload.store(path.with_suffix(".added"), alike, limits, pool)
        self._require_alike(added)
        shape = (count + added.pixels.count, height, width, channels)
        pixels = Pixels.create(
            path, check_shape(shape, images.images.dtype.itemsize, limits, self._base.called), images.images.dtype
        )
        for first in range(0, count, pixels.rows_in_block):
            pixels.write_images(first, images.images[first : first + pixels.rows_in_block])
        for first in range(0, added.pixels.count, pixels.rows_in_block):
            rows = min(pixels.rows_in_block, added.pixels.count - first)
            pixels.write_images(count + first, added.pixels.read(first, rows))
        added.pixels.path.unlink()
        return StoredImages(
            pixels,
            images.value_range,
            added.encodings + Counter({f"stored {pixels.dtype}": count}),
            skipped=[count + row for row in added.skipped],
            faults=added.faults,
            notes=added.notes,
            different=self._base.different,
            copies=self._base.copies,
        )

    def _require_alike(self, added: StoredImages) -> None:
        images = self._base.images
        before = (images.shape, images.images.dtype, tuple(images.value_range))
        after = (added.pixels.shape[1:], added.pixels.dtype, tuple(added.value_range))
        if before == after:
            return
        forms = [
            f"{'×'.join(map(str, shape))} ({dtype}, {low:g} to {high:g})"
            for shape, dtype, (low, high) in (after, before)
        ]
        raise Rejection(
            RejectionCode.MIXED_SIZES,
            f"The uploaded images are {forms[0]}, those of {self._base.called} are {forms[1]}. Save them alike, or "
            "upload all images together as a dataset of their own.",
        )
