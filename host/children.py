"""The children of `heldout up`: its worker and the process for predictions, which are started again when they die."""

import logging
import os
import select
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import IO, Self

import structlog

from heldout.service.parent_process import build_launch_command
from heldout.service.settings import Settings
from models.logs import MAX_FILE_BYTES, OLD_FILES

log = structlog.get_logger("heldout.up")

ROOT = Path(__file__).resolve().parent.parent
# A worker puts its jobs back into the queue within this.
STOP_TIMEOUT_S = 20
RESTART_PAUSE_S = 1.0
MAX_RESTART_PAUSE_S = 30.0
# A process that has run for this long does not die of its start.
HEALTHY_S = 10.0
BACKLOG = 128
LOOK_S = 0.5
# Ambient settings that must not lead a child elsewhere.
REPLACED_SETTINGS = {"DATABASE_URL", "REDIS_URL", "HELDOUT_REDIS_URL", "PORT", "LOG_LEVEL"}


@dataclass
class KeptProcess:
    """A child that runs while the block runs, and is started again whenever it ends by itself.

    A thread that lives as long starts it: Linux ends a child with the thread that started it.

    Args:
        name: of its log file and in our own log.
        arguments: of Python.
        environment: beside the caller's, which leads no child elsewhere.
        died: called after each death, with the number of earlier ones in a row.
        may_end: whether its end with status 0 is no death.
        wait_until_needed: called before each start, with the event that the block ends.
    """

    name: str
    arguments: Sequence[str]
    settings: Settings
    environment: dict[str, str] = field(default_factory=dict)
    died: Callable[[int], None] = lambda failures: None
    pass_fds: Sequence[int] = ()
    may_end: bool = False
    wait_until_needed: Callable[[threading.Event], None] = lambda stopping: None

    def __post_init__(self) -> None:
        self._stopping = threading.Event()
        # Held while the child starts, so that one which is just starting is stopped as well.
        self._starting = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._keeper = threading.Thread(target=self._keep, name=f"keeper of {self.name}", daemon=True)

    def __enter__(self) -> Self:
        self._keeper.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Send SIGTERM, by which a worker's jobs go back to the queue; force the end if it does not come."""
        with self._starting:
            self._stopping.set()
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._keeper.join(2 * LOOK_S)

    def _keep(self) -> None:
        failures = 0
        while not self._stopping.is_set():
            self.wait_until_needed(self._stopping)
            began = time.monotonic()
            try:
                exit_code = self._run()
            except OSError as error:  # no room on the disk, no free file or memory at the moment
                log.error(f"{self.name}_not_started", error=str(error))
                exit_code = 1
            if time.monotonic() - began > HEALTHY_S:
                failures = 0
            if self._stopping.is_set() or (self.may_end and exit_code == 0):
                continue
            log.error(f"{self.name}_died", exit_code=exit_code)
            self.died(failures)
            self._stopping.wait(min(RESTART_PAUSE_S * 2**failures, MAX_RESTART_PAUSE_S))
            failures += 1

    def _run(self) -> int:
        """Start the child unless the block ends, and wait for its end; gives its exit code."""
        output = self.settings.home_path / "logs" / f"{self.name}.log"
        # Opened here: where that fails, so does the start.
        log_file = RotatingFileHandler(output, maxBytes=MAX_FILE_BYTES, backupCount=OLD_FILES, encoding="utf-8")
        process = None
        try:
            process = self._start()
        finally:
            if process is None:
                log_file.close()
        if process is None:
            return 0
        writer = threading.Thread(target=_write_lines, args=(process.stdout, log_file), daemon=True)
        writer.start()
        exit_code = process.wait()
        writer.join(LOOK_S)  # the last lines; others that have inherited the child's output may end later
        assert process.stdin is not None
        process.stdin.close()
        return exit_code

    def _start(self) -> subprocess.Popen[bytes] | None:
        with self._starting:
            if self._stopping.is_set():
                return None
            self._process = subprocess.Popen(
                build_launch_command([sys.executable, *self.arguments]),
                pass_fds=self.pass_fds,
                # Its standard input ends with this process too: where there is no Linux, it stops by that.
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env=_make_environment(self.settings) | self.environment,
                cwd=ROOT,
                start_new_session=True,
            )
            return self._process


def _write_lines(output: IO[bytes], file: RotatingFileHandler) -> None:
    """Write lines to a file, which is set aside before it is too large."""
    with output, closing(file):
        for line in output:
            file.emit(logging.makeLogRecord({"msg": line.decode(errors="backslashreplace").rstrip("\n")}))


def _make_environment(settings: Settings) -> dict[str, str]:
    """The caller's environment for a child, with every setting that decides where data goes replaced by ours."""
    ours = {
        "HELDOUT_HOME": str(settings.home_path),
        "HELDOUT_DATABASE_URL": settings.database,
        "HELDOUT_BLOBS": settings.blobs_url,
        "HELDOUT_LOG_LEVEL": settings.log_level,
        "HELDOUT_STOP_WITH_STDIN": "true",
    }
    return {name: value for name, value in os.environ.items() if name not in REPLACED_SETTINGS} | ours


def keep_worker(name: str, settings: Settings, died: Callable[[], None]) -> KeptProcess:
    """The worker, which polls the database. died: called after each death, before the next start."""
    environment = {"HELDOUT_WORKER_NAME": name}
    return KeptProcess("worker", ["-m", "worker.local"], settings, environment, died=lambda failures: died())


class PredictionsOnDemand:
    """A context in which a process for predictions runs whenever it is asked for. `url` is where it is asked.

    The socket is held here, so that a connection that comes while no process runs waits for the next one. The process
    ends by itself when no one asks any more.
    """

    def __init__(self, settings: Settings) -> None:
        self._listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self._listener.bind(("127.0.0.1", 0))
        self._listener.listen(BACKLOG)
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        descriptor = self._listener.fileno()
        self._kept = KeptProcess(
            "predict",
            ["-m", "predict", "--fd", str(descriptor), "--idle", str(settings.predict_idle_s)],
            settings,
            {"HELDOUT_PREDICT_PROCESSES": "1"},
            died=self._send_away_waiting,
            pass_fds=[descriptor],
            may_end=True,
            wait_until_needed=self._wait_for_request,
        )

    def __enter__(self) -> Self:
        self._kept.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._kept.__exit__()
        self._listener.close()

    def _wait_for_request(self, stopping: threading.Event) -> None:
        with suppress(OSError, ValueError):  # the listener is closed
            while not stopping.is_set() and not select.select([self._listener], [], [], LOOK_S)[0]:
                pass

    def _send_away_waiting(self, failures: int) -> None:
        """Close the connections that no process has taken: they would wait in vain, and each would start another."""
        with suppress(OSError):
            while failures and select.select([self._listener], [], [], 0)[0]:
                self._listener.accept()[0].close()
