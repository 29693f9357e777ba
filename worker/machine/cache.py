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

from analysis.arrays.dataset import FILES, read_content_address
from models.blobs import Blobs
from models.digests import make_damaged_error

log = structlog.get_logger()

# Files in a dataset's folder. Everyone who uses the dataset holds a shared lock of the first, so that it stays. This
# file contains the dataset's size in bytes, and its modification time is that of the last use. A process that fetches
# missing files locks the second.
USE_LOCK, FETCH_LOCK = "lock", "fetching"
# In the cache's own folder: a file that is locked while space is freed, and the prefix of folders being removed.
EVICTION_LOCK, REMOVED_PREFIX = ".making-room", ".gone-"
LOCK_RETRY_S = 0.1
# Versions of datasets that this process has verified against their addresses.
MAX_KNOWN_WHOLE = 1000
_known_whole: set[tuple[object, ...]] = set()
_NOT_ITS_ADDRESS = "The SHA-256 of images, labels, splits and class names differs from the stored one."


def _do_nothing() -> None:
    pass


@contextmanager
def hold_dataset(
    blobs: Blobs, sha256: str, cache: Path, cap_bytes: int, watch: Callable[[], object] = _do_nothing
) -> Iterator[Path]:
    """Hold a folder with the dataset in the internal format while the block runs, to be mapped and never written.

    A local blob store is used in place. From a remote one the files are copied once into `cache`. It is kept below
    `cap_bytes` by removing the datasets that have been unused for the longest time. Datasets in use are kept, and a
    dataset that is needed is fetched, even if they exceed the cap together.

    When a process first uses a dataset, it reads all of it and verifies its address, and again after a file has
    changed. A damaged copy in `cache` is fetched again.

    Args:
        watch: called repeatedly while files are fetched or compared; an exception that it raises stops this.

    Raises:
        BlobMissing: if the store does not have it.
        DatasetDamaged: if the store has different content.
        StorageUnavailable: if the store does not answer.
        OSError: if it cannot be written to this machine's disk.
    """
    prefix = f"datasets/{sha256}"
    in_place = blobs.get_local_folder(prefix)
    if in_place is not None:
        for name in FILES:
            blobs.size(f"{prefix}/{name}")
        if not _is_whole(in_place, sha256, watch):
            raise make_damaged_error(f"{prefix}/images.npy", _NOT_ITS_ADDRESS)
        yield in_place
        return
    folder = cache / sha256
    lock = _lock_shared(folder)
    try:
        try:
            _fetch_missing(blobs, prefix, folder, cap_bytes, watch)
            if not _is_whole(folder, sha256, watch):
                for name in FILES:
                    (folder / name).unlink(missing_ok=True)
                _fetch_missing(blobs, prefix, folder, cap_bytes, watch)
                if not _is_whole(folder, sha256, watch):
                    raise make_damaged_error(f"{prefix}/images.npy", _NOT_ITS_ADDRESS)
        except BaseException:
            _remove_unless_used(folder, lock)
            raise
        yield folder
    finally:
        with suppress(OSError):
            os.utime(lock)
        os.close(lock)


def _is_whole(folder: Path, sha256: str, watch: Callable[[], object]) -> bool:
    """Return whether the files in the folder match this address. A process reads each version of them once."""
    stats = [(folder / name).stat() for name in FILES]
    version = (sha256, *((file.st_ino, file.st_size, file.st_mtime_ns) for file in stats))
    if version not in _known_whole:
        try:
            if read_content_address(lambda name: (folder / name).open("rb"), watch) != sha256:
                return False
        except ValueError:
            return False
        if len(_known_whole) >= MAX_KNOWN_WHOLE:
            _known_whole.clear()
        _known_whole.add(version)
    return True


def evict(cache: Path, cap_bytes: int) -> None:
    """Remove unused datasets, the longest unused first, until the others take no more than `cap_bytes`."""
    eviction_lock = _open_lock(cache / EVICTION_LOCK)
    try:
        fcntl.flock(eviction_lock, fcntl.LOCK_EX)
        for folder in cache.glob(f"{REMOVED_PREFIX}*"):  # left by a process that was killed
            shutil.rmtree(folder, ignore_errors=True)
        found = []
        for folder in cache.iterdir():
            if folder.is_dir() and not folder.name.startswith("."):
                with suppress(OSError):  # removed by its last user, whose fetch failed
                    found.append((_get_last_use_ns(folder), _measure_size(folder), folder))
        total = sum(size for _, size, _ in found)
        for _, size, folder in sorted(found):
            if total <= cap_bytes:
                return
            if _remove_unless_used(folder):
                total -= size
                log.info("dataset_evicted", sha256=folder.name, size_bytes=size)
    finally:
        os.close(eviction_lock)


def _lock_shared(folder: Path) -> int:
    """Take a lock that keeps the folder from being removed; the folder is created if missing, and may be empty."""
    while True:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileExistsError):  # `exist_ok` checks twice, and it may be removed in between
            folder.mkdir()
        try:
            lock = _open_lock(folder / USE_LOCK)
        except FileNotFoundError:
            continue  # removed in between
        fcntl.flock(lock, fcntl.LOCK_SH)  # waits only for a process that is just removing it
        if _is_still_at(lock, folder / USE_LOCK):
            with suppress(OSError):
                os.utime(lock)
            return lock
        os.close(lock)


def _fetch_missing(blobs: Blobs, prefix: str, folder: Path, cap_bytes: int, watch: Callable[[], object]) -> None:
    """Fetch the missing files of a dataset in use, or wait for another process that fetches them now."""
    if not _list_missing(folder):
        return
    fetching = _open_lock(folder / FETCH_LOCK)
    try:
        _lock_when_free(fetching, watch)
        missing = _list_missing(folder)
        if not missing:
            return
        # Written before the files exist, so that other processes that free space count them.
        (folder / USE_LOCK).write_text(str(sum(blobs.size(f"{prefix}/{name}") for name in FILES)))
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


def _lock_when_free(lock: int, watch: Callable[[], object]) -> None:
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            watch()
            time.sleep(LOCK_RETRY_S)


def _list_missing(folder: Path) -> list[str]:
    return [name for name in FILES if not (folder / name).exists()]


def _remove_unless_used(folder: Path, held: int | None = None) -> bool:
    """Remove a dataset unless someone other than the caller, who has the lock `held`, uses it."""
    try:
        lock = _open_lock(folder / USE_LOCK) if held is None else held
    except OSError:
        return False
    renamed = folder.with_name(f"{REMOVED_PREFIX}{secrets.token_hex(8)}")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if not _is_still_at(lock, folder / USE_LOCK):
            return False  # the folder is another copy now, and may be in use
        folder.rename(renamed)
    except OSError:
        return False
    finally:
        if held is None:
            os.close(lock)
    # Processes that wait for the lock find the folder gone and create a new one.
    shutil.rmtree(renamed, ignore_errors=True)
    return True


def _get_last_use_ns(folder: Path) -> int:
    try:
        return (folder / USE_LOCK).stat().st_mtime_ns
    except FileNotFoundError:
        return 0


def _measure_size(folder: Path) -> int:
    """The bytes that a dataset takes, or will take once it is complete."""
    size = 0
    for file in folder.iterdir():
        with suppress(FileNotFoundError):  # a part file that was just renamed
            size += file.stat().st_size
    with suppress(FileNotFoundError, ValueError):
        size = max(size, int((folder / USE_LOCK).read_text()))
    return size


def _open_lock(file: Path) -> int:
    return os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def _is_still_at(lock: int, path: Path) -> bool:
    """Whether the open lock is still the file at `path`."""
    try:
        return os.path.samestat(os.fstat(lock), os.stat(path))
    except FileNotFoundError:
        return False
