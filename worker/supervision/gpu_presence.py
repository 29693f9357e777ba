"""Tells the service that this worker has GPUs, for as long as it lives."""

import threading

import structlog

from heldout.errors import DatabaseUnavailable
from models.database import Database
from models.store import gpus
from worker.machine.devices import host_name

log = structlog.get_logger()

# Well below the time after which a worker is taken to be gone.
TELL_EVERY_S = 30.0


class GpuPresence:
    """A thread that says so again and again; a worker without GPUs has none, and says nothing."""

    def __init__(self, database: Database, count: int) -> None:
        self._database = database
        self._count = count
        self._host = host_name()
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
                gpus.forget(session, self._host)
        except DatabaseUnavailable:
            log.warning("database_unavailable", thread="gpu presence")

    def _run(self) -> None:
        while True:
            try:
                with self._database.write() as session:
                    gpus.note(session, self._host, self._count)
            except DatabaseUnavailable:
                log.warning("database_unavailable", thread="gpu presence")
            if self._stop.wait(TELL_EVERY_S):
                return
