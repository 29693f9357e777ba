"""Tells the format of an upload by its first bytes; its name does not matter."""

from pathlib import Path

from heldout.lifecycle.dataset import RejectionCode
from heldout.spec.dataset import DatasetSpec
from worker.ingest.archives.members import Archive
from worker.ingest.archives.tars import BLOCK, gunzip, is_tar, open_tar
from worker.ingest.archives.zips import open_zip
from worker.ingest.limits import Limits
from worker.ingest.rejection import Rejection, amount, broken_files
from worker.ingest.sources.arrays import ArraySource
from worker.ingest.sources.base import Source
from worker.ingest.sources.folder import FolderSource
from worker.ingest.sources.layout import READ_EXTENSIONS

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


def open_source(source: Path, spec: DatasetSpec, scratch: Path, limits: Limits) -> Source:
    """Read names, labels and splits of an upload; what has to be unpacked goes into the folder `scratch`.

    Raises:
        Rejection: if it is of no known format, passes a limit, or its names and labels do not fit.
    """
    size = source.stat().st_size
    if size > limits.upload_bytes:
        raise Rejection(
            RejectionCode.UPLOAD_TOO_LARGE,
            f"The upload has {amount(size)}; at most {amount(limits.upload_bytes)} are accepted. Upload less, or ask "
            "the operator for a higher limit.",
        )
    with source.open("rb") as file:
        head = file.read(BLOCK)
        file.seek(max(0, size - 4))
        tail = file.read(4)
    if head[:4] == b"PAR1" and tail == b"PAR1":
        from worker.ingest.sources.tables import TableSource

        return TableSource([(source, "table")], (), limits)
    if head[:4] in (b"PK\x03\x04", b"PK\x05\x06"):
        return _of_archive(open_zip(source, limits), spec, scratch, limits)
    if is_tar(head):
        return _of_archive(open_tar(source, limits), spec, scratch, limits)
    if head[:2] == b"\x1f\x8b":
        unpacked = scratch / "unpacked.tar"
        gunzip(source, unpacked, limits)
        with unpacked.open("rb") as file:
            if not is_tar(file.read(BLOCK)):
                raise Rejection(RejectionCode.NOT_AN_ARCHIVE, f"The gzip holds no tar. {EXPECTED}")
        return _of_archive(open_tar(unpacked, limits, "tar.gz"), spec, scratch, limits)
    other = next((what for start, what in OTHER_FORMATS.items() if head.startswith(start)), None)
    begins = f"begins with {head[:8].hex(' ')}" if head else "is empty"
    raise Rejection(
        RejectionCode.NOT_AN_ARCHIVE, f"The file is {other}. {EXPECTED}" if other else f"The file {begins}. {EXPECTED}"
    )


def _of_archive(archive: Archive, spec: DatasetSpec, scratch: Path, limits: Limits) -> Source:
    extensions = {name.rpartition(".")[2].lower() for name in archive.names}
    if extensions.isdisjoint(READ_EXTENSIONS) and extensions & {"parquet", "npy"}:
        if archive.faults:
            raise broken_files(archive.faults, can_skip=False)
        if "parquet" in extensions:
            from worker.ingest.sources.tables import TableSource, tables_in

            others = [name for name in archive.names if not name.lower().endswith(".parquet")]
            return TableSource(tables_in(archive, scratch), others, limits)
        return ArraySource(archive, limits)
    return FolderSource(archive, spec, limits)
