"""A folder as a tar archive, made while it is read: nothing is written to disk, and nothing is whole in memory."""

import io
import tarfile
from collections.abc import Iterator
from pathlib import Path

CHUNK_BYTES = 1024 * 1024


class NothingToPack(ValueError):
    """The folder has no files."""


def files_of(folder: Path) -> list[tuple[str, int]]:
    """Every file below the folder, as its path relative to it with `/`, and its size; in the order of their names.

    A folder without files is an entry too, with a `/` at its end and the size 0. What begins with a dot is passed over.
    Links are followed to files and folders, except to a folder that the link lies in.

    Raises:
        NothingToPack: if there is none.
        OSError: if the folder cannot be read, or a link leads nowhere.
    """
    found = sorted(_files_below(folder, "", (folder.resolve(),)))
    if all(name.endswith("/") for name, _ in found):
        raise NothingToPack(f"{folder} has no files.")
    return found


def _files_below(folder: Path, prefix: str, above: tuple[Path, ...]) -> Iterator[tuple[str, int]]:
    is_empty = True
    for path in folder.iterdir():
        if path.name.startswith("."):
            continue
        is_empty = False
        name = prefix + path.name
        if path.is_dir():
            if not path.is_symlink() or path.resolve() not in above:
                yield from _files_below(path, f"{name}/", (*above, path.resolve()))
        elif path.is_file() or path.is_symlink():
            yield name, path.stat().st_size  # raises where a link leads nowhere
    if is_empty and prefix:
        yield prefix, 0


def packed(folder: Path, files: list[tuple[str, int]]) -> Iterator[bytes]:
    """The tar archive of these files, in pieces of about a megabyte.

    Raises:
        OSError: if a file cannot be read, or has become shorter since it was listed.
    """
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w|", format=tarfile.PAX_FORMAT, bufsize=64 * 1024) as archive:
        for name, size in files:
            member = tarfile.TarInfo(name.rstrip("/"))
            if name.endswith("/"):
                member.type = tarfile.DIRTYPE
                archive.addfile(member)
                continue
            member.size = size
            with (folder / name).open("rb") as file:
                archive.addfile(member, file)
            if buffer.tell() >= CHUNK_BYTES:
                yield buffer.getvalue()
                buffer.seek(0)
                buffer.truncate()
    yield buffer.getvalue()
