"""The members of a tar, and a gzip unpacked to disk within limits, so that members can be read in any order."""

import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from heldout.dataset_lifecycle import RejectionCode
from worker.ingest.archives.members import BOMB_RATIO, PLAIN, Archive, Collector, damaged
from worker.ingest.archives.names import decoded
from worker.ingest.limits import GIB, MIB, Limits
from worker.ingest.rejection import Rejection, amount, printable

BLOCK = 512
LONGEST_HEADER = 64 * 1024  # of a name or of attributes that take blocks of their own
REGULAR = b"\x000"
FOLDER = b"5"
LONG_NAME, ATTRIBUTES, GLOBAL_ATTRIBUTES = b"L", b"x", b"g"
KINDS = {
    b"1": "a hard link",
    b"2": "a symbolic link",
    b"3": "a device",
    b"4": "a device",
    b"6": "a pipe",
    b"S": "a sparse file",
}


def is_tar(head: bytes) -> bool:
    """Whether a file with these first bytes is a tar: one whose first header has the right checksum."""
    return len(head) >= BLOCK and _has_checksum(head[:BLOCK])


def open_tar(path: Path, limits: Limits, kind: str = "tar") -> Archive:
    """The members of a tar that is not compressed.

    Raises:
        Rejection: if it is cut off, passes a limit, or holds what cannot be followed safely.
    """
    found = Collector(limits)
    with path.open("rb") as file:
        for name, offset, size in _members(file, path.stat().st_size, limits):
            found.add(name, offset, size, size, 0, PLAIN)
    return found.archive(path, kind)


def gunzip(source: Path, target: Path, limits: Limits) -> None:
    """Unpack a gzip, of one or more members, to the file `target`.

    Raises:
        Rejection: if it is damaged, or unpacks to more than it may.
    """
    packed = source.stat().st_size
    # Tars hold whole blocks for small files, so small archives unpack to many times their size.
    most = min(limits.unpacked_bytes, max(100 * MIB, BOMB_RATIO * packed))
    written = 0
    inflater = zlib.decompressobj(16 + zlib.MAX_WBITS)
    with source.open("rb") as file, target.open("wb") as out:
        data = file.read(MIB)
        while data:
            try:
                piece = inflater.decompress(data, MIB)
            except zlib.error as error:
                raise damaged(f"its gzip cannot be unpacked ({error})") from None
            written += len(piece)
            if written > most:
                raise _endless(packed, most, limits)
            out.write(piece)
            data = inflater.unconsumed_tail or (inflater.unused_data if inflater.eof else b"") or file.read(MIB)
            if inflater.eof:
                data = data.lstrip(b"\0")  # padding
                if data:
                    inflater = zlib.decompressobj(16 + zlib.MAX_WBITS)
        if not inflater.eof:
            out.write(inflater.flush())  # a few bytes may wait though all input is taken
    if not inflater.eof:
        raise damaged("its gzip ends too early")


def _members(file: BinaryIO, length: int, limits: Limits) -> Iterator[tuple[str, int, int]]:
    long_name: bytes | None = None
    attributes: dict[bytes, bytes] = {}
    headers = 0
    while True:
        header = file.read(BLOCK)
        if len(header) < BLOCK:
            raise damaged("it has no end, so it was probably cut off")
        if not any(header):
            return
        if not _has_checksum(header):
            raise damaged(f"the header at byte {file.tell() - BLOCK} is broken")
        headers += 1
        if headers > 3 * limits.members:
            raise Rejection(RejectionCode.TOO_MANY_MEMBERS, f"The tar has more than {3 * limits.members:,} headers.")
        kind, size = header[156:157], _number(header[124:136])
        if kind in (LONG_NAME, ATTRIBUTES, GLOBAL_ATTRIBUTES):
            if size > LONGEST_HEADER:
                raise damaged(f"a header of {amount(size)} is larger than {amount(LONGEST_HEADER)}")
            text = file.read(-(-size // BLOCK) * BLOCK)[:size]
            if kind == LONG_NAME:
                long_name = text.rstrip(b"\0")
            elif kind == ATTRIBUTES:
                attributes = _attributes(text)
            continue
        raw_name = attributes.get(b"path", long_name)
        if raw_name is None:
            raw_name = _short_name(header)
        if b"size" in attributes:
            size = _decimal(attributes[b"size"])
        sparse = any(key.startswith(b"GNU.sparse") for key in attributes)
        long_name, attributes = None, {}
        name = decoded(raw_name)
        if kind in FOLDER:
            yield name.rstrip("/") + "/", file.tell(), 0
            continue
        if kind not in REGULAR or sparse:
            raise Rejection(
                RejectionCode.UNSAFE_MEMBER,
                f"{printable(name)!r} is {KINDS.get(kind, 'not an ordinary file')}. Pack files and folders only "
                "(`tar --dereference --hard-dereference`).",
                name,
            )
        offset = file.tell()
        if offset + size > length:
            raise damaged(f"{printable(name)!r} ends beyond the archive, which was probably cut off", name)
        yield name, offset, size
        file.seek(offset + -(-size // BLOCK) * BLOCK)


def _short_name(header: bytes) -> bytes:
    name, prefix = header[:100].split(b"\0")[0], b""
    if header[257:263] == b"ustar\0":
        prefix = header[345:500].split(b"\0")[0]
    return prefix + b"/" + name if prefix else name


def _attributes(text: bytes) -> dict[bytes, bytes]:
    """Records of the form `length key=value` and a line's end."""
    found = {}
    while text:
        digits, _, _ = text[:12].partition(b" ")
        length = _decimal(digits)
        record = text[len(digits) + 1 : length]
        key, equals, value = record.partition(b"=")
        if not equals or not value.endswith(b"\n") or length > len(text):
            raise damaged("attributes in a header are broken")
        found[key] = value[:-1]
        text = text[length:]
    return found


def _decimal(digits: bytes) -> int:
    if not digits.isdigit() or len(digits) > 18:
        raise damaged("a number in a header is broken")
    return int(digits)


def _number(field: bytes) -> int:
    """Octal digits, or for large numbers a bit and then binary."""
    if field[0] == 0x80:
        return int.from_bytes(field[1:], "big")
    digits = field.strip(b" \0")
    try:
        return int(digits or b"0", 8)
    except ValueError:
        raise damaged("a number in a header is broken") from None


def _has_checksum(header: bytes) -> bool:
    digits = header[148:156].strip(b" \0")
    if not digits or not digits.isdigit():
        return False
    try:
        return int(digits, 8) == sum(header) - sum(header[148:156]) + 8 * ord(" ")
    except ValueError:
        return False


def _endless(packed: int, most: int, limits: Limits) -> Rejection:
    if most == limits.unpacked_bytes and most >= GIB:
        return Rejection(
            RejectionCode.UNPACKED_TOO_LARGE,
            f"The gzip unpacks to more than {amount(most)}. Upload fewer or smaller files, or ask the operator for a "
            "higher limit.",
        )
    return Rejection(
        RejectionCode.ARCHIVE_BOMB,
        f"The gzip unpacks from {amount(packed)} to more than {amount(most)}. Pictures do not: remove what does.",
    )
