"""The directory of a zip, read strictly: what tools could disagree about is refused."""

import os
import stat
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np

from heldout.dataset_lifecycle import RejectionCode
from worker.ingest.archives.members import (
    LOCAL_HEADER_BYTES,
    ZIP_DEFLATED,
    ZIP_STORED,
    Archive,
    Collector,
    damaged,
    too_many,
)
from worker.ingest.archives.names import decoded
from worker.ingest.limits import Limits
from worker.ingest.rejection import Rejection, printable

END = struct.Struct("<4s4H2IH")
END64_PLACE = struct.Struct("<4sIQI")
END64 = struct.Struct("<4sQ2H2I4Q")
# Of an entry: its system, flags, method, checksum, sizes, the lengths of name, extra fields and comment, mode, offset.
ENTRY = struct.Struct("<5xB2x2H4x3I3H4x2I")
LONGEST_ENTRY = ENTRY.size + 3 * 0xFFFF
WINDOW_BYTES = 1024 * 1024
WIDE = 0xFFFFFFFF  # stands for a number that does not fit
LONGEST_COMMENT = 0xFFFF
METHODS = {0: ZIP_STORED, 8: ZIP_DEFLATED}
ENCRYPTED = 0x1 | 0x40 | 0x2000  # flags: encrypted, strongly encrypted, its directory hidden
UNIX = 3


class _Directory(NamedTuple):
    entries: int
    start: int
    size: int


class _Entry(NamedTuple):
    raw_name: bytes
    offset: int
    packed: int
    size: int
    crc: int
    method: int
    flags: int
    mode: int


def open_zip(path: Path, limits: Limits) -> Archive:
    """The members of a zip.

    Raises:
        Rejection: if the directory is damaged, passes a limit, or lists what cannot be followed safely.
    """
    found = Collector(limits)
    with path.open("rb") as file:
        directory = _find(file)
        if directory.entries > limits.members:
            raise too_many(limits)
        spans = np.zeros((directory.entries, 2), np.int64)
        for number, entry in enumerate(_entries(file, directory)):
            name = decoded(entry.raw_name)
            _check(entry, name)
            spans[number] = entry.offset, entry.offset + LOCAL_HEADER_BYTES + len(entry.raw_name) + entry.packed
            found.add(name, entry.offset, entry.packed, entry.size, entry.crc, METHODS[entry.method])
    spans = spans[np.argsort(spans[:, 0], kind="stable")]
    if len(spans) and spans[-1, 1] > directory.start:
        raise damaged("a member lies beyond the data")
    if np.any(spans[1:, 0] < spans[:-1, 1]):
        raise Rejection(
            RejectionCode.ARCHIVE_BOMB, "Members of the archive overlap. Pack it with an ordinary zip tool."
        )
    return found.archive(path, "zip")


def _find(file: BinaryIO) -> _Directory:
    length = file.seek(0, os.SEEK_END)
    tail_start = max(0, length - END.size - LONGEST_COMMENT)
    file.seek(tail_start)
    tail = file.read(END.size + LONGEST_COMMENT)
    at = tail.rfind(b"PK\x05\x06")
    if at < 0 or len(tail) - at < END.size:
        raise damaged("its end is missing, so it was probably cut off")
    _, disk, first_disk, here, entries, size, start, comment = END.unpack_from(tail, at)
    end = tail_start + at
    if end + END.size + comment != length:
        raise damaged("something follows its end")
    if 0xFFFF in (disk, entries) or WIDE in (size, start):
        place = end - END64_PLACE.size
        file.seek(max(place, 0))
        signature, _, end, disks = END64_PLACE.unpack(file.read(END64_PLACE.size))
        if place < 0 or signature != b"PK\x06\x07" or end > place - END64.size or disks > 1:
            raise damaged("its 64-bit end is missing")
        file.seek(end)
        signature, _, _, _, disk, first_disk, here, entries, size, start = END64.unpack(file.read(END64.size))
        if signature != b"PK\x06\x06":
            raise damaged("its 64-bit end is missing")
    if disk or first_disk or here != entries:
        raise Rejection(RejectionCode.UNSUPPORTED_ARCHIVE, "The zip is one of several volumes. Pack it as one file.")
    if start + size != end or size < entries * ENTRY.size:
        raise damaged("its directory is not where its end says")
    return _Directory(entries, start, size)


def _entries(file: BinaryIO, directory: _Directory) -> Iterator[_Entry]:
    file.seek(directory.start)
    window, at, left = b"", 0, directory.size
    for _ in range(directory.entries):
        if len(window) - at < LONGEST_ENTRY and left:
            more = file.read(min(left, WINDOW_BYTES))
            left = left - len(more) if more else 0
            window, at = window[at:] + more, 0
        if len(window) - at < ENTRY.size or window[at : at + 4] != b"PK\x01\x02":
            raise damaged("its directory is cut off")
        system, flags, method, crc, packed, size, name_bytes, extra_bytes, comment_bytes, mode, offset = (
            ENTRY.unpack_from(window, at)
        )
        extra = at + ENTRY.size + name_bytes
        name = window[at + ENTRY.size : extra]
        at = extra + extra_bytes + comment_bytes
        if at > len(window):
            raise damaged("its directory is cut off")
        if packed == WIDE or size == WIDE or offset == WIDE:
            size, packed, offset = _wide(window[extra : extra + extra_bytes], size, packed, offset)
        yield _Entry(name, offset, packed, size, crc, method, flags, mode >> 16 if system == UNIX else 0)
    if left or at < len(window):
        raise damaged("its directory is longer than it says")


def _wide(extra: bytes, size: int, packed: int, offset: int) -> tuple[int, int, int]:
    """Sizes and offset with those that do not fit 32 bits taken from the extra field that has them."""
    at = 0
    while at + 4 <= len(extra):
        kind, length = struct.unpack_from("<2H", extra, at)
        at += 4
        if kind == 1:
            numbers = [number for (number,) in struct.iter_unpack("<Q", extra[at : at + length // 8 * 8])]
            wide = []
            for value in (size, packed, offset):
                if value == WIDE:
                    if not numbers:
                        break
                    value = numbers.pop(0)
                wide.append(value)
            if len(wide) == 3:
                return wide[0], wide[1], wide[2]
        at += length
    raise damaged("a 64-bit size is missing")


def _check(entry: _Entry, name: str) -> None:
    if entry.flags & ENCRYPTED:
        raise Rejection(
            RejectionCode.UNSUPPORTED_ARCHIVE, f"{printable(name)!r} is encrypted. Pack it without a password.", name
        )
    if stat.S_IFMT(entry.mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise Rejection(
            RejectionCode.UNSAFE_MEMBER,
            f"{printable(name)!r} is a link or a special file. Pack the files themselves (`zip` without `-y`).",
            name,
        )
    if entry.method not in METHODS:
        raise Rejection(
            RejectionCode.UNSUPPORTED_ARCHIVE,
            f"{printable(name)!r} is packed by method {entry.method}; stored and deflated are read. "
            "Pack it with an ordinary zip tool.",
            name,
        )
    if entry.method == 0 and entry.packed != entry.size:
        raise damaged(f"{printable(name)!r} has two sizes", name)
