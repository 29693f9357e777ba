"""Datasets on this machine's disk, by content address."""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import structlog

from models.arrays import FILES
from models.blobs import Blobs

log = structlog.get_logger()

LOCK = "lock"


@contextmanager
def dataset_on_disk(blobs: Blobs, sha256: str, cache: Path, cap_bytes: int) -> Iterator[Path]:
    """A folder that holds the dataset in the internal format while the block runs, to be mapped and never written.

    A local blob store is used in place; from a remote one the files are copied once into `cache`, which is kept below
    `cap_bytes` by removing what has not been used for the longest time and is not used now, by any process.

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
    cache.mkdir(parents=True, exist_ok=True)
    target = cache / sha256
    lock = _used(target)
    if lock is None:
        size = sum(blobs.size(f"{prefix}/{name}") for name in FILES)
        evict(cache, cap_bytes - size)
        lock = _fetched(blobs, prefix, target)
    try:
        yield target
    finally:
        os.close(lock)


def evict(cache: Path, cap_bytes: int) -> None:
    """Remove datasets that nobody uses, the longest unused first, until the others take no more than `cap_bytes`."""
    found = []
    for folder in cache.iterdir():
        with suppress(OSError):
            if not folder.name.startswith("."):
                size = sum(file.stat().st_size for file in folder.iterdir())
                found.append(((folder / LOCK).stat().st_mtime_ns, size, folder))
    total = sum(size for _, size, _ in found)
    for _, size, folder in sorted(found):
        if total <= cap_bytes:
            return
        if _removed(folder):
            total -= size
            log.info("dataset_evicted", sha256=folder.name, size_bytes=size)


def _used(folder: Path) -> int | None:
    """A shared lock on a dataset that is there, which keeps it there; None if it is not."""
    try:
        lock = os.open(folder / LOCK, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(lock, fcntl.LOCK_SH)
        # It may have been removed while we waited: then the lock is on a file that nobody finds any more.
        if not os.path.samestat(os.fstat(lock), os.stat(folder / LOCK)):
            raise FileNotFoundError
        os.utime(folder / LOCK)
    except OSError:
        os.close(lock)
        return None
    return lock


def _fetched(blobs: Blobs, prefix: str, target: Path) -> int:
    """Copy the files beside `target` and put them in its place, locked."""
    partial = Path(tempfile.mkdtemp(prefix=f".{target.name[:12]}-", dir=target.parent))
    try:
        for name in FILES:
            blobs.fetch(f"{prefix}/{name}", partial / name)
        (partial / LOCK).touch()
        while True:
            with suppress(OSError):  # another process was faster; its copy has the same content
                partial.rename(target)
            lock = _used(target)
            if lock is not None:
                return lock
            if not partial.is_dir():  # ours was removed before we could lock it
                return _fetched(blobs, prefix, target)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _removed(folder: Path) -> bool:
    try:
        lock = os.open(folder / LOCK, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        away = folder.with_name(f".{folder.name}.gone")
        folder.rename(away)
        shutil.rmtree(away, ignore_errors=True)
    except OSError:
        return False
    finally:
        os.close(lock)
    return True
