"""What a worker keeps up while it lives: the leases of its jobs, and the word that it has GPUs. A thread for each."""

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

# How often a keeper without jobs gives its sign of life.
IDLE_ROUND_S = 2.0


class LeaseKeeper:
    """Threads that run jobs ask it whether a job is still theirs and what was asked of it."""

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
        """What a client asked of the job, as of the last look."""
        with self._lock:
            return self._held.get(held)

    def is_lost(self, held: HeldAttempt) -> bool:
        """Whether the job belongs to another attempt or has ended: nothing more that this one writes counts."""
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
                # Training goes on; the attempt's number fences it if somebody else took the job meanwhile.
                log.warning("database_unavailable", worker=self._worker)
            except Exception:
                # A database that refuses to write for a while, say: without this thread every lease would run out.
                log.exception("keeper_failed", worker=self._worker)

    def _note_requests(self, held: set[HeldAttempt], requests: Mapping[HeldAttempt, JobRequest | None]) -> None:
        self._note_lost(held - set(requests))
        with self._lock:
            for attempt, request in requests.items():
                if attempt in self._held:
                    self._held[attempt] = request

    def _note_lost(self, lost: set[HeldAttempt]) -> None:
        with self._lock:
            # A job that its thread has let go of meanwhile is not lost: it has ended.
            for attempt in lost & set(self._held):
                self._lost.add(attempt)
                log.warning("lease_lost", job_id=attempt.job_id, attempt=attempt.attempt)


# Well below the time after which a worker is taken to be gone.
TELL_EVERY_S = 30.0


class GpuPresence:
    """A thread that says so again and again; a worker without GPUs has none, and says nothing."""

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
        """Say that the worker ends; the service finds out by itself where the database does not answer."""
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
