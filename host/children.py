"""Runs the child processes of `heldout up`, the worker and the predictor, and restarts them when they die."""

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

from heldout.parent_process import build_launch_command
from heldout.service.settings import Settings
from models.logs import MAX_FILE_BYTES, OLD_FILES

log = structlog.get_logger("heldout.up")

ROOT = Path(__file__).resolve().parent.parent
# A worker needs at most this long to put its jobs back into the queue.
STOP_TIMEOUT_S = 20
RESTART_PAUSE_S = 1.0
MAX_RESTART_PAUSE_S = 30.0
# A process that dies after this time did not fail to start.
HEALTHY_S = 10.0
BACKLOG = 128
LOOK_S = 0.5
# The caller's settings that must not lead a child to another database, broker, port or log.
REPLACED_SETTINGS = {"DATABASE_URL", "REDIS_URL", "HELDOUT_REDIS_URL", "PORT", "LOG_LEVEL"}


@dataclass
class KeptProcess:
    """A child process that runs during the block, and is restarted whenever it ends.

    A dedicated thread starts it, because Linux ends a child with the thread that started it.

    Args:
        name: the name of its log file, and its name in our own log.
        arguments: the arguments for Python.
        environment: variables added to the caller's environment.
        died: called after each death, with the number of consecutive earlier deaths.
        may_end: whether the child may exit with status 0 without counting as dead.
        wait_until_needed: called before each start, with the event that is set when the block ends.
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
        # Held while the child starts, so that a child that is just starting is stopped too.
        self._starting = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._keeper = threading.Thread(target=self._keep, name=f"keeper of {self.name}", daemon=True)

    def __enter__(self) -> Self:
        self._keeper.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Send SIGTERM, so that a worker puts its jobs back into the queue. Kill the child if it does not end."""
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
            except OSError as error:  # the disk is full, or files or memory ran out
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
        """Start the child unless the block ends, and wait until it exits. Returns its exit code."""
        output = self.settings.home_path / "logs" / f"{self.name}.log"
        # Opened before the start, so that the start fails if this does.
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
        writer.join(LOOK_S)  # for the last lines; processes that inherited the child's output may end later
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
                # The child's standard input closes when this process ends. Except on Linux, this stops the child.
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env=_make_environment(self.settings) | self.environment,
                cwd=ROOT,
                start_new_session=True,
            )
            return self._process


def _write_lines(output: IO[bytes], file: RotatingFileHandler) -> None:
    """Write lines to a file that is rotated before it grows too large."""
    with output, closing(file):
        for line in output:
            file.emit(logging.makeLogRecord({"msg": line.decode(errors="backslashreplace").rstrip("\n")}))


def _make_environment(settings: Settings) -> dict[str, str]:
    """Copy the caller's environment for a child, but replace every setting that decides where data goes."""
    ours = {
        "HELDOUT_HOME": str(settings.home_path),
        "HELDOUT_DATABASE_URL": settings.database,
        "HELDOUT_BLOBS": settings.blobs_url,
        "HELDOUT_LOG_LEVEL": settings.log_level,
        "HELDOUT_STOP_WITH_STDIN": "true",
    }
    return {name: value for name, value in os.environ.items() if name not in REPLACED_SETTINGS} | ours


def keep_worker(name: str, settings: Settings, died: Callable[[], None]) -> KeptProcess:
    """Keep a worker running that polls the database. died: called after each death, before the next start."""
    environment = {"HELDOUT_WORKER_NAME": name}
    return KeptProcess("worker", ["-m", "worker.local"], settings, environment, died=lambda failures: died())


class PredictionsOnDemand:
    """Starts a process for predictions whenever a request arrives at `url`, during the block.

    This object holds the socket, so that a connection waits for the next process if none is running. The process ends
    by itself when it is idle.
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
        """Close the connections that no process has accepted: each would start another process that dies."""
        with suppress(OSError):
            while failures and select.select([self._listener], [], [], 0)[0]:
                self._listener.accept()[0].close()
