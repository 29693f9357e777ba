"""How fast this worker's machine trains: measured once while it is idle, and kept in the database."""

import threading
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Literal

import structlog

from heldout.errors import DatabaseUnavailable
from models.database import Database
from models.store import calibrations
from worker.machine.cores import Cores
from worker.machine.devices import host_name, processor
from worker.machine.speed import Times, speed_of
from worker.supervision.processes import MeasuringProcess, ProcessDied

log = structlog.get_logger()

# Jobs often come right after a start: they go first.
QUIET_S = 2.0
LOOK_EVERY_S = 0.1


class Disturbed(Exception):
    """A job began, or the worker stops: what is measured now would tell of it."""


class Calibrator:
    """A thread that measures as soon as no job runs; a job that comes ends it, and it begins anew afterwards."""

    def __init__(self, database: Database, cores: Cores, stopping: threading.Event) -> None:
        self._database = database
        self._cores = cores
        self._stopping = stopping
        self._thread = threading.Thread(target=self._run, name="calibrator", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Wait for its process to end; the worker is stopping by then."""
        if self._thread.is_alive():
            self._thread.join(10)

    def _run(self) -> None:
        facts = facts_of_speed(self._cores.count)
        while not self._stopping.wait(QUIET_S):
            if not self._cores.are_idle:
                continue
            try:
                if not self._is_known(facts):
                    self._measure(facts)
                return
            except (Disturbed, DatabaseUnavailable):
                continue
            except ProcessDied as died:
                log.warning("calibration_failed", detail=str(died))
                return

    def _is_known(self, facts: dict[str, Any]) -> bool:
        with self._database.read() as session:
            return calibrations.facts_of(session, host_name(), "cpu") == facts

    def _measure(self, facts: dict[str, Any]) -> None:
        whole = self._times(1)
        speed = speed_of(whole, self._times(2) if self._cores.count > 1 else None)
        with self._database.write() as session:
            calibrations.keep(session, host=host_name(), device="cpu", facts=facts, speed=asdict(speed))
        log.info("calibrated", training_share=round(speed.training_share, 3))

    def _times(self, towers: Literal[1, 2]) -> list[Times]:
        process = MeasuringProcess(towers)
        try:
            while (times := process.receive(LOOK_EVERY_S)) is None:
                if self._stopping.is_set() or not self._cores.are_idle:
                    raise Disturbed
            return times
        finally:
            process.kill()


def facts_of_speed(cores: int) -> dict[str, Any]:
    """What a calibration holds for: where one of these differs, it is measured again."""
    return {
        "measured": 1,  # grows when other networks are measured or other work is told apart
        "processor": processor(),
        "cores": cores,
        "tensorflow": _version("tensorflow-cpu") or _version("tensorflow"),
        "keras": _version("keras"),
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
