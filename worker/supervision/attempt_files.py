"""The files that an attempt needs before it can start: waited for while the store or the disk is out of order."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TypeVar

import structlog

from heldout.errors import StorageUnavailable
from heldout.settings import Settings
from models.blobs import BlobMissing
from worker.machine.cache import dataset_on_disk
from worker.messages import StopCause
from worker.supervision.lease import AttemptLease

log = structlog.get_logger()

T = TypeVar("T")

STORAGE_TRIES = 10


class Interrupted(Exception):
    """A client or the worker wants the attempt to end while it waits for files."""

    def __init__(self, requested: StopCause) -> None:
        self.requested = requested


class AttemptFiles:
    """Fetches files for one attempt.

    Unless it says otherwise, a method raises BlobMissing where waiting does not help, StorageUnavailable after
    `STORAGE_TRIES`, Interrupted where the attempt is to end, and LeaseLost where the job is no longer this attempt's.
    """

    def __init__(self, lease: AttemptLease, settings: Settings) -> None:
        self._lease = lease
        self._settings = settings

    def open_dataset(self, sha256: str, enter: Callable[[AbstractContextManager[Path]], Path]) -> Path:
        """The dataset's folder; `enter` keeps it in use until the attempt is over."""
        cache, cap_bytes = self._settings.home_path / "datasets", self._settings.cache_bytes

        def fetch() -> Path:
            return enter(dataset_on_disk(self._lease.blobs, sha256, cache, cap_bytes, self._check_stop))

        return self._retried(fetch)

    def fetch(self, key: str, target: Path) -> None:
        """Copy a blob to a file."""
        self._retried(lambda: self._lease.blobs.fetch(key, target, watch=self._check_stop))

    def fetch_if_there(self, key: str, target: Path) -> bool:
        """Copy a blob to a file, in one try; False where there is none, or where it cannot be had now."""
        try:
            self._lease.blobs.fetch(key, target, watch=self._check_stop)
        except (BlobMissing, StorageUnavailable, OSError):
            return False
        return True

    def _retried(self, fetch: Callable[[], T]) -> T:
        for attempt in range(1, STORAGE_TRIES + 1):
            try:
                return fetch()
            except (StorageUnavailable, OSError) as error:
                log.warning("storage_unavailable", attempt=attempt)
                self._check_stop()
                if attempt == STORAGE_TRIES:
                    raise StorageUnavailable from error
                self._lease.wait_before_retry()
        raise AssertionError("unreachable")

    def _check_stop(self) -> None:
        self._lease.require()
        # Past its deadline a job still gets its files: what it has trained makes it succeed.
        requested = self._lease.requested_stop(out_of_time=False)
        if requested is not None:
            raise Interrupted(requested)
