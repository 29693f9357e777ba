"""Members of an archive: names and sizes within limits, and reads of single members by offset."""

import io
import os
import re
import struct
import unicodedata
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from heldout.lifecycle.resources import RejectionCode
from worker.ingest.rejection import BROKEN_FILES, MIB, IngestLimits, Rejection, clean_name, format_size, list_some

UNCOMPRESSED, ZIP_STORED, ZIP_DEFLATED = 0, 1, 2
TABLE = np.dtype([("offset", "<u8"), ("packed", "<u8"), ("size", "<u8"), ("crc", "<u4"), ("method", "u1")])
_ROW = struct.Struct("<QQQIB")  # of TABLE
LOCAL_HEADER_BYTES = 30
EXTRA_FIELD_BYTES = 256  # bytes to read beyond a member, for the extra fields of its local header
CHUNK_BYTES = MIB
MAX_SHOWN_NAMES = 20
MAX_FAULTS = 10_000  # faults to keep, because each takes memory

# Images are already compressed, so a large archive that unpacks to this many times its size is a bomb.
BOMB_RATIO = 200
MIN_BOMB_BYTES = 10 * MIB


@dataclass(frozen=True)
class Archive:
    """A file whose members can be read in any order.

    names: of its files, without folders and junk. table: (files,) of TABLE; `offset` is that of the local header in a
    zip, and of the data elsewhere. junk: the number of junk files. folders: the listed folders. faults: of members
    that are left out.
    """

    path: Path
    kind: str
    names: list[str]
    table: NDArray[Any]
    junk: int
    folders: tuple[str, ...] = ()
    faults: tuple[Rejection, ...] = ()

    def select(self, rows: NDArray[np.int64]) -> "Archive":
        """Return the archive with some of its members, in the order of `rows`."""
        return Archive(self.path, self.kind, [self.names[row] for row in rows], self.table[rows], self.junk)

    def head(self, row: int, count: int) -> bytes:
        """Return up to `count` first bytes of a member, unverified. Raises Rejection."""
        if self.table["method"][row] != UNCOMPRESSED and self.table["size"][row] == 0:
            return b""
        offset, packed, size, _, method = self.table[row].item()
        with self.path.open("rb") as file:
            if method == UNCOMPRESSED:
                return os.pread(file.fileno(), min(size, count), offset)
            head = os.pread(file.fileno(), LOCAL_HEADER_BYTES, offset)
            start = offset + count_local_header_bytes(head, self.names[row])
            data = os.pread(file.fileno(), min(packed, count + EXTRA_FIELD_BYTES), start)
        if method == ZIP_STORED:
            return data[:count]
        try:
            return zlib.decompressobj(-zlib.MAX_WBITS).decompress(data, count)
        except zlib.error:
            return b""  # The checksum is verified when the whole member is read.

    def stream(self, row: int) -> Iterator[bytes]:
        """Yield a member in pieces of at most a megabyte, and verify it at the end. Raises Rejection."""
        with self.path.open("rb", buffering=0) as file:
            yield from _stream(file.fileno(), self.table[row].item(), self.names[row])

    def read(self, row: int) -> bytes:
        """Return the bytes of one member. Raises Rejection."""
        return b"".join(self.stream(row))


class ReadTooMuch(Exception):
    """A library asked for more bytes than it may read."""


class BoundedReader(io.BufferedReader):
    """Limits all reads together to `most_bytes`, for a library that trusts the sizes in a file."""

    def __init__(self, path: Path, most_bytes: int) -> None:
        super().__init__(io.FileIO(path))
        self._most_bytes = self._left = most_bytes

    def read(self, size: int | None = -1, /) -> bytes:
        """Raises ReadTooMuch before any memory is allocated."""
        if size is None or size < 0:  # This is how `zipfile` of Python 3.11 reads the end of the file.
            size = max(0, os.fstat(self.fileno()).st_size - self.tell())
        if size > self._left:
            raise ReadTooMuch
        self._left -= size
        return super().read(size)

    def renew(self) -> None:
        """Allow `most_bytes` again."""
        self._left = self._most_bytes


class MemberList:
    """Collects the members of an archive in order, and refuses those with unsafe names or beyond a limit."""

    def __init__(self, limits: IngestLimits) -> None:
        self._limits = limits
        self._names: dict[str, None] = {}
        self._table = bytearray()  # Rows of TABLE, because tuples would take ten times the memory.
        self._folders: dict[str, None] = {}
        self._faults: list[Rejection] = []
        self._twice: dict[str, None] = {}
        self._seen = self._junk = self._size = self._packed = 0

    def leave_out(self, fault: Rejection) -> None:
        """Record a member that is left out. Raises Rejection if the fault is not the member's alone."""
        if fault.code not in BROKEN_FILES or len(self._faults) == MAX_FAULTS:
            raise fault
        self._faults.append(fault)

    def add(self, name: str, offset: int, packed: int, size: int, crc: int, method: int) -> None:
        """Add one entry. Folders and junk files are counted and skipped.

        Raises:
            Rejection: with the member's name.
        """
        self._seen += 1
        if self._seen > self._limits.members:
            raise make_too_many(self._limits)
        self._size += size
        self._packed += packed
        if size > MIN_BOMB_BYTES and size > BOMB_RATIO * packed:
            raise _make_bomb(f"{clean_name(name)!r} unpacks from {format_size(packed)} to {format_size(size)}", name)
        if self._size > self._limits.unpacked_bytes:
            raise Rejection(
                RejectionCode.UNPACKED_TOO_LARGE,
                f"The files are larger than {format_size(self._limits.unpacked_bytes)} together. Upload fewer or "
                "smaller ones, or ask the operator for a higher limit.",
                name,
            )
        name = make_safe(name)
        if name.endswith("/") or not name:
            if name and not is_junk(name):
                self._folders[name.rstrip("/")] = None
            return
        if is_junk(name):
            self._junk += 1
            return
        if name in self._names:
            self._twice[name] = None
            return
        self._names[name] = None
        self._table += _ROW.pack(offset, packed, size, crc, method)

    def archive(self, path: Path, kind: str) -> Archive:
        """Return all members.

        Raises Rejection if the archive is a bomb as a whole, or if two files have the same name.
        """
        if self._size > 10 * MIN_BOMB_BYTES and self._size > BOMB_RATIO * self._packed:
            raise _make_bomb(f"The archive unpacks from {format_size(self._packed)} to {format_size(self._size)}", None)
        if self._twice:
            raise _make_named_twice(list(self._twice))
        table = np.frombuffer(self._table, TABLE)
        return Archive(path, kind, list(self._names), table, self._junk, tuple(self._folders), tuple(self._faults))


def count_local_header_bytes(head: bytes, name: str) -> int:
    """Return the length of a zip member's local header, from its first bytes. Raises Rejection."""
    if len(head) < LOCAL_HEADER_BYTES or head[:4] != b"PK\x03\x04":
        raise make_damaged(f"{clean_name(name)!r} does not begin where the directory says", name)
    return LOCAL_HEADER_BYTES + int.from_bytes(head[26:28], "little") + int.from_bytes(head[28:30], "little")


def make_damaged(why: str, member: str | None = None) -> Rejection:
    return Rejection(
        RejectionCode.ARCHIVE_DAMAGED, f"The archive is damaged: {why}. Pack it and upload it again.", member
    )


def make_too_many(limits: IngestLimits) -> Rejection:
    return Rejection(
        RejectionCode.TOO_MANY_MEMBERS,
        f"The archive has more than {limits.members:,} members. Pack fewer files, upload arrays (.npz), or ask the "
        "operator for a higher limit.",
    )


def _stream(file: int, entry: tuple[int, int, int, int, int], name: str) -> Iterator[bytes]:
    offset, packed, size, crc, method = entry
    if method != UNCOMPRESSED:
        offset += count_local_header_bytes(os.pread(file, LOCAL_HEADER_BYTES, offset), name)
    inflater = zlib.decompressobj(-zlib.MAX_WBITS) if method == ZIP_DEFLATED else None
    found = crc32 = 0
    end = offset + packed
    while offset < end:
        data = os.pread(file, min(CHUNK_BYTES, end - offset), offset)
        if not data:
            break
        offset += len(data)
        for piece in [data] if inflater is None else _iterate_pieces(inflater, data, name, is_last=offset == end):
            found += len(piece)
            if found > size:
                raise make_damaged(f"{clean_name(name)!r} is longer than the {size} bytes that it declares", name)
            crc32 = zlib.crc32(piece, crc32)
            yield piece
    if found != size:
        raise make_damaged(f"{clean_name(name)!r} ends after {found} of its {size} bytes", name)
    if method != UNCOMPRESSED and crc32 != crc:
        raise make_damaged(f"the checksum of {clean_name(name)!r} is wrong", name)


def _iterate_pieces(inflater: Any, data: bytes, name: str, *, is_last: bool) -> Iterator[bytes]:
    try:
        while data:
            yield inflater.decompress(data, CHUNK_BYTES)
            data = inflater.unconsumed_tail
        if is_last:
            yield inflater.flush()  # A few bytes may remain after all input is consumed.
    except zlib.error:
        raise make_damaged(f"{clean_name(name)!r} cannot be unpacked", name) from None


def _make_named_twice(names: list[str]) -> Rejection:
    if len(names) == 1:
        fault = f"Two files are named {clean_name(names[0])!r}."
    else:
        shown = list_some([repr(clean_name(name)) for name in names], MAX_SHOWN_NAMES)
        fault = f"{len(names):,} names are those of two files or more: {shown}."
    return Rejection(RejectionCode.DUPLICATE_MEMBER, f"{fault} Pack each file once.", names[0])


def _make_bomb(what: str, member: str | None) -> Rejection:
    return Rejection(
        RejectionCode.ARCHIVE_BOMB,
        f"{what}, more than {BOMB_RATIO} times its size. Images never shrink that much: "
        "remove such files, or store them uncompressed.",
        member,
    )


MAX_NAME_BYTES = 1024
_JUNK = re.compile(
    r"(?:^|/)(?:\._|(?:\.DS_Store|Thumbs\.db|ehthumbs\.db|desktop\.ini)$|(?:__MACOSX|\.ipynb_checkpoints|@eaDir|\.git)/)",
    re.IGNORECASE,
)
_PLAIN = re.compile(r"[A-Za-z0-9_\-+ ()\[\],=@#&!~]+(?:[./][A-Za-z0-9_\-+ ()\[\],=@#&!~]+)*")


def decode_name(raw: bytes) -> str:
    """Decode a name.

    Raises:
        Rejection: `name_not_utf8`.
    """
    try:
        return raw.decode()
    except UnicodeDecodeError:
        shown = raw.decode("ascii", "backslashreplace")
        raise Rejection(
            RejectionCode.NAME_NOT_UTF8,
            f"The name {clean_name(shown)!r} is not UTF-8. Rename the file, or pack the archive with a tool that "
            "writes UTF-8 names.",
            shown,
        ) from None


def make_safe(name: str) -> str:
    """Return a relative path with `/` as separator, in composed Unicode. A folder keeps its trailing `/`.

    Raises:
        Rejection: `unsafe_path`.
    """
    if _PLAIN.fullmatch(name) and len(name) <= MAX_NAME_BYTES:
        return name
    if any(unicodedata.category(char) in ("Cc", "Cs") for char in name):
        raise _make_unsafe(name, "has control characters")
    # The packer of Windows writes backslashes.
    name = unicodedata.normalize("NFC", name.replace("\\", "/"))
    if len(name.encode()) > MAX_NAME_BYTES:
        raise _make_unsafe(name, f"is longer than {MAX_NAME_BYTES} bytes")
    parts = [part for part in name.split("/") if part not in ("", ".")]
    # A drive may also come after `./`: `./C:/x` is `C:/x`.
    if name.startswith("/") or (parts and re.match(r"[A-Za-z]:", parts[0])):
        raise _make_unsafe(name, "is absolute")
    if ".." in parts:
        raise _make_unsafe(name, "leaves the archive's folder")
    return "/".join(parts) + ("/" if name.endswith("/") and parts else "")


def is_junk(name: str) -> bool:
    """Return whether operating systems or editors leave such files behind."""
    return _JUNK.search(name) is not None


def _make_unsafe(name: str, why: str) -> Rejection:
    return Rejection(
        RejectionCode.UNSAFE_PATH,
        f"The name {clean_name(name)!r} {why}. Pack relative paths, such as `class/file.png`.",
        name,
    )
