"""Workers as children of `heldout up`: started, started again when they die, stopped."""

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
REPLACED_SETTINGS = {"DATABASE_URL", "REDIS_URL", "HELDOUT_REDIS_URL", "HELDOUT_SLOTS", "PORT", "LOG_LEVEL"}

LOCAL_DRIVER = ("-m", "worker.local")
CELERY_DRIVER = (
    "-m",
    "celery",
    "--quiet",  # its banner is not JSON
    "--app",
    "worker.celery_app",
    "worker",
    "--without-gossip",
    "--without-mingle",
    "--hostname",
)


class WorkerProcess:
    """One worker. `died` is called after each death, before the next start."""

    def __init__(self, arguments: tuple[str, ...], name: str, settings: Settings, died: Callable[[str], None]) -> None:
        self._arguments = arguments
        self._name = name
        self._settings = settings
        self._died = died
        self._stopping = threading.Event()
        self._starting = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._thread = threading.Thread(target=self._keep_running, name=f"keeper of {name}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def ask_to_stop(self) -> None:
        """SIGTERM: its jobs go back to the queue."""
        with self._starting:
            self._stopping.set()
        if self._process is not None:
            self._process.terminate()

    def stop(self) -> None:
        """Wait for the end, and force it if it does not come."""
        self.ask_to_stop()
        if self._process is None:
            return
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
                launched([sys.executable, *self._arguments]),
                stdin=subprocess.PIPE,
                stdout=file,
                stderr=file,
                env=self._environment(),
                cwd=ROOT,
                start_new_session=True,
            )
            return self._process

    def _environment(self) -> dict[str, str]:
        own = {
            "HELDOUT_WORKER_NAME": self._name,
            "HELDOUT_WORKER_MEMORY_SHARE": str(self._settings.worker_memory_share),
        }
        if self._settings.slots is not None:
            own["HELDOUT_SLOTS"] = str(self._settings.slots)
        return environment_of(self._settings) | own


def environment_of(settings: Settings) -> dict[str, str]:
    """The caller's environment for a child, with every setting that decides where data goes replaced by ours."""
    ours = {
        "HELDOUT_HOME": str(settings.home_path),
        "HELDOUT_DATABASE_URL": settings.database,
        "HELDOUT_BLOBS": settings.blobs_url,
        "HELDOUT_LOG_LEVEL": settings.log_level,
        "HELDOUT_STOP_WITH_STDIN": "true",
    }
    if settings.redis_url is not None:
        ours["HELDOUT_REDIS_URL"] = settings.redis_url.get_secret_value()
    return {name: value for name, value in os.environ.items() if name not in REPLACED_SETTINGS} | ours


def local_worker(name: str, settings: Settings, died: Callable[[str], None]) -> WorkerProcess:
    """The embedded driver, which polls the database."""
    return WorkerProcess(LOCAL_DRIVER, f"{name}-1", settings, died)


def celery_workers(name: str, count: int, settings: Settings, died: Callable[[str], None]) -> list[WorkerProcess]:
    """Celery workers that share this machine's slots and its memory."""
    share = settings.model_copy(
        update={
            "slots": max(1, settings.worker_slots // count),
            "worker_memory_share": settings.worker_memory_share / count,
        }
    )
    names = [f"{name}-{number}" for number in range(1, count + 1)]
    return [WorkerProcess((*CELERY_DRIVER, f"{one}@%h"), one, share, died) for one in names]
