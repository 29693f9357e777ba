"""Measures how fast this worker's machine trains, once while it is idle, and keeps the result in the database."""

import threading
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Literal

import structlog

from analysis.scheduling.cost import Precision
from heldout.errors import DatabaseUnavailable
from models.database import Database
from models.store import calibrations
from worker.machine.cores import Cores
from worker.machine.devices import get_host_name
from worker.machine.processor import get_processor
from worker.machine.speed import Times, fit_speed
from worker.supervision.processes import MeasuringProcess, ProcessDied

log = structlog.get_logger()

# Jobs often arrive right after a start, and have priority.
IDLE_BEFORE_START_S = 2.0
POLL_INTERVAL_S = 0.1


class MeasurementInterrupted(Exception):
    """A job started, or the worker stops: a measurement now would be wrong or late."""


class Calibrator:
    """A thread that measures while no job runs; a job that starts interrupts it, and it starts over afterwards."""

    def __init__(
        self, database: Database, cores: Cores, stopping: threading.Event, *, has_bfloat16: bool = False
    ) -> None:
        self._database = database
        self._cores = cores
        self._stopping = stopping
        self._has_bfloat16 = has_bfloat16
        self._thread = threading.Thread(target=self._run, name="calibrator", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Wait for its process to end while the worker is stopping."""
        if self._thread.is_alive():
            self._thread.join(10)

    def _run(self) -> None:
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
        process = MeasuringProcess(towers, precision)
        try:
            while (times := process.receive(POLL_INTERVAL_S)) is None:
                if self._stopping.is_set() or not self._cores.are_idle:
                    raise MeasurementInterrupted
            return times
        finally:
            process.kill()


def collect_calibration_facts(cores: int, *, has_bfloat16: bool) -> dict[str, Any]:
    """The conditions of a calibration: if one of these differs, the machine is measured again."""
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
