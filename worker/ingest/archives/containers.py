"""Lists members of zips, tars and nested archives. Libraries read the headers; unsafe members are refused here."""

import gzip
import re
import shutil
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from heldout.lifecycle.resources import RejectionCode
from worker.ingest.archives.members import (
    BOMB_RATIO,
    LOCAL_HEADER_BYTES,
    UNCOMPRESSED,
    ZIP_DEFLATED,
    ZIP_STORED,
    Archive,
    BoundedReader,
    MemberList,
    ReadTooMuch,
    decode_name,
    make_damaged,
    make_too_many,
)
from worker.ingest.rejection import GIB, MIB, IngestLimits, Rejection, clean_name, format_size

# Average size of a directory entry. `zipfile` creates an object for every entry before it says how many there are.
MAX_ENTRY_BYTES = 256
DIRECTORY_END_BYTES = 128 * 1024  # The end of the file with its comment is read too.
METHODS = {zipfile.ZIP_STORED: ZIP_STORED, zipfile.ZIP_DEFLATED: ZIP_DEFLATED}
ENCRYPTED = 0x1 | 0x40 | 0x2000  # Flags: encrypted, strongly encrypted, hidden directory.
CREATED_ON_UNIX = 3
# Errors of `zipfile` on malicious zips.
ZIP_ERRORS = (zipfile.BadZipFile, NotImplementedError, ValueError, OSError, struct.error, LookupError)


def open_zip(path: Path, limits: IngestLimits) -> Archive:
    """List the members of a zip.

    Raises:
        Rejection: if the directory is damaged, exceeds a limit, or lists a member that cannot be extracted safely.
    """
    entries, directory_start = _read_directory(path, limits)
    found = MemberList(limits)
    spans = np.zeros((len(entries), 2), np.int64)
    for number, entry in enumerate(entries):
        name = entry.orig_filename  # `filename` ends at the first zero byte.
        _check(entry, name)
        start = entry.header_offset
        if start < 0:  # The directory claims to begin later than it does.
            raise make_damaged("a member lies before the data")
        spans[number] = start, start + LOCAL_HEADER_BYTES + len(name.encode()) + entry.compress_size
        mode = entry.external_attr >> 16 if entry.create_system == CREATED_ON_UNIX else 0
        if stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
            what = "is a link or a special file. Pack the files themselves (`zip` without `-y`)."
            found.leave_out(Rejection(RejectionCode.UNSAFE_MEMBER, f"{clean_name(name)!r} {what}", name))
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
    """Return the entries, and the offset of the directory. Raises Rejection."""
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
    """Raise Rejection if a member is unsafe to extract."""
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


BLOCK = tarfile.BLOCKSIZE
MAX_HEADER_BYTES = 64 * 1024  # of one member; a long name and attributes take separate blocks
MIN_TAR_BOMB_BYTES = 100 * MIB  # Tars store whole blocks, so an archive of small files unpacks to many times its size.
REGULAR = (tarfile.REGTYPE, tarfile.AREGTYPE)
SPECIAL = {
    tarfile.LNKTYPE: "a hard link",
    tarfile.SYMTYPE: "a symbolic link",
    tarfile.CHRTYPE: "a device",
    tarfile.BLKTYPE: "a device",
    tarfile.FIFOTYPE: "a pipe",
    tarfile.GNUTYPE_SPARSE: "a sparse file",
}
# Errors of `tarfile` on malicious tars.
TAR_ERRORS = (tarfile.TarError, ValueError, ArithmeticError, LookupError, OSError, RecursionError)


def is_tar(head: bytes) -> bool:
    """Return whether these first bytes are a tar header with the right checksum."""
    try:
        tarfile.TarInfo.frombuf(head[:BLOCK], "utf-8", "surrogateescape")
    except tarfile.TarError:
        return False
    return True


def open_tar(path: Path, limits: IngestLimits, kind: str = "tar") -> Archive:
    """List the members of an uncompressed tar.

    Raises:
        Rejection: it is cut off, exceeds a limit, or has an unsafe member.
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
    """Unpack a gzip with one or more members into the file `target`.

    Raises:
        Rejection: it is damaged, or too large when unpacked.
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
        # The library stops at a broken or missing header without an error.
        file.renew()
        file.seek(archive.offset)
        end = file.read(BLOCK)
        if len(end) < BLOCK:
            raise make_damaged("it has no end, so it was probably cut off")
        if any(end):
            raise make_damaged(f"the header at byte {archive.offset} is broken")


def _find_fault(member: tarfile.TarInfo) -> Rejection | None:
    """Return why a member is unsafe to extract, or None."""
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


_EXTENSION = re.compile(r"\.(?:zip|npz|tar|tgz|tar\.gz)$", re.IGNORECASE)


def holds_archives(archive: Archive) -> bool:
    """Return whether any member looks like an archive."""
    return any(_EXTENSION.search(name) for name in archive.names)


def open_nested(
    outer: Archive, scratch: Path, limits: IngestLimits, open_archive: Callable[[Path], Archive | None]
) -> Archive:
    """Return the members of all archives in `outer`, each archive as a folder with its name, and its other members.

    All members are copied into one file in the folder `scratch`, so that they can be read in any order. Archives
    nested more deeply are not opened.

    Args: open_archive returns the members of one archive, or None for any other file.
    Raises:
        Rejection: an archive is refused, all together exceed a limit, or two members have the same name.
    """
    path, part = scratch / "nested", scratch / "part"
    found, junk = MemberList(limits), outer.junk
    for folder in outer.folders:
        found.add(f"{folder}/", 0, 0, 0, 0, UNCOMPRESSED)
    for fault in outer.faults:
        found.leave_out(fault)
    with path.open("wb") as together:
        for row, name in enumerate(outer.names):
            start = together.tell()
            with part.open("wb") as copy:
                copy.writelines(outer.stream(row))
            # Counted before copying, so that limits hold on the disk too.
            try:
                inner = open_archive(part) if _EXTENSION.search(name) else None
            except Rejection as rejection:
                detail = f"In {clean_name(name)!r}: {rejection.detail}"
                raise Rejection(rejection.code, detail, rejection.member) from rejection
            if inner is None:
                size = part.stat().st_size
                found.add(name, start, size, size, 0, UNCOMPRESSED)
            else:
                junk += inner.junk
                _add_members(found, inner, _EXTENSION.sub("", name), start)
            with (part if inner is None else inner.path).open("rb") as file:
                shutil.copyfileobj(file, together)
    return replace(found.archive(path, f"{outer.kind} of archives"), junk=junk)


def _add_members(found: MemberList, inner: Archive, folder: str, start: int) -> None:
    for name in inner.folders:
        found.add(f"{folder}/{name}/", 0, 0, 0, 0, UNCOMPRESSED)
    for fault in inner.faults:
        found.leave_out(Rejection(fault.code, fault.detail, f"{folder}/{fault.member}"))
    for name, (offset, packed, size, crc, method) in zip(inner.names, inner.table.tolist(), strict=True):
        found.add(f"{folder}/{name}", start + offset, packed, size, crc, method)
