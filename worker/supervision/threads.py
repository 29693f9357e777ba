"""Threads of a worker: they renew the leases of its jobs, report its GPUs, and measure how fast its machine trains."""

import threading
import time
from contextlib import suppress
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

import structlog

from analysis.scheduling.cost import Precision
from heldout.errors import DatabaseUnavailable, HeldoutError
from heldout.lifecycle.job import JobRequest
from heldout.service.settings import Settings
from models import proofs
from models.blobs import Blobs
from models.database import Database
from models.store import calibrations, claims, workers
from models.store.claims import HeldAttempt
from models.store.proofs import find_unproven
from worker.machine.cores import Cores
from worker.machine.devices import get_host_name, get_processor
from worker.machine.enclosed_process import ProcessDied
from worker.machine.speed import Times, fit_speed
from worker.supervision.processes import PipedProcess
from worker.training import child

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
                self._note_lost(held - set(requests))
                with self._lock:
                    for attempt, request in requests.items():
                        if attempt in self._held:  # not released meanwhile
                            self._held[attempt] = request
            except DatabaseUnavailable:
                # Training continues; the attempt's number fences it if another worker took the job meanwhile.
                log.warning("database_unavailable", worker=self._worker)
            except Exception:
                # For example, a database that refuses writes for a while: without this thread every lease would expire.
                log.exception("keeper_failed", worker=self._worker)

    def _note_lost(self, lost: set[HeldAttempt]) -> None:
        with self._lock:
            # A job that its thread has released meanwhile is not lost: it has ended.
            for attempt in lost & set(self._held):
                self._lost.add(attempt)
                log.warning("lease_lost", job_id=attempt.job_id, attempt=attempt.attempt)


# Well below the time after which a worker is considered gone.
TELL_EVERY_S = 30.0


def report_gpus(database: Database, count: int, stopping: threading.Event) -> None:
    """Report a worker's GPUs, if it has any, until it stops.

    If the database does not answer then, the service finds out by itself.
    """
    host, is_over = get_host_name(), not count
    while not is_over:
        is_over = stopping.is_set()
        try:
            with database.write() as session:
                if is_over:
                    workers.forget_gpus(session, host)
                else:
                    workers.note_gpus(session, host, count)
        except DatabaseUnavailable:
            log.warning("database_unavailable", thread="gpu presence")
        if not is_over:
            stopping.wait(TELL_EVERY_S)


# Jobs often arrive right after a start, and have priority.
IDLE_BEFORE_START_S = 2.0
POLL_INTERVAL_S = 0.1


class MeasurementInterrupted(Exception):
    """A job started, or the worker stops: a measurement now would be wrong or late."""


class Calibrator(threading.Thread):
    """A thread that measures while no job runs; a job that starts interrupts it, and it starts over afterwards."""

    def __init__(
        self, database: Database, cores: Cores, stopping: threading.Event, *, has_bfloat16: bool = False
    ) -> None:
        super().__init__(name="calibrator", daemon=True)
        self._database = database
        self._cores = cores
        self._stopping = stopping
        self._has_bfloat16 = has_bfloat16

    def run(self) -> None:
        facts = collect_calibration_facts(self._cores.count, has_bfloat16=self._has_bfloat16)
        while not self._stopping.wait(IDLE_BEFORE_START_S):
            if not self._cores.are_idle:
                continue
            try:
                if not self._is_known(facts):
                    self._measure(facts)
                return
            except (MeasurementInterrupted, DatabaseUnavailable):
                continue
            except ProcessDied as died:
                log.warning("calibration_failed", detail=str(died))
                return

    def _is_known(self, facts: dict[str, Any]) -> bool:
        with self._database.read() as session:
            return calibrations.get_facts(session, get_host_name(), "cpu") == facts

    def _measure(self, facts: dict[str, Any]) -> None:
        speed = fit_speed(
            self._measure_times(1),
            self._measure_times(2) if self._cores.count > 1 else None,
            self._cores.count,
            self._measure_times(1, "mixed") if self._has_bfloat16 else None,
        )
        with self._database.write() as session:
            calibrations.keep(session, host=get_host_name(), device="cpu", facts=facts, speed=asdict(speed))
        log.info("calibrated", training_share=round(speed.training_share, 3))

    def _measure_times(self, towers: Literal[1, 2], precision: Precision = "float32") -> list[Times]:
        """Return seconds of a step and of a batch for each network."""
        process = PipedProcess(child.measure, (towers, precision), fork=True)
        try:
            while (times := process.receive(POLL_INTERVAL_S)) is None:
                if self._stopping.is_set() or not self._cores.are_idle:
                    raise MeasurementInterrupted
            return list[Times](times)
        finally:
            process.kill()


def collect_calibration_facts(cores: int, *, has_bfloat16: bool) -> dict[str, Any]:
    """Return the conditions of a calibration: if one of these differs, the machine is measured again."""
    return {
        "measured": 4,  # increase when other networks or other kinds of work are measured
        "processor": get_processor().model,
        "cores": cores,
        "has_bfloat16": has_bfloat16,
        "tensorflow": _get_version("tensorflow-cpu") or _get_version("tensorflow"),
        "keras": _get_version("keras"),
    }


def _get_version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


# How often an idle worker looks for a verdict to prove.
PROVE_EVERY_S = 3.0


def prove_while_idle(
    database: Database, blobs: Blobs, settings: Settings, cores: Cores, stopping: threading.Event
) -> None:
    """Begin the proof of a recent job's verdict whenever this worker has nothing to do and no job waits or runs."""
    refused = set[str]()
    while not stopping.wait(PROVE_EVERY_S):
        if not cores.are_idle:
            continue
        job = None
        try:
            with database.read() as session:
                job = None if claims.find_work(session)[1] else find_unproven(session, refused)
            if job is not None:
                with database.write() as session:
                    proofs.create_idle_proof(
                        session, blobs, job, settings.prove_idle_s, max_parameters=settings.max_parameters
                    )
        except DatabaseUnavailable:
            log.warning("database_unavailable", thread="proofs")
        except Exception as error:
            refused |= set() if job is None else {job.id}
            if isinstance(error, HeldoutError):
                log.info("proof_not_begun", code=error.code)
            else:
                log.exception("proof_not_begun")
