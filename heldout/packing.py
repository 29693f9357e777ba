"""A folder as a tar archive, made while it is read: nothing is written to disk, and nothing is whole in memory."""

import io
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path

CHUNK_BYTES = 1024 * 1024


class NothingToPack(ValueError):
    """The folder has no files."""


def files_of(folder: Path) -> list[tuple[str, int]]:
    """Every file below the folder, as its path relative to it with `/`, and its size; in the order of their names.

    What begins with a dot is passed over. Links are followed to files, not to folders.

    Raises:
        NothingToPack: if there is none.
        OSError: if the folder cannot be read.
    """
    found = []
    for parent, folders, names in os.walk(folder, onerror=_raise):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in names:
            path = Path(parent, name)
            if not name.startswith(".") and path.is_file():
                found.append((path.relative_to(folder).as_posix(), path.stat().st_size))
    if not found:
        raise NothingToPack(f"{folder} has no files.")
    return sorted(found)


def packed(folder: Path, files: list[tuple[str, int]]) -> Iterator[bytes]:
    """The tar archive of these files, in pieces of about a megabyte.

    Raises:
        OSError: if a file cannot be read, or has become shorter since it was listed.
    """
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w|", format=tarfile.PAX_FORMAT, bufsize=64 * 1024) as archive:
        for name, size in files:
            member = tarfile.TarInfo(name)
            member.size = size
            with (folder / name).open("rb") as file:
                archive.addfile(member, file)
            if buffer.tell() >= CHUNK_BYTES:
                yield buffer.getvalue()
                buffer.seek(0)
                buffer.truncate()
    yield buffer.getvalue()


def _raise(error: OSError) -> None:
    raise error
