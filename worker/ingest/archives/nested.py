"""Archives in an archive, such as `train.zip` and `test.npz`: each is read as a folder with its name."""

import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from worker.ingest.archives.members import UNCOMPRESSED, Archive, MemberList
from worker.ingest.limits import IngestLimits
from worker.ingest.rejection import Rejection, clean_name

_EXTENSION = re.compile(r"\.(?:zip|npz|tar|tgz|tar\.gz)$", re.IGNORECASE)


def holds_archives(archive: Archive) -> bool:
    """Return whether any member looks like an archive."""
    return any(_EXTENSION.search(name) for name in archive.names)


def open_nested(
    outer: Archive, scratch: Path, limits: IngestLimits, open_archive: Callable[[Path], Archive | None]
) -> Archive:
    """Return the members of all archives in `outer`, each archive as a folder with its name, and its other members.

    All of them are copied into one file in the folder `scratch`, so that members can be read in any order. An archive
    within one of these archives is not opened.

    Args: open_archive returns the members of one archive, or None for any other file.
    Raises:
        Rejection: if one of them is refused, all together exceed a limit, or two members have the same name.
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
            # Counted before they are copied, so that limits hold on the disk too.
            inner = _open_one(part, name, open_archive) if _EXTENSION.search(name) else None
            if inner is None:
                size = part.stat().st_size
                found.add(name, start, size, size, 0, UNCOMPRESSED)
            else:
                junk += inner.junk
                _add_members(found, inner, _EXTENSION.sub("", name), start)
            with (part if inner is None else inner.path).open("rb") as file:
                shutil.copyfileobj(file, together)
    return replace(found.archive(path, f"{outer.kind} of archives"), junk=junk)


def _open_one(part: Path, name: str, open_archive: Callable[[Path], Archive | None]) -> Archive | None:
    try:
        return open_archive(part)
    except Rejection as rejection:
        raise Rejection(rejection.code, f"In {clean_name(name)!r}: {rejection.detail}", rejection.member) from rejection


def _add_members(found: MemberList, inner: Archive, folder: str, start: int) -> None:
    for name in inner.folders:
        found.add(f"{folder}/{name}/", 0, 0, 0, 0, UNCOMPRESSED)
    for fault in inner.faults:
        found.leave_out(Rejection(fault.code, fault.detail, f"{folder}/{fault.member}"))
    for name, (offset, packed, size, crc, method) in zip(inner.names, inner.table.tolist(), strict=True):
        found.add(f"{folder}/{name}", start + offset, packed, size, crc, method)
