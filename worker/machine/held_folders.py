"""Folders of a cache on this machine's disk, shared by processes: a user's lock keeps each from being removed."""

import fcntl
import hashlib
import json
import os
import secrets
import shutil
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import structlog

log = structlog.get_logger()

# Files in a folder. Everyone who uses it holds a shared lock of the first, so that it stays. This file contains the
# folder's size in bytes, and its modification time is that of the last use. A process that writes missing content locks
# the second.
USE_LOCK, FILL_LOCK = "lock", "fetching"
# In the cache's own folder: a file that is locked while space is freed, and the prefix of folders being removed.
EVICTION_LOCK, REMOVED_PREFIX = ".making-room", ".gone-"
LOCK_RETRY_S = 0.1


@contextmanager
def hold_folder(folder: Path) -> Iterator[int]:
    """Keep the folder from being removed while the block runs, and return the lock; it is created if missing."""
    lock = _lock_shared(folder)
    try:
        yield lock
    finally:
        with suppress(OSError):
            os.utime(lock)
        os.close(lock)


@contextmanager
def fill_alone(folder: Path, watch: Callable[[], object]) -> Iterator[None]:
    """Wait until no other process writes into a folder in use, and keep others from it while the block runs.

    Args:
        watch: called repeatedly while it waits; an exception that it raises stops this.
    """
    filling = open_lock(folder / FILL_LOCK)
    try:
        while not try_lock(filling):
            watch()
            time.sleep(LOCK_RETRY_S)
        yield
    finally:
        os.close(filling)


def note_digests(note: Path, files: Collection[Path]) -> None:
    """Note the SHA-256 of files in the same folder, once all of them are there."""
    unfinished = note.with_name(f"{note.name}.{secrets.token_hex(4)}")
    unfinished.write_text(json.dumps({file.name: _compute_digest(file) for file in files}))
    unfinished.replace(note)


def have_noted_digests(note: Path) -> bool:
    """Return whether all files of a note are there, and none is damaged."""
    try:
        digests = json.loads(note.read_bytes())
        return all(_compute_digest(note.parent / name) == digest for name, digest in digests.items())
    except (OSError, ValueError, AttributeError):
        return False


def _compute_digest(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def make_room(folder: Path, size_bytes: int, cap_bytes: int) -> int:
    """Reserve room for a folder in use by removing others; returns the bytes that the cache then takes with it."""
    # Written before the files exist, so that other processes that free space count them.
    (folder / USE_LOCK).write_text(str(size_bytes))
    return evict(folder.parent, cap_bytes)


def evict(cache: Path, cap_bytes: int) -> int:
    """Remove unused folders, the longest unused first, until the others take no more than `cap_bytes`.

    Returns the bytes that are left.
    """
    eviction_lock = open_lock(cache / EVICTION_LOCK)
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
            if total > cap_bytes and remove_unless_used(folder):
                total -= size
                log.info("cache_folder_evicted", cache=cache.name, folder=folder.name, size_bytes=size)
        return total
    finally:
        os.close(eviction_lock)


def _lock_shared(folder: Path) -> int:
    """Take a lock that keeps the folder from being removed; the folder is created if missing, and may be empty."""
    while True:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileExistsError):  # `exist_ok` checks twice, and it may be removed in between
            folder.mkdir()
        try:
            lock = open_lock(folder / USE_LOCK)
        except FileNotFoundError:
            continue  # removed in between
        fcntl.flock(lock, fcntl.LOCK_SH)  # waits only for a process that is just removing it
        if _is_still_at(lock, folder / USE_LOCK):
            with suppress(OSError):
                os.utime(lock)
            return lock
        os.close(lock)


def remove_unless_used(folder: Path, held: int | None = None) -> bool:
    """Remove a folder unless someone other than the caller, who has the lock `held`, uses it."""
    try:
        lock = open_lock(folder / USE_LOCK) if held is None else held
    except OSError:
        return False
    renamed = folder.with_name(f"{REMOVED_PREFIX}{secrets.token_hex(8)}")
    try:
        if not try_lock(lock) or not _is_still_at(lock, folder / USE_LOCK):
            return False  # in use; or the folder is another copy now, and may be in use
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
    """Return the bytes that a folder takes, or will take once it is complete."""
    size = 0
    for file in folder.iterdir():
        with suppress(FileNotFoundError):  # a part file that was just renamed
            size += file.stat().st_size
    with suppress(FileNotFoundError, ValueError):
        size = max(size, int((folder / USE_LOCK).read_text()))
    return size


def open_lock(file: Path) -> int:
    return os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def try_lock(lock: int) -> bool:
    """Take an open lock for this process alone. Returns False if others have it."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_still_at(lock: int, path: Path) -> bool:
    """Return whether the open lock is still the file at `path`."""
    try:
        return os.path.samestat(os.fstat(lock), os.stat(path))
    except FileNotFoundError:
        return False
