"""Packs folders and archives into one tar while they are read. Nothing is written to disk or kept whole in memory."""

import io
import os
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import IO, NamedTuple

CHUNK_BYTES = 1024 * 1024
# Hidden names that systems and tools leave behind.
LEFT_BEHIND = ("._", ".DS_Store", ".git", ".ipynb_checkpoints")
# Errors of `zipfile` and `tarfile` for encrypted or damaged members.
READ_ERRORS = (zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError, RuntimeError, NotImplementedError)
_ENCRYPTED = 0x1  # flag of a member of a zip


class NothingToPack(ValueError):
    """The folder has no files, or the paths cannot be combined in one upload."""


class Member(NamedTuple):
    """A file of the new archive, or a folder, which has nothing to open."""

    name: str
    size: int
    open: Callable[[], IO[bytes]] | None


def list_files(folder: Path) -> list[tuple[str, int]]:
    """List every file below the folder by name: its relative path with `/`, and its size.

    A folder without files is an entry too, with a trailing `/` and the size 0. Hidden files and folders are skipped.
    Links to files and folders are followed, except to a folder that contains the link.

    Raises:
        NothingToPack: if there is no file.
        OSError: if the folder cannot be read, or a link is broken.
    """
    found = sorted(_iterate_files_below(folder, "", (folder.resolve(),)))
    if all(name.endswith("/") for name, _ in found):
        raise NothingToPack(f"{folder} has no files.")
    return found


def _iterate_files_below(folder: Path, prefix: str, above: tuple[Path, ...]) -> Iterator[tuple[str, int]]:
    is_empty = True
    for path in folder.iterdir():
        if path.name.startswith("."):
            continue
        is_empty = False
        name = prefix + path.name
        if path.is_dir():
            if not path.is_symlink() or path.resolve() not in above:
                yield from _iterate_files_below(path, f"{name}/", (*above, path.resolve()))
        elif path.is_file() or path.is_symlink():
            yield name, path.stat().st_size  # raises if a link is broken
    if is_empty and prefix:
        yield prefix, 0


def list_hidden(folder: Path) -> list[str]:
    """List the hidden files and folders that `list_files` skips, except those that systems and tools leave behind."""
    found = []
    for above, folders, files in os.walk(folder):
        hidden = [name for name in (*folders, *files) if name.startswith(".") and not name.startswith(LEFT_BEHIND)]
        found += [(Path(above) / name).relative_to(folder).as_posix() for name in hidden]
        folders[:] = [name for name in folders if not name.startswith(".")]
    return sorted(found)


def pack_folder(folder: Path, files: list[tuple[str, int]]) -> Iterator[bytes]:
    """Yield the tar archive of these files in chunks of about a megabyte.

    Raises:
        OSError: if a file cannot be read, or has shrunk since it was listed.
    """
    return _write_tar(_read_folder_members(folder, "", files))


def pack_together(paths: Sequence[Path]) -> Iterator[bytes]:
    """Yield one tar archive of several folders and archives, each in a folder of its name, or of several tables.

    It never has to fit on the disk or in memory.

    Raises, before anything is yielded, unless a file changes meanwhile or a member is damaged:
        NothingToPack: if two paths have the same name, or an archive is damaged, encrypted, or contains links. Each
            path must be a folder, a zip, a tar, or a table next to the images; or all must be Parquet files, or all
            `.npz` files.
        OSError: if a path cannot be read.
    """
    stems = [_strip_extensions(path) for path in paths]
    twin = next((stem for number, stem in enumerate(stems) if stem in stems[:number]), None)
    if twin is not None:
        raise NothingToPack(f"Two paths have the name {twin}. Rename one: each becomes a folder of its name.")
    kinds = {path.suffix.lower() if _is_table(path) else "" for path in paths if not _lies_beside(path)}
    if len(kinds) > 1:
        raise NothingToPack("Parquet and .npz files can be uploaded together only with files of the same kind.")
    for path in paths:
        try:
            for _ in read_members(path):  # raises now what it would raise later
                pass
        except READ_ERRORS as error:
            raise NothingToPack(f"{path} is damaged: {error}") from None
    return _write_tar(member for path in paths for member in read_members(path))


def prepare_upload(paths: Sequence[Path]) -> tuple[Path | Iterator[bytes], int | None]:
    """Prepare the upload of these paths: a file as it is, or chunks of a tar; and its size in bytes, if known.

    Raises:
        NothingToPack: as `list_files` and `pack_together` do.
        OSError: if a path cannot be read.
    """
    if len(paths) > 1:
        return pack_together(paths), None
    [path] = paths
    if path.is_dir():
        files = list_files(path)
        return pack_folder(path, files), _compute_tar_bytes(files)
    path.open("rb").close()
    return path, path.stat().st_size


def derive_name(path: Path) -> str:
    """Derive a name from the last part of the path, without extensions. Invalid characters become hyphens."""
    stem = path.resolve().name.partition(".")[0].lower()
    return "".join(char if char.isascii() and (char.isalnum() or char in "-_") else "-" for char in stem).strip("-_")


def _strip_extensions(path: Path) -> str:
    return path.resolve().name.partition(".")[0] if not path.is_dir() else path.resolve().name


def read_members(path: Path) -> Iterator[Member]:
    """Yield what a path becomes in an archive of several paths. Raises as `pack_together` does."""
    stem = _strip_extensions(path)
    if path.is_dir():
        yield from _read_folder_members(path, f"{stem}/", list_files(path))
        return
    path.open("rb").close()
    if _is_table(path) or _lies_beside(path):
        yield Member(path.name, path.stat().st_size, partial(_open, path))
    elif zipfile.is_zipfile(path):
        yield from _read_zip_members(path, stem)
    elif tarfile.is_tarfile(path):
        yield from _read_tar_members(path, stem)
    else:
        raise NothingToPack(
            f"{path} is not a folder, zip or tar. Several paths can be uploaded together only if each is, or is a "
            "table of their images: `labels.csv`, `metadata.csv`, the same as `.tsv` or `.parquet`, or COCO's `.json`."
        )


def _is_table(path: Path) -> bool:
    """Return whether the service reads the file as a whole."""
    return path.suffix.lower() in (".parquet", ".npz") and not path.is_dir() and not _lies_beside(path)


def _lies_beside(path: Path) -> bool:
    """Return whether the file is a table of images that are elsewhere."""
    is_named = path.stem.lower() in ("labels", "metadata") and path.suffix.lower() in (".csv", ".tsv", ".parquet")
    return (is_named or path.suffix.lower() == ".json") and not path.is_dir()


def _read_folder_members(folder: Path, prefix: str, files: list[tuple[str, int]]) -> Iterator[Member]:
    for name, size in files:
        yield Member(prefix + name, size, None if name.endswith("/") else partial(_open, folder / name))


def _open(path: Path) -> IO[bytes]:
    return path.open("rb")


def _read_zip_members(path: Path, stem: str) -> Iterator[Member]:
    with zipfile.ZipFile(path) as archive:
        for entry in archive.infolist():
            if stat.S_ISLNK(entry.external_attr >> 16):
                raise NothingToPack(f"{path}: {entry.filename} is a link. Pack the files themselves.")
            if entry.flag_bits & _ENCRYPTED:
                raise NothingToPack(f"{path} is encrypted. Pack it without a password.")
            opens = None if entry.is_dir() else partial(archive.open, entry)
            yield Member(f"{stem}/{entry.filename}", entry.file_size, opens)


def _read_tar_members(path: Path, stem: str) -> Iterator[Member]:
    with tarfile.open(path) as archive:
        for entry in archive:
            if entry.isdir():
                yield Member(f"{stem}/{entry.name}/", 0, None)
                continue
            file = archive.extractfile(entry) if entry.isfile() else None
            if file is None:
                raise NothingToPack(f"{path}: {entry.name} is a link or a special file. Pack the files themselves.")
            yield Member(f"{stem}/{entry.name}", entry.size, partial(_itself, file))


def _itself(file: IO[bytes]) -> IO[bytes]:
    return file


def _compute_tar_bytes(files: Iterable[tuple[str, int]]) -> int:
    """Compute the size of the tar of a folder: each member has a header and starts a new block."""
    total = 2 * tarfile.BLOCKSIZE  # the end mark
    for name, size in files:
        header = tarfile.TarInfo(name.rstrip("/"))
        header.size = size
        total += len(header.tobuf(tarfile.PAX_FORMAT)) + -(-size // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE
    return -(-total // tarfile.RECORDSIZE) * tarfile.RECORDSIZE


def _write_tar(members: Iterable[Member]) -> Iterator[bytes]:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w|", format=tarfile.PAX_FORMAT, bufsize=64 * 1024) as archive:
        for member in members:
            header = tarfile.TarInfo(member.name.rstrip("/"))
            if member.open is None:
                header.type = tarfile.DIRTYPE
                archive.addfile(header)
                continue
            header.size = member.size
            try:
                with member.open() as file:
                    archive.addfile(header, file)
            except READ_ERRORS as error:
                raise NothingToPack(f"{member.name} cannot be unpacked: {error}") from None
            if buffer.tell() >= CHUNK_BYTES:
                yield buffer.getvalue()
                buffer.seek(0)
                buffer.truncate()
    yield buffer.getvalue()
