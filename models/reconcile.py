"""The reconciler: a thread in every API and worker process that finishes what others left undone."""

import itertools
import random
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime
from functools import partial

import structlog

from heldout.errors import DatabaseUnavailable, StorageUnavailable, StudyNotFinished, StudyNotFound
from heldout.service.settings import Settings
from models import proofs, waiting_studies
from models.blobs import Blobs
from models.database import Database
from models.ids import make_id
from models.job_summary import complete_earlier
from models.store import (
    activity,
    claims,
    discards,
    file_digests,
    idempotency,
    owners,
    places,
    quotas,
    relations,
    retention,
    studies,
    study_jobs,
    study_steps,
    transitions,
    uploads,
)
from models.store import proofs as store_proofs
from models.store.keys import KeyUses
from models.tables import DatasetRow
from models.wake import WakeUp

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
        self._after_event = 0
        # Each returns whether there may be more to delete. If not, it is called again after a pause.
        deletions = (self._remove_studies, self._remove_jobs, self._remove_jobs_with_own_end, self._remove_events)
        self._again_at: dict[Callable[[], bool], float] = dict.fromkeys(deletions, 0.0)

    def run_once(self) -> None:
        """Delete some of what has expired. Raises DatabaseUnavailable."""
        for remove, again_at in self._again_at.items():
            if time.monotonic() >= again_at and not remove():
                self._again_at[remove] = time.monotonic() + self._pause_s

    def _remove_jobs(self) -> bool:
        return self._keep_jobs_s is not None and self._remove_expired_jobs(self._keep_jobs_s)

    def _remove_jobs_with_own_end(self) -> bool:
        return self._remove_expired_jobs(None)

    def _remove_expired_jobs(self, older_than_s: float | None) -> bool:
        with self._database.read() as session:
            jobs = retention.list_expired_jobs(session, older_than_s)
        count = 0
        for owner, ids in jobs.items():
            for first in range(0, len(ids), JOBS_AT_ONCE):
                with self._database.write() as session:
                    some = ids[first : first + JOBS_AT_ONCE]
                    removed = retention.remove_jobs(session, owner, some, older_than_s)
                for job_id in removed:
                    self._delete_files(f"jobs/{job_id}")
                log.info("old_jobs_deleted", jobs=len(removed))
                count += len(removed)
        return count > 0

    def _remove_studies(self) -> bool:
        if self._keep_jobs_s is None:
            return False
        with self._database.read() as session:
            found = retention.list_old_studies(session, self._keep_jobs_s)
        count = 0
        for owner, study_id in found:
            # Another process or the owner may delete it first.
            with suppress(StudyNotFound, StudyNotFinished):
                with self._database.write() as session:
                    job_ids = studies.remove(session, owner, study_id)
                for folder in (f"studies/{study_id}", *(f"jobs/{job_id}" for job_id in job_ids)):
                    self._delete_files(folder)
                log.info("old_study_deleted", study_id=study_id)
                count += 1
        return count > 0

    def _remove_events(self) -> bool:
        if self._keep_events_s is None:
            return False
        with self._database.read() as session:
            found = retention.list_old_events(session, self._keep_events_s, self._after_event)
        for owner, positions in found.by_owner.items():
            with self._database.write() as session:
                retention.remove_events(session, owner, positions)
        self._after_event = found.last or 0
        return found.last is not None

    def _delete_files(self, folder: str) -> None:
        try:
            self._blobs.delete_all(folder)
        except StorageUnavailable:
            # `heldout check --deep --collect` finds these files.
            log.warning("files_not_deleted", folder=folder)


Announce = Callable[[Sequence[WakeUp]], None]

# A round is late if it comes later than this multiple of its regular pause plus half a lease.
LATE_AFTER_PAUSES = 1.2
# An idle service does little else than reconcile, so clean-up that no one waits for runs less often.
ROUNDS_PER_TIDY_UP = 3
# Each pause is drawn between these shares of `reconcile_s`, so that processes do not reconcile at the same moment.
PAUSE_SHARES = (0.8, 1.2)


def discard_files(database: Database, blobs: Blobs) -> None:
    """Delete the files of some discarded datasets. Several processes may do so at once.

    Failures are retried at the next call.

    Raises:
        DatabaseUnavailable.
    """
    with database.read() as session:
        found = discards.list_discarded(session)
    for dataset in found:
        try:
            _discard(database, blobs, dataset)
        except StorageUnavailable:
            log.warning("files_not_deleted", dataset_id=dataset.id)


def _discard(database: Database, blobs: Blobs, dataset: DatasetRow) -> None:
    with database.write() as session:
        if discards.is_still_needed(session, dataset.id):
            return
        sha256 = discards.release_files(session, dataset)
        blobs.delete_all(f"uploads/{dataset.id}")
        if dataset.deleted_at is not None:
            blobs.delete_all(f"datasets/{dataset.id}")
            file_digests.forget(session, f"datasets/{dataset.id}")
        if sha256 is not None:
            blobs.delete_all(f"datasets/{sha256}")
            file_digests.forget(session, f"datasets/{sha256}")


class Reconciler:
    """Recovers jobs of lost workers, fails jobs that waited too long, and repeats wake-ups that may be lost.

    It also rejects datasets whose content never arrived, continues studies, and queues the search for copies in
    datasets of earlier releases. With the blob store, it also completes the summaries of jobs of earlier releases and
    deletes unneeded blobs: last states of jobs that ended long ago, and files of deleted or rejected datasets. Then it
    deletes expired jobs, studies and events, too.

    Several reconcilers may run at once, because each row is settled by one compare-and-set.
    """

    def __init__(
        self,
        database: Database,
        settings: Settings,
        announce: Announce | None = None,
        blobs: Blobs | None = None,
        *,
        key_uses: KeyUses | None = None,
    ) -> None:
        self._database = database
        self._key_uses = key_uses
        self._blobs = blobs
        self._retention = None if blobs is None else Retention(database, blobs, settings)
        self._settings = settings
        self._announce = announce
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="reconciler", daemon=True)
        # While the database is unreachable, no worker can renew its lease, so workers get a whole lease afterwards.
        # It may have been unreachable before this process started, so workers first get time for two heartbeats.
        self._leases_count_after = time.monotonic() + min(settings.lease_s, 2 * settings.heartbeat_s)
        # Jobs with smaller ids may lack what a summary has since this release; None once all were seen.
        self._unseen_jobs: str | None = make_id("job")
        self._last_round: datetime | None = None  # by the database's clock

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(10)

    def run_once(self) -> None:
        """Run one complete round. Raises DatabaseUnavailable."""
        self.settle()
        self._tidy_up()

    def settle(self) -> None:
        """Settle what clients or workers wait for. Takes one statement if there is no work."""
        if self._key_uses is not None:
            self._key_uses.write(self._database)
        with self._database.read() as session:
            now, has_work = claims.find_work(session)
        if not has_work:
            self._require_no_gap(now)
            return
        with self._database.write() as session:
            lost = claims.recover_expired_leases(session) if time.monotonic() >= self._leases_count_after else []
            self._require_no_gap(transitions.get_now(session))
            expired = claims.expire_pending(session)
            owners.add_missing(session)
        self._take_care_of_studies()
        for job_id, status in lost:
            log.warning("job_recovered", job_id=job_id, status=status.value)
        for job_id in expired:
            log.warning("job_expired", job_id=job_id)
        if self._announce is not None:
            with self._database.write() as session:
                wake_ups = claims.take_wake_ups_to_repeat(session, older_than_s=2 * self._settings.reconcile_s)
            if wake_ups:
                self._announce(wake_ups)

    def _tidy_up(self) -> None:
        """Do the work that no one waits for: delete unneeded data, and find copies in datasets of earlier releases."""
        with self._database.write() as session:
            unsent = uploads.reject_unsent(session)
            idempotency.forget_old(session)
            activity.forget_old(session, self._settings.keep_audit_s)
            places.forget_expired(session)
            relate = relations.queue_missing(session)
        # In a separate transaction, because other transactions lock rows of owners last.
        with self._database.write() as session:
            quotas.release_holds(session)
        if relate is not None:
            log.info("copies_not_known", job_id=relate)
        for dataset_id in unsent:
            log.info("upload_never_sent", dataset_id=dataset_id)
        if self._blobs is not None:
            self._delete_unneeded(self._blobs)
            if self._unseen_jobs is not None:
                self._unseen_jobs = complete_earlier(self._database, self._blobs, self._unseen_jobs)

    def _take_care_of_studies(self) -> None:
        """Continue studies that stalled, and cancel jobs that studies no longer need."""
        with self._database.read() as session:
            study_ids = study_jobs.list_needing_care(session)
        for study_id in study_ids:
            self._database.write_in_pieces(partial(study_jobs.cancel_some, study_id))
            with self._database.write() as session:
                if not studies.has_open_jobs(session, study_id):
                    study_steps.advance(session, study_id)
        if self._blobs is not None:
            waiting_studies.begin_ready(self._database, self._blobs, max_parameters=self._settings.max_parameters)
            self._take_care_of_proofs(self._blobs)

    def _take_care_of_proofs(self, blobs: Blobs) -> None:
        """Continue proofs whose last experiment ended without its worker, or which waited for room in a quota."""
        with self._database.read() as session:
            job_ids = store_proofs.list_running(session)
        for job_id in job_ids:
            with self._database.write() as session:
                proofs.advance(session, blobs, job_id, max_parameters=self._settings.max_parameters)

    def _delete_unneeded(self, blobs: Blobs) -> None:
        with self._database.write() as session:
            keys = claims.forget_old_states(session, self._settings.keep_state_s)
        for key in keys:
            try:
                blobs.delete(key)
            except StorageUnavailable:
                log.warning("blob_not_deleted", key=key)
        discard_files(self._database, blobs)
        if self._retention is not None:
            self._retention.run_once()

    def _require_no_gap(self, now: datetime) -> None:
        """Raise DatabaseUnavailable if the last round was too long ago, to roll back what this round recovered.

        In that case, the database hung, the machine slept, or the clock was set forward. Workers are fine, but had no
        time to renew their leases.
        """
        before, self._last_round = self._last_round, now
        longest_s = LATE_AFTER_PAUSES * self._settings.reconcile_s + self._settings.lease_s / 2
        if before is not None and (now - before).total_seconds() > longest_s:
            raise DatabaseUnavailable

    def _run(self) -> None:
        rounds = itertools.count(1)
        while not self._stop.wait(self._settings.reconcile_s * random.uniform(*PAUSE_SHARES)):
            try:
                self.settle()
                if next(rounds) % ROUNDS_PER_TIDY_UP == 0:
                    self._tidy_up()
            except DatabaseUnavailable:
                self._leases_count_after = time.monotonic() + self._settings.lease_s
                log.warning("database_unavailable", thread="reconciler")
            except Exception:
                log.exception("reconciler_failed")
