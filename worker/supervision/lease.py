"""The right of one attempt to write to its job, until it settles the job or loses the lease."""

import threading
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Self, TypeVar

import structlog

from heldout.errors import DatabaseUnavailable, LeaseLost, StorageUnavailable
from heldout.lifecycle.job import TERMINAL, FailureCode, JobRequest, JobStatus
from heldout.lifecycle.resources import RejectionCode
from models.blobs import Blobs
from models.database import Database, Session
from models.initial_weights import BEFORE_ATTEMPTS
from models.job_summary import summarize_job
from models.store import claims, events, named_blobs
from models.store.artifacts import Artifact
from models.store.claims import HeldAttempt, Result
from worker.messages import Failed, StopCause
from worker.supervision import metrics as worker_metrics
from worker.supervision.threads import LeaseKeeper

log = structlog.get_logger()

T = TypeVar("T")

RETRY_INTERVAL_S = 1.0


class Abandoned(Exception):
    """The worker is stopping while the database does not answer: the lease will expire."""


def choose_stop(request: JobRequest | None, *, stopping: bool, out_of_time: bool) -> StopCause | None:
    """Return how a running attempt should stop now, if at all; a client's request has priority."""
    if request is JobRequest.CANCEL:
        return StopCause.CANCEL
    if request is JobRequest.PAUSE:
        return StopCause.PAUSE
    if out_of_time:
        return StopCause.DEADLINE
    return StopCause.RELEASE if stopping else None


class AttemptLease(AbstractContextManager["AttemptLease"]):
    """The right to write to a job. While the block runs, the keeper renews the lease. Every write names the attempt.

    An exception in the block settles the job as a failure. After the block the job has ended, is queued again, or
    belongs to another attempt.
    """

    def __init__(
        self, held: HeldAttempt, *, database: Database, blobs: Blobs, keeper: LeaseKeeper, stopping: threading.Event
    ) -> None:
        self.held = held
        self.blobs = blobs
        self.stopping = stopping
        self._database = database
        self._keeper = keeper

    def __enter__(self) -> Self:
        self._keeper.hold(self.held)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        try:
            if isinstance(error, LeaseLost):
                log.warning("attempt_lost")
            elif isinstance(error, Abandoned):
                log.warning("attempt_abandoned")
            elif isinstance(error, Exception):
                log.error("attempt_failed", exc_info=error)
                self.fail(FailureCode.INTERNAL, Failed.of_a_fault(error).detail)
        finally:
            self._keeper.forget(self.held)
        return isinstance(error, Exception)

    # --- requests and loss ---------------------------------------------------------------------------

    @property
    def is_lost(self) -> bool:
        """Return whether another attempt has the job, or it has ended."""
        return self._keeper.is_lost(self.held)

    def require(self) -> None:
        """Raise LeaseLost if the job no longer belongs to this attempt."""
        if self.is_lost:
            raise LeaseLost(self.held.job_id, self.held.attempt)

    def requested_stop(self, *, out_of_time: bool) -> StopCause | None:
        """Return how a client, the worker or the clock wants the attempt to stop, or None."""
        request = self._keeper.request_for(self.held)
        return choose_stop(request, stopping=self.stopping.is_set(), out_of_time=out_of_time)

    # --- writing -------------------------------------------------------------------------------------

    def persist(self, work: Callable[[Session], T]) -> T:
        """Write to the database, and wait while it is unavailable.

        Raises:
            LeaseLost: the job no longer belongs to this attempt; nothing was written.
            Abandoned: the worker is stopping and the database is still unavailable.
        """
        return self._do_persistently(self._database.write, work)

    def read(self, work: Callable[[Session], T]) -> T:
        """Read from the database, and wait while it is unavailable. Raises Abandoned."""
        return self._do_persistently(self._database.read, work)

    def _do_persistently(
        self, transaction: Callable[[], AbstractContextManager[Session]], work: Callable[[Session], T]
    ) -> T:
        while True:
            try:
                with transaction() as session:
                    return work(session)
            except DatabaseUnavailable as error:
                if self.stopping.is_set():
                    raise Abandoned from error
                self.stopping.wait(RETRY_INTERVAL_S)

    def settle(self, work: Callable[[Session], JobStatus], result: Result | None = None) -> JobStatus:
        """Change the job's state. A job that has ended gets its summary, and keeps only its last checkpoint.

        Args:
            result: of a training that succeeds.
        """
        # Stored before the transaction, which should not wait for the blob store.
        summary = self.read(lambda session: summarize_job(session, self.blobs, self.held.job_id, result))
        keys: set[str] = set()  # filled by every try: a commit may succeed although its acknowledgement is lost

        def settle_job(session: Session) -> JobStatus:
            claims.note_summary(session, self.held, summary)
            status = work(session)
            keys.update(claims.forget_checkpoints_of_ended(session, self.held.job_id))
            return status

        try:
            status = self.persist(settle_job)
        except LeaseLost:
            # Perhaps by our own unacknowledged commit: then the checkpoints that it dropped can be deleted.
            self.forget(self.persist(lambda session: claims.find_keys_without_checkpoint(session, keys)))
            raise
        self.forget(keys)
        if status in TERMINAL and self.held.attempt > 1:
            self._forget_what_earlier_attempts_left()
        worker_metrics.SETTLED.labels(status.value).inc()
        log.info("attempt_settled", status=status.value)
        return status

    def _forget_what_earlier_attempts_left(self) -> None:
        """Delete files without rows, left by workers that died between storing a file and writing its row."""
        folder = f"jobs/{self.held.job_id}"
        kept = (f"{folder}/{BEFORE_ATTEMPTS}/", f"{folder}/{self.held.attempt}/")
        try:
            keys = [blob.key for blob in self.blobs.stored(folder) if not blob.key.startswith(kept)]
            self.forget(self.read(lambda session: named_blobs.list_unnamed_of_job(session, self.held.job_id, keys)))
        except (StorageUnavailable, Abandoned):
            log.warning("files_not_deleted", folder=folder)  # `heldout check --deep --collect` finds them

    def fail(self, code: FailureCode | RejectionCode, detail: str) -> None:
        """Settle a failure: depending on its code and earlier failures, the job is queued again or has failed."""
        worker_metrics.FAILURES.labels(code).inc()
        try:
            self.settle(lambda session: claims.fail(session, self.held, code=code, detail=detail))
        except (LeaseLost, Abandoned):
            log.warning("attempt_lost")

    def release(self) -> None:
        """Return the job to the queue because the worker is stopping."""
        self.settle(lambda session: claims.release(session, self.held))

    def stop_as_requested(self, files: Sequence[Artifact] = ()) -> None:
        """Cancel or pause the job as requested; `files` are those that it left."""
        self.settle(lambda session: claims.stop_as_requested(session, self.held, files))

    def warn(self, message: str, **data: object) -> None:
        """Add a warning to the job's events."""
        log.warning("job_warning", message=message)

        def add(session: Session) -> None:
            claims.require_held(session, self.held)
            events.add(session, self.held.job_id, "job.warning", message, level="warning", data=data)

        self.persist(add)

    def forget(self, keys: Iterable[str]) -> None:
        """Delete blobs that are no longer needed."""
        for key in keys:
            try:
                self.blobs.delete(key)
            except StorageUnavailable:
                log.warning("blob_not_deleted", key=key)

    def key(self, name: str) -> str:
        """Return the key of a blob that only this attempt writes."""
        return f"jobs/{self.held.job_id}/{self.held.attempt}/{name}"
