"""The members of a zip: `zipfile` reads the directory; links, guesses and skipped entries are refused here."""

import stat
import struct
import zipfile
from pathlib import Path

import numpy as np

from heldout.lifecycle.resources import RejectionCode
from worker.ingest.archives.members import (
    LOCAL_HEADER_BYTES,
    ZIP_DEFLATED,
    ZIP_STORED,
    Archive,
    BoundedReader,
    MemberList,
    ReadTooMuch,
    make_damaged,
    make_too_many,
)
from worker.ingest.archives.names import decode_name
from worker.ingest.limits import IngestLimits
from worker.ingest.rejection import Rejection, clean_name, format_size

# Average size of a directory entry. `zipfile` creates an object for every entry before it reports their number.
MAX_ENTRY_BYTES = 256
DIRECTORY_END_BYTES = 128 * 1024  # also read: the end of the file, with its comment
METHODS = {zipfile.ZIP_STORED: ZIP_STORED, zipfile.ZIP_DEFLATED: ZIP_DEFLATED}
ENCRYPTED = 0x1 | 0x40 | 0x2000  # flags: encrypted, strongly encrypted, its directory hidden
CREATED_ON_UNIX = 3
# What `zipfile` raises on zips that are broken on purpose.
ZIP_ERRORS = (zipfile.BadZipFile, NotImplementedError, ValueError, OSError, struct.error, LookupError)


def open_zip(path: Path, limits: IngestLimits) -> Archive:
    """The members of a zip.

    Raises:
        Rejection: if the directory is damaged, exceeds a limit, or lists a member that cannot be extracted safely.
    """
    entries, directory_start = _read_directory(path, limits)
    found = MemberList(limits)
    spans = np.zeros((len(entries), 2), np.int64)
    for number, entry in enumerate(entries):
        name = entry.orig_filename  # `filename` ends at a zero byte
        _check(entry, name)
        start = entry.header_offset
        if start < 0:  # its directory says that it begins later than it does
            raise make_damaged("a member lies before the data")
        spans[number] = start, start + LOCAL_HEADER_BYTES + len(name.encode()) + entry.compress_size
        if _is_special(entry):
            found.leave_out(_make_special(name))
            continue
        found.add(name, start, entry.compress_size, entry.file_size, entry.CRC, METHODS[entry.compress_type])
    spans = spans[np.argsort(spans[:, 0], kind="stable")]
    if len(spans) and spans[-1, 1] > directory_start:
        raise make_damaged("a member lies beyond the data")
    if np.any(spans[1:, 0] < spans[:-1, 1]):
        raise Rejection(
            RejectionCode.ARCHIVE_BOMB, "Members of the archive overlap. Pack it with an ordinary zip tool."
        )
    return found.archive(path, "zip")


def _read_directory(path: Path, limits: IngestLimits) -> tuple[list[zipfile.ZipInfo], int]:
    """The entries, and where the directory begins. Raises Rejection."""
    most_bytes = DIRECTORY_END_BYTES + limits.members * MAX_ENTRY_BYTES
    try:
        with (
            BoundedReader(path, most_bytes) as file,
            zipfile.ZipFile(file, metadata_encoding="utf-8") as archive,
        ):
            entries, start = archive.infolist(), archive.start_dir
    except ReadTooMuch:
        raise Rejection(
            RejectionCode.TOO_MANY_MEMBERS,
            f"The zip's directory is larger than {format_size(most_bytes)}. Pack fewer files, or ask the operator for "
            "a higher limit.",
        ) from None
    except UnicodeDecodeError as error:
        decode_name(error.object)
        raise make_damaged("its directory has text that is not UTF-8") from None
    except ZIP_ERRORS:
        raise make_damaged("its directory cannot be read") from None
    if len(entries) > limits.members:
        raise make_too_many(limits)
    return entries, start


def _check(entry: zipfile.ZipInfo, name: str) -> None:
    """Refuse a member that cannot be followed safely. Raises Rejection."""
    if entry.flag_bits & ENCRYPTED:
        raise Rejection(
            RejectionCode.UNSUPPORTED_ARCHIVE, f"{clean_name(name)!r} is encrypted. Pack it without a password.", name
        )
    if entry.volume:
        raise Rejection(RejectionCode.UNSUPPORTED_ARCHIVE, "The zip is one of several volumes. Pack it as one file.")
    if entry.compress_type not in METHODS:
        raise Rejection(
            RejectionCode.UNSUPPORTED_ARCHIVE,
            f"{clean_name(name)!r} is packed by method {entry.compress_type}; stored and deflated are read. "
            "Pack it with an ordinary zip tool.",
            name,
        )
    if entry.compress_type == zipfile.ZIP_STORED and entry.compress_size != entry.file_size:
        raise make_damaged(f"{clean_name(name)!r} has two sizes", name)


def _is_special(entry: zipfile.ZipInfo) -> bool:
    mode = entry.external_attr >> 16 if entry.create_system == CREATED_ON_UNIX else 0
    return stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR)


def _make_special(name: str) -> Rejection:
    return Rejection(
        RejectionCode.UNSAFE_MEMBER,
        f"{clean_name(name)!r} is a link or a special file. Pack the files themselves (`zip` without `-y`).",
        name,
    )
