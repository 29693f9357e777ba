"""Datasets on this machine's disk, by content address, shared by all workers that have the same home."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from analysis.arrays.dataset import FILES, read_content_address
from models.blobs import Blobs
from models.digests import make_damaged_error
from worker.machine.held_folders import fill_alone, hold_folder, make_room, remove_unless_used

# Versions of datasets that this process has verified against their addresses.
MAX_KNOWN_WHOLE = 1000
_known_whole: set[tuple[object, ...]] = set()
_NOT_ITS_ADDRESS = "The SHA-256 of images, labels, splits and class names differs from the stored one."


@contextmanager
def hold_dataset(
    blobs: Blobs, sha256: str, cache: Path, cap_bytes: int, watch: Callable[[], object] = lambda: None
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
    with hold_folder(folder) as lock:
        try:
            _fetch_missing(blobs, prefix, folder, cap_bytes, watch)
            if not _is_whole(folder, sha256, watch):
                for name in FILES:
                    (folder / name).unlink(missing_ok=True)
                _fetch_missing(blobs, prefix, folder, cap_bytes, watch)
                if not _is_whole(folder, sha256, watch):
                    raise make_damaged_error(f"{prefix}/images.npy", _NOT_ITS_ADDRESS)
        except BaseException:
            remove_unless_used(folder, lock)
            raise
        yield folder


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


def _fetch_missing(blobs: Blobs, prefix: str, folder: Path, cap_bytes: int, watch: Callable[[], object]) -> None:
    """Fetch the missing files of a dataset in use, or wait for another process that fetches them now."""
    if not _list_missing(folder):
        return
    with fill_alone(folder, watch):
        missing = _list_missing(folder)
        if not missing:
            return
        make_room(folder, sum(blobs.size(f"{prefix}/{name}") for name in FILES), cap_bytes)
        try:
            for name in missing:
                blobs.fetch(f"{prefix}/{name}", folder / name, durable=True, watch=watch)
        except BaseException:
            for name in missing:
                (folder / name).unlink(missing_ok=True)
            raise


def _list_missing(folder: Path) -> list[str]:
    return [name for name in FILES if not (folder / name).exists()]
