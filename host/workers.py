"""The worker of `heldout up` as a child process: started, started again when it dies, stopped."""

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import structlog

from heldout.service.parent_process import launched
from heldout.service.settings import Settings

log = structlog.get_logger("heldout.up")

ROOT = Path(__file__).resolve().parent.parent
# A worker puts its jobs back into the queue within this.
STOP_TIMEOUT_S = 20
RESTART_PAUSE_S = 1.0
# Ambient settings that must not lead a worker elsewhere.
REPLACED_SETTINGS = {"DATABASE_URL", "REDIS_URL", "HELDOUT_REDIS_URL", "PORT", "LOG_LEVEL"}


class WorkerProcess:
    """The worker process, which polls the database. `died` is called after each death, before the next start."""

    def __init__(self, name: str, settings: Settings, died: Callable[[str], None]) -> None:
        self._name = name
        self._settings = settings
        self._died = died
        self._stopping = threading.Event()
        self._starting = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._thread = threading.Thread(target=self._keep_running, name=f"keeper of {name}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Send SIGTERM, by which its jobs go back to the queue; wait for the end, and force it if it does not come."""
        with self._starting:
            self._stopping.set()
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _keep_running(self) -> None:
        while (process := self._start_one()) is not None:
            process.wait()
            if self._stopping.is_set():
                return
            log.error("worker_died", worker=self._name, exit_code=process.returncode)
            self._died(self._name)
            self._stopping.wait(RESTART_PAUSE_S)

    def _start_one(self) -> subprocess.Popen[bytes] | None:
        output = self._settings.home_path / "logs" / "worker.log"
        with self._starting, output.open("ab") as file:
            if self._stopping.is_set():
                return None
            # Its standard input ends with this process too: where there is no Linux, the worker stops by that.
            self._process = subprocess.Popen(
                launched([sys.executable, "-m", "worker.local"]),
                stdin=subprocess.PIPE,
                stdout=file,
                stderr=file,
                env=environment_of(self._settings) | {"HELDOUT_WORKER_NAME": self._name},
                cwd=ROOT,
                start_new_session=True,
            )
            return self._process


def environment_of(settings: Settings) -> dict[str, str]:
    """The caller's environment for a child, with every setting that decides where data goes replaced by ours."""
    ours = {
        "HELDOUT_HOME": str(settings.home_path),
        "HELDOUT_DATABASE_URL": settings.database,
        "HELDOUT_BLOBS": settings.blobs_url,
        "HELDOUT_LOG_LEVEL": settings.log_level,
        "HELDOUT_STOP_WITH_STDIN": "true",
    }
    return {name: value for name, value in os.environ.items() if name not in REPLACED_SETTINGS} | ours
