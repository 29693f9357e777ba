"""The reconciler: in every API and worker process a thread that finds what others left behind."""

import random
import threading
import time
from collections.abc import Callable, Sequence
from datetime import datetime

import structlog

from heldout.errors import DatabaseUnavailable, StorageUnavailable
from heldout.settings import Settings
from models.blobs import Blobs
from models.database import Database
from models.discard import discard_files
from models.store import claims, idempotency, transitions, uploads
from models.wake import WakeUp

log = structlog.get_logger()

Announce = Callable[[Sequence[WakeUp]], None]


class Reconciler:
    """Requeues jobs whose lease has run out, fails those that waited too long, announces forgotten ones.

    Rejects datasets that were announced and never sent.

    Where it is given the blob store, it removes what is of no use there any more: of jobs that ended without a worker,
    of datasets that were deleted or rejected.

    Any number may run at once: each row is settled by one compare-and-set. The pauses are jittered so that they
    spread out.
    """

    def __init__(
        self, database: Database, settings: Settings, announce: Announce | None = None, blobs: Blobs | None = None
    ) -> None:
        self._database = database
        self._blobs = blobs
        self._settings = settings
        self._announce = announce
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="reconciler", daemon=True)
        # While the database was away no worker could renew its lease: they get one whole lease first. Whether it was
        # away before this process began is not known, so living workers get the time to show themselves.
        self._leases_count_from = time.monotonic() + min(settings.lease_s, 2 * settings.heartbeat_s)
        self._last_round: datetime | None = None  # by the database's clock

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(10)

    def run_once(self) -> None:
        """One round. Raises DatabaseUnavailable."""
        with self._database.write() as session:
            lost = claims.take_back_lost(session) if time.monotonic() >= self._leases_count_from else []
            self._refuse_after_gap(transitions.now(session))
            expired = claims.expire_pending(session)
            unsent = uploads.reject_unsent(session)
            idempotency.forget_old(session)
        for job_id, status in lost:
            log.warning("job_taken_back", job_id=job_id, status=status.value)
        for job_id in expired:
            log.warning("job_expired", job_id=job_id)
        for dataset_id in unsent:
            log.info("upload_never_sent", dataset_id=dataset_id)
        if self._announce is not None:
            with self._database.write() as session:
                forgotten = claims.unannounced(session, older_than_s=2 * self._settings.reconcile_s)
            if forgotten:
                self._announce(forgotten)
        if self._blobs is not None:
            self._tidy(self._blobs)

    def _tidy(self, blobs: Blobs) -> None:
        with self._database.write() as session:
            keys = claims.forget_checkpoints_of_all_ended(session)
        for key in keys:
            try:
                blobs.delete(key)
            except StorageUnavailable:
                log.warning("blob_not_deleted", key=key)
        discard_files(self._database, blobs)

    def _refuse_after_gap(self, now: datetime) -> None:
        """Raise DatabaseUnavailable if the last round is so long ago that nobody can have renewed a lease since.

        That is how a database that stood still looks, a machine that slept, and a clock that was set forward: their
        workers are well, and have only had no time to say so.
        """
        before, self._last_round = self._last_round, now
        longest_s = 1.2 * self._settings.reconcile_s + self._settings.lease_s / 2
        if before is not None and (now - before).total_seconds() > longest_s:
            raise DatabaseUnavailable

    def _run(self) -> None:
        while not self._stop.wait(self._settings.reconcile_s * random.uniform(0.8, 1.2)):
            try:
                self.run_once()
            except DatabaseUnavailable:
                self._leases_count_from = time.monotonic() + self._settings.lease_s
                log.warning("database_unavailable", thread="reconciler")
            except Exception:
                log.exception("reconciler_failed")
