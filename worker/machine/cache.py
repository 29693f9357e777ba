"""Datasets on this machine's disk, by content address, shared by all workers that have the same home."""

import fcntl
import os
import secrets
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import structlog

from models.arrays import FILES
from models.blobs import Blobs

log = structlog.get_logger()

# In a dataset's folder. The first is locked, shared, by all who use it, so that it stays, and holds its size in bytes;
# its time of change is that of the last use. The second is locked by who fetches what is missing.
LOCK, FETCHING = "lock", "fetching"
# In the cache's own folder. Locked by who makes room; what begins with the second is on its way out.
MAKING_ROOM, GONE = ".making-room", ".gone-"
WAIT_S = 0.1


def _go_on() -> None:
    pass


@contextmanager
def dataset_on_disk(
    blobs: Blobs, sha256: str, cache: Path, cap_bytes: int, watch: Callable[[], object] = _go_on
) -> Iterator[Path]:
    """A folder that holds the dataset in the internal format while the block runs, to be mapped and never written.

    A local blob store is used in place; from a remote one the files are copied once into `cache`, which is kept below
    `cap_bytes` by removing what has not been used for the longest time and is not used now, by any process. What is
    used stays, and what is needed comes, even where both together are too much.

    Args:
        watch: called again and again while files come; what it raises ends that.

    Raises:
        BlobMissing: if the store does not have it.
        StorageUnavailable: if the store does not answer.
        OSError: if this machine's disk does not take it.
    """
    prefix = f"datasets/{sha256}"
    in_place = blobs.local_folder(prefix)
    if in_place is not None:
        for name in FILES:
            blobs.size(f"{prefix}/{name}")
        yield in_place
        return
    folder = cache / sha256
    lock = _in_use(folder)
    try:
        try:
            _complete(blobs, prefix, folder, cap_bytes, watch)
        except BaseException:
            _removed(folder, lock)
            raise
        yield folder
    finally:
        with suppress(OSError):
            os.utime(lock)
        os.close(lock)


def evict(cache: Path, cap_bytes: int) -> None:
    """Remove datasets that nobody uses, the longest unused first, until the others take no more than `cap_bytes`."""
    alone = _opened(cache / MAKING_ROOM)
    try:
        fcntl.flock(alone, fcntl.LOCK_EX)
        for folder in cache.glob(f"{GONE}*"):  # of a process that was killed
            shutil.rmtree(folder, ignore_errors=True)
        found = []
        for folder in cache.iterdir():
            if folder.is_dir() and not folder.name.startswith("."):
                with suppress(OSError):  # removed by its last user, whose fetch has failed
                    found.append((_used_at(folder), _size(folder), folder))
        total = sum(size for _, size, _ in found)
        for _, size, folder in sorted(found):
            if total <= cap_bytes:
                return
            if _removed(folder):
                total -= size
                log.info("dataset_evicted", sha256=folder.name, size_bytes=size)
    finally:
        os.close(alone)


def _in_use(folder: Path) -> int:
    """A lock that keeps the folder where it is; it is made if it is not there, and may be empty."""
    while True:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileExistsError):  # `exist_ok` looks a second time, and it may be removed in between
            folder.mkdir()
        try:
            lock = _opened(folder / LOCK)
        except FileNotFoundError:
            continue  # removed in between
        fcntl.flock(lock, fcntl.LOCK_SH)  # waits for nobody but one who is just removing it
        if _is_at(lock, folder / LOCK):
            with suppress(OSError):
                os.utime(lock)
            return lock
        os.close(lock)


def _complete(blobs: Blobs, prefix: str, folder: Path, cap_bytes: int, watch: Callable[[], object]) -> None:
    """Fetch what is missing of a dataset in use, unless another process just does: its copy is ours too."""
    if not _missing(folder):
        return
    fetching = _opened(folder / FETCHING)
    try:
        _locked_patiently(fetching, watch)
        missing = _missing(folder)
        if not missing:
            return
        # Said before it is true, so that others who make room count it.
        (folder / LOCK).write_text(str(sum(blobs.size(f"{prefix}/{name}") for name in FILES)))
        evict(folder.parent, cap_bytes)
        try:
            for name in missing:
                blobs.fetch(f"{prefix}/{name}", folder / name, durable=True, watch=watch)
        except BaseException:
            for name in missing:
                (folder / name).unlink(missing_ok=True)
            raise
    finally:
        os.close(fetching)


def _locked_patiently(lock: int, watch: Callable[[], object]) -> None:
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            watch()
            time.sleep(WAIT_S)


def _missing(folder: Path) -> list[str]:
    return [name for name in FILES if not (folder / name).exists()]


def _removed(folder: Path, held: int | None = None) -> bool:
    """Remove a dataset unless somebody uses it, other than the caller with the lock `held`."""
    try:
        lock = _opened(folder / LOCK) if held is None else held
    except OSError:
        return False
    away = folder.with_name(f"{GONE}{secrets.token_hex(8)}")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if not _is_at(lock, folder / LOCK):
            return False  # what is there now is another copy, and may be in use
        folder.rename(away)
    except OSError:
        return False
    finally:
        if held is None:
            os.close(lock)
    # Its users-to-be look for it again as soon as the lock is free, and make a new one meanwhile.
    shutil.rmtree(away, ignore_errors=True)
    return True


def _used_at(folder: Path) -> int:
    try:
        return (folder / LOCK).stat().st_mtime_ns
    except FileNotFoundError:
        return 0


def _size(folder: Path) -> int:
    """What it takes, or will take once it is whole."""
    size = 0
    for file in folder.iterdir():
        with suppress(FileNotFoundError):  # a part that was just renamed
            size += file.stat().st_size
    with suppress(FileNotFoundError, ValueError):
        size = max(size, int((folder / LOCK).read_text()))
    return size


def _opened(file: Path) -> int:
    return os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def _is_at(lock: int, path: Path) -> bool:
    """Whether the open file is still the one that others find there."""
    try:
        return os.path.samestat(os.fstat(lock), os.stat(path))
    except FileNotFoundError:
        return False
