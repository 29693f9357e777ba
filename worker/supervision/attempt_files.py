"""The files that an attempt needs before it can start; waits while the store or the disk is unavailable."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TypeVar

import structlog

from analysis.arrays.columns import COLUMNS_FILE, make_columns_key
from analysis.arrays.dataset import FILES
from analysis.arrays.file_names import MEMBERS_FILE, make_members_key
from analysis.arrays.relations import FILE_NAME, make_relations_key
from heldout.errors import DatasetDamaged, StorageUnavailable
from heldout.errors.missing import Damaged
from heldout.lifecycle.job import FailureCode
from heldout.service.settings import Settings
from heldout.stored.looks import StoredLooks, make_looks_key
from models.blobs import BlobMissing
from models.digests import FileDigest, compute_file_digest, describe, make_damaged_error
from models.store import file_digests
from models.store.claims import Claimed
from models.stored_files import uses_relations
from worker.machine.cache import hold_dataset
from worker.messages import StopCause
from worker.supervision.lease import RETRY_INTERVAL_S, AttemptLease

log = structlog.get_logger()

T = TypeVar("T")

STORAGE_TRIES = 10


class Interrupted(Exception):
    """A client or the worker wants the attempt to end while it waits for files."""

    def __init__(self, requested: StopCause) -> None:
        self.requested = requested


class CannotBegin(Exception):
    """A required file is missing, so the process is not started; another attempt would lack it, too."""

    def __init__(self, code: FailureCode, detail: str) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail


class ModelGone(CannotBegin):
    """A job has no stored model."""

    def __init__(self, job_id: str) -> None:
        super().__init__(FailureCode.MODEL_UNAVAILABLE, f"The model of {job_id} is no longer stored.")


class AttemptFiles:
    """Fetches files for one attempt.

    Unless stated otherwise, a method raises BlobMissing if waiting does not help, DatasetDamaged or ArtifactDamaged if
    a file differs from the stored one, and StorageUnavailable after `STORAGE_TRIES`. It raises Interrupted if the
    attempt should end, and LeaseLost if the job no longer belongs to this attempt.
    """

    def __init__(self, lease: AttemptLease, settings: Settings) -> None:
        self._lease = lease
        self._settings = settings

    def open_dataset(self, sha256: str, enter: Callable[[AbstractContextManager[Path]], Path]) -> Path:
        """Return the dataset's folder; `enter` keeps it in use until the attempt is over."""
        cache, cap_bytes = self._settings.home_path / "datasets", self._settings.cache_bytes

        def fetch() -> Path:
            return enter(hold_dataset(self._lease.blobs, sha256, cache, cap_bytes, self._check_stop))

        keys = [f"datasets/{sha256}/{name}" for name in FILES]
        known = self._lease.read(lambda session: {key: file_digests.find(session, key) for key in keys})
        try:
            folder = self.retry_while_away(fetch)
        except DatasetDamaged:
            for key, expected in known.items():
                self._lease.blobs.require_whole(key, expected)  # names the file itself
            raise
        if None in known.values():  # stored by an earlier release; now it has an address
            digests = {key: compute_file_digest(folder / name) for key, name in zip(keys, FILES, strict=True)}
            self._lease.persist(lambda session: file_digests.note(session, digests))
        return folder

    def fetch(self, key: str, target: Path) -> None:
        """Copy a blob to a file."""
        expected = self._lease.read(lambda session: file_digests.find(session, key))
        self.retry_while_away(lambda: self._lease.blobs.fetch(key, target, expected, watch=self._check_stop))

    def store(self, files: Mapping[str, Path]) -> dict[str, FileDigest]:
        """Store files of a dataset by their keys; returns their digests, which belong in the row's transaction."""
        for key, file in files.items():
            self._lease.blobs.put(key, file)
        return {key: compute_file_digest(file) for key, file in files.items()}

    def fetch_if_there(self, key: str, target: Path) -> bool:
        """Copy a blob to a file with one try; False if there is none, or it is unavailable now.

        A file that was stored but is lost or damaged becomes a warning of the job.
        """
        expected = self._lease.read(lambda session: file_digests.find(session, key))
        try:
            self._lease.blobs.fetch(key, target, expected, watch=self._check_stop)
        except (StorageUnavailable, OSError):
            return False
        except (BlobMissing, Damaged) as error:
            if expected is not None:
                why = error.detail if isinstance(error, Damaged) else f"The file with {describe(key)} is lost."
                self._lease.warn(f"The job continues without {describe(key)}. {why}")
            return False
        return True

    def fetch_names(self, dataset_id: str, folder: Path) -> Path | None:
        """Return the names of a dataset's images; None for bundled datasets and those of early releases."""
        return self._fetch_if_stored(make_members_key(dataset_id), folder / MEMBERS_FILE)

    def fetch_columns(self, dataset_id: str, folder: Path) -> Path | None:
        """Return the columns of a dataset; None if it has none."""
        return self._fetch_if_stored(make_columns_key(dataset_id), folder / COLUMNS_FILE)

    def _fetch_if_stored(self, key: str, file: Path) -> Path | None:
        try:
            self.fetch(key, file)
        except BlobMissing as error:
            if self._lease.read(lambda session: file_digests.find(session, key)) is not None:
                raise make_damaged_error(key, "It is not in the blob store any more.") from error
            return None
        return file

    def fetch_relations(self, claimed: Claimed, folder: Path, *, needed: bool) -> Path | None:
        """Return the copies and groups of the dataset, if known.

        Args:
            needed: whether the job's folds depend on them. Other jobs can train without.
        """
        file, key = folder / FILE_NAME, make_relations_key(claimed.dataset.id)
        if not needed:
            return file if self.fetch_if_there(key, file) else None
        if not uses_relations(claimed.dataset.relations_status):
            return None
        self.fetch(key, file)
        return file

    def fetch_names_if_there(self, claimed: Claimed, folder: Path) -> Path | None:
        """Return the names of the dataset's images, if known; jobs can do without."""
        file = folder / MEMBERS_FILE
        return file if self.fetch_if_there(make_members_key(claimed.dataset.id), file) else None

    def fetch_columns_if_there(self, claimed: Claimed, folder: Path) -> Path | None:
        """Return the columns of the dataset, if it has any; jobs can do without."""
        file = folder / COLUMNS_FILE
        return file if self.fetch_if_there(make_columns_key(claimed.dataset.id), file) else None

    def fetch_looks_if_there(self, dataset_id: str, folder: Path) -> Path | None:
        """Return what the features of a dataset show, if they are known; jobs can do without."""
        file = folder / StoredLooks.file_name
        return file if self.fetch_if_there(make_looks_key(dataset_id), file) else None

    def retry_while_away(self, use_store: Callable[[], T]) -> T:
        """Do something with the blob store, and retry while it is unavailable."""
        for attempt in range(1, STORAGE_TRIES + 1):
            try:
                return use_store()
            except (StorageUnavailable, OSError) as error:
                log.warning("storage_unavailable", attempt=attempt)
                self._check_stop()
                if attempt == STORAGE_TRIES:
                    raise StorageUnavailable from error
                self._lease.stopping.wait(RETRY_INTERVAL_S)
        raise AssertionError("unreachable")

    def _check_stop(self) -> None:
        self._lease.require()
        # Past its deadline a job still gets its files: with what it has trained it can succeed.
        requested = self._lease.requested_stop(out_of_time=False)
        if requested is not None:
            raise Interrupted(requested)
