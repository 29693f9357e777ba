"""Two threads that run as long as a worker: one renews the leases of its jobs, one reports its GPUs."""

import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import structlog

from heldout.errors import DatabaseUnavailable
from heldout.lifecycle.job import JobRequest
from heldout.service.settings import Settings
from models.database import Database
from models.store import claims, workers
from models.store.claims import HeldAttempt
from worker.machine.devices import get_host_name

log = structlog.get_logger()

# How often a keeper without jobs signals that it is alive.
IDLE_ROUND_S = 2.0


class LeaseKeeper:
    """Renews leases. Threads that run jobs ask it whether a job is still theirs, and what was requested."""

    def __init__(self, database: Database, settings: Settings, worker: str, sign_of_life: Path) -> None:
        self._database = database
        self._settings = settings
        self._worker = worker
        self._sign_of_life = sign_of_life
        self._lock = threading.Lock()
        self._held: dict[HeldAttempt, JobRequest | None] = {}
        self._lost: set[HeldAttempt] = set()
        self._holds_any = threading.Event()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="keeper", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        with self._lock:
            self._stop.set()
            self._holds_any.set()
        self._thread.join(10)

    def hold(self, held: HeldAttempt) -> None:
        with self._lock:
            self._held[held] = None
            self._holds_any.set()

    def forget(self, held: HeldAttempt) -> None:
        with self._lock:
            self._held.pop(held, None)
            self._lost.discard(held)

    def request_for(self, held: HeldAttempt) -> JobRequest | None:
        """Return what a client requested of the job, as of the last check."""
        with self._lock:
            return self._held.get(held)

    def is_lost(self, held: HeldAttempt) -> bool:
        """Return whether the job belongs to another attempt or has ended: this attempt can write nothing more."""
        with self._lock:
            return held in self._lost

    def _keep(self) -> None:
        renewed_at = time.monotonic()
        while not self._stop.wait(self._settings.poll_s):
            with suppress(OSError):
                self._sign_of_life.touch()
            with self._lock:
                held = set(self._held) - self._lost
                if not held and not self._stop.is_set():
                    self._holds_any.clear()
            if not held:
                self._holds_any.wait(IDLE_ROUND_S)
                renewed_at = time.monotonic()
                continue
            try:
                if time.monotonic() - renewed_at >= self._settings.heartbeat_s:
                    with self._database.write() as session:
                        kept = claims.renew(session, self._worker, held, self._settings.lease_s)
                    renewed_at = time.monotonic()
                    self._note_lost(held - kept)
                with self._database.read() as session:
                    requests = claims.get_requests(session, held)
                self._note_requests(held, requests)
            except DatabaseUnavailable:
                # Training continues; the attempt's number fences it if another worker took the job meanwhile.
                log.warning("database_unavailable", worker=self._worker)
            except Exception:
                # For example, a database that refuses writes for a while: without this thread every lease would expire.
                log.exception("keeper_failed", worker=self._worker)

    def _note_requests(self, held: set[HeldAttempt], requests: Mapping[HeldAttempt, JobRequest | None]) -> None:
        self._note_lost(held - set(requests))
        with self._lock:
            for attempt, request in requests.items():
                if attempt in self._held:
                    self._held[attempt] = request

    def _note_lost(self, lost: set[HeldAttempt]) -> None:
        with self._lock:
            # A job that its thread has released meanwhile is not lost: it has ended.
            for attempt in lost & set(self._held):
                self._lost.add(attempt)
                log.warning("lease_lost", job_id=attempt.job_id, attempt=attempt.attempt)


# Well below the time after which a worker is considered gone.
TELL_EVERY_S = 30.0


class GpuPresence:
    """A thread that reports GPUs repeatedly; a worker without GPUs does not have one."""

    def __init__(self, database: Database, count: int) -> None:
        self._database = database
        self._count = count
        self._host = get_host_name()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="gpu presence", daemon=True)

    def start(self) -> None:
        if self._count:
            self._thread.start()

    def stop(self) -> None:
        """Report that the worker ends; if the database does not answer, the service finds out by itself."""
        if not self._thread.is_alive():
            return
        self._stop.set()
        self._thread.join(10)
        try:
            with self._database.write() as session:
                workers.forget_gpus(session, self._host)
        except DatabaseUnavailable:
            log.warning("database_unavailable", thread="gpu presence")

    def _run(self) -> None:
        while True:
            try:
                with self._database.write() as session:
                    workers.note_gpus(session, self._host, self._count)
            except DatabaseUnavailable:
                log.warning("database_unavailable", thread="gpu presence")
            if self._stop.wait(TELL_EVERY_S):
                return
