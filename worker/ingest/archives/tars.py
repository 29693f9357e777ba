"""The members of a tar: `tarfile` reads the headers; links, guesses and skipped entries are refused here.

A gzip is unpacked to disk first, so that members can be read in any order.
"""

import gzip
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path

from heldout.lifecycle.resources import RejectionCode
from worker.ingest.archives.members import (
    BOMB_RATIO,
    UNCOMPRESSED,
    Archive,
    BoundedReader,
    MemberList,
    ReadTooMuch,
    make_damaged,
)
from worker.ingest.limits import GIB, MIB, IngestLimits
from worker.ingest.rejection import Rejection, clean_name, format_size

BLOCK = tarfile.BLOCKSIZE
MAX_HEADER_BYTES = 64 * 1024  # of one member, whose long name and attributes take separate blocks
MIN_TAR_BOMB_BYTES = (
    100 * MIB
)  # tars hold whole blocks for small files, so small archives unpack to many times their size
REGULAR = (tarfile.REGTYPE, tarfile.AREGTYPE)
SPECIAL = {
    tarfile.LNKTYPE: "a hard link",
    tarfile.SYMTYPE: "a symbolic link",
    tarfile.CHRTYPE: "a device",
    tarfile.BLKTYPE: "a device",
    tarfile.FIFOTYPE: "a pipe",
    tarfile.GNUTYPE_SPARSE: "a sparse file",
}
# What `tarfile` raises on tars that are broken on purpose.
TAR_ERRORS = (tarfile.TarError, ValueError, ArithmeticError, LookupError, OSError, RecursionError)


def is_tar(head: bytes) -> bool:
    """Whether a file with these first bytes is a tar: one whose first header has the right checksum."""
    try:
        tarfile.TarInfo.frombuf(head[:BLOCK], "utf-8", "surrogateescape")
    except tarfile.TarError:
        return False
    return True


def open_tar(path: Path, limits: IngestLimits, kind: str = "tar") -> Archive:
    """The members of a tar that is not compressed.

    Raises:
        Rejection: if it is cut off, passes a limit, or holds what cannot be followed safely.
    """
    found = MemberList(limits)
    length = path.stat().st_size
    try:
        for member in _iterate_members(path):
            if member.size < 0 or member.offset_data + member.size > length:
                raise make_damaged(f"{clean_name(member.name)!r} ends beyond the archive, which was probably cut off")
            if fault := _find_fault(member):
                found.leave_out(fault)
                continue
            name = member.name + "/" * member.isdir()
            size = 0 if member.isdir() else member.size
            found.add(name, member.offset_data, size, size, 0, UNCOMPRESSED)
    except ReadTooMuch:
        raise make_damaged(f"a header is larger than {format_size(MAX_HEADER_BYTES)}") from None
    except TAR_ERRORS:
        raise make_damaged("a header of its members cannot be read") from None
    return found.archive(path, kind)


def gunzip(source: Path, target: Path, limits: IngestLimits) -> None:
    """Unpack a gzip, of one or more members, to the file `target`.

    Raises:
        Rejection: if it is damaged, or unpacks to more than it may.
    """
    packed = source.stat().st_size
    most = min(limits.unpacked_bytes, max(MIN_TAR_BOMB_BYTES, BOMB_RATIO * packed))
    written = 0
    try:
        with gzip.open(source) as file, target.open("wb") as out:
            while piece := file.read(MIB):
                written += len(piece)
                if written > most:
                    raise _make_endless(packed, most, limits)
                out.write(piece)
    except EOFError:
        raise make_damaged("its gzip is cut off") from None
    except (gzip.BadGzipFile, zlib.error):
        raise make_damaged("its gzip cannot be unpacked") from None


def _iterate_members(path: Path) -> Iterator[tarfile.TarInfo]:
    with (
        BoundedReader(path, MAX_HEADER_BYTES) as file,
        tarfile.open(fileobj=file, mode="r:", encoding="utf-8", errors="surrogateescape") as archive,
    ):
        while (member := archive.next()) is not None:
            yield member
            archive.members.clear()  # type: ignore[attr-defined]  # of which it would keep all
            file.renew()
        # The library stops silently at a broken or missing header.
        file.renew()
        file.seek(archive.offset)
        end = file.read(BLOCK)
        if len(end) < BLOCK:
            raise make_damaged("it has no end, so it was probably cut off")
        if any(end):
            raise make_damaged(f"the header at byte {archive.offset} is broken")


def _find_fault(member: tarfile.TarInfo) -> Rejection | None:
    """Why a member cannot be followed safely."""
    name = member.name
    if not name.isascii() and any("\udc80" <= char <= "\udcff" for char in name):
        shown = name.encode("utf-8", "surrogateescape").decode("ascii", "backslashreplace")
        return Rejection(
            RejectionCode.NAME_NOT_UTF8,
            f"The name {clean_name(shown)!r} is not UTF-8. Rename the file, or pack the archive with a tool that "
            "writes UTF-8 names.",
            shown,
        )
    if not member.isdir() and (member.type not in REGULAR or member.issparse()):
        return Rejection(
            RejectionCode.UNSAFE_MEMBER,
            f"{clean_name(name)!r} is {SPECIAL.get(member.type, 'not an ordinary file')}. Pack files and folders only "
            "(`tar --dereference --hard-dereference`).",
            name,
        )
    return None


def _make_endless(packed: int, most: int, limits: IngestLimits) -> Rejection:
    if most == limits.unpacked_bytes and most >= GIB:
        return Rejection(
            RejectionCode.UNPACKED_TOO_LARGE,
            f"The gzip unpacks to more than {format_size(most)}. Upload fewer or smaller files, or ask the operator "
            "for a higher limit.",
        )
    return Rejection(
        RejectionCode.ARCHIVE_BOMB,
        f"The gzip unpacks from {format_size(packed)} to more than {format_size(most)}. Images never shrink that much: "
        "remove such files.",
    )
