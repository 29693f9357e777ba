"""Deletes expired jobs, studies and events, some at each call."""

import time
from collections.abc import Mapping, Sequence
from contextlib import suppress

import structlog

from heldout.errors import StorageUnavailable, StudyNotFinished, StudyNotFound
from heldout.service.settings import Settings
from models.blobs import Blobs
from models.database import Database
from models.store import retention, studies

log = structlog.get_logger()

# The maximum number of jobs of an owner that are deleted in one transaction.
JOBS_AT_ONCE = 100
# The pause after all rows were checked.
PAUSE_S = 600.0


class Retention:
    """Applies `keep_jobs_s`, `keep_events_s`, and the expiry that a job's spec may set.

    Several processes may do so at once. A job of a study stays as long as its study: both are deleted together, after
    the study has ended.
    """

    def __init__(self, database: Database, blobs: Blobs, settings: Settings, pause_s: float = PAUSE_S) -> None:
        self._database = database
        self._blobs = blobs
        self._keep_jobs_s = settings.keep_jobs_s
        self._keep_events_s = settings.keep_events_s
        self._pause_s = pause_s
        self._after_job, self._jobs_again_at = "", 0.0
        self._after_event, self._events_again_at = 0, 0.0
        self._own_ends_again_at = 0.0

    def run_once(self) -> None:
        """Check the next rows, and delete expired ones. Raises DatabaseUnavailable."""
        if self._keep_jobs_s is not None and time.monotonic() >= self._jobs_again_at:
            self._remove_studies(self._keep_jobs_s)
            self._remove_jobs(self._keep_jobs_s)
        if time.monotonic() >= self._own_ends_again_at:
            self._remove_jobs_with_own_end()
        if self._keep_events_s is not None and time.monotonic() >= self._events_again_at:
            self._remove_events(self._keep_events_s)

    def _remove_jobs(self, older_than_s: float) -> None:
        with self._database.read() as session:
            found = retention.list_old_jobs(session, older_than_s, self._after_job)
        self._remove(found.by_owner, older_than_s)
        self._after_job = found.last or ""
        if found.last is None:
            self._jobs_again_at = time.monotonic() + self._pause_s

    def _remove_jobs_with_own_end(self) -> None:
        with self._database.read() as session:
            found = retention.list_jobs_past_end(session)
        self._remove(found, None)
        if not found:
            self._own_ends_again_at = time.monotonic() + self._pause_s

    def _remove(self, jobs: Mapping[str, Sequence[str]], older_than_s: float | None) -> None:
        for owner, ids in jobs.items():
            for first in range(0, len(ids), JOBS_AT_ONCE):
                with self._database.write() as session:
                    some = ids[first : first + JOBS_AT_ONCE]
                    removed = retention.remove_jobs(session, owner, some, older_than_s)
                for job_id in removed:
                    self._delete_files(f"jobs/{job_id}")
                log.info("old_jobs_deleted", jobs=len(removed))

    def _remove_studies(self, older_than_s: float) -> None:
        with self._database.read() as session:
            found = retention.list_old_studies(session, older_than_s)
        for owner, study_id in found:
            # Another process or the owner may delete it first.
            with suppress(StudyNotFound, StudyNotFinished):
                with self._database.write() as session:
                    job_ids = studies.remove(session, owner, study_id)
                for folder in (f"studies/{study_id}", *(f"jobs/{job_id}" for job_id in job_ids)):
                    self._delete_files(folder)
                log.info("old_study_deleted", study_id=study_id)

    def _remove_events(self, older_than_s: float) -> None:
        with self._database.read() as session:
            found = retention.list_old_events(session, older_than_s, self._after_event)
        for owner, positions in found.by_owner.items():
            with self._database.write() as session:
                retention.remove_events(session, owner, positions)
        self._after_event = found.last or 0
        if found.last is None:
            self._events_again_at = time.monotonic() + self._pause_s

    def _delete_files(self, folder: str) -> None:
        try:
            self._blobs.delete_all(folder)
        except StorageUnavailable:
            # `heldout check --deep --collect` finds these files.
            log.warning("files_not_deleted", folder=folder)
