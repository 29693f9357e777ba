"""Training processes: forked from a server that has imported TensorFlow, followed over a pipe, ended by a kill."""

import os
import re
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing import current_process, forkserver, get_context
from pathlib import Path
from types import ModuleType
from typing import Any

from heldout.markup import make_visible
from worker.machine.enclosed_process import ProcessDied
from worker.machine.parent import SUPERVISOR_VARIABLE
from worker.messages import LOG_FILE, Alive, AnyAssignment, Assignment, StopCause
from worker.training import child

_FOLDERS = re.compile(r"(?:/[\w.@+~-]+)+/(?=[\w.@+~-])")

# How long the fork server may take to import TensorFlow on a busy machine.
WARM_UP_TIMEOUT_S = 180
# A fork that has not answered by then is considered hung.
FORK_READY_TIMEOUT_S = 10
SPAWN_READY_TIMEOUT_S = 180
# Lines of its output that are kept if it fails.
LAST_LINES = 20

# Starting a child briefly changes the environment and `__main__` of the whole process: one thread at a time.
_START_LOCK = threading.Lock()

# A training process does not inherit environment variables that start with one of these, or with `HELDOUT_`.
SECRET_NAME_PREFIXES = ("DATABASE_", "REDIS_", "API_KEY", "SECRETS_", "AWS_", "PG")


def warm_up(socket_folder: Path | None) -> None:
    """Start the fork server, with TensorFlow imported but never used, so that the first job starts immediately.

    Args:
        socket_folder: where its socket is created; the caller removes it. None leaves it to multiprocessing, whose
        temporary folder outlives a worker that is killed.
    """
    if socket_folder is not None:
        # multiprocessing has no public way to choose the folder.
        current_process()._config["tempdir"] = str(socket_folder)  # type: ignore[attr-defined]
    forking = get_context("forkserver")
    forking.set_forkserver_preload(["worker.training.preload"])
    os.environ[SUPERVISOR_VARIABLE] = str(os.getpid())
    # Signals to our group must reach only the supervisor: it shuts its children down cleanly.
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        with _hide_secrets():
            forkserver.ensure_running()
    finally:
        signal.signal(signal.SIGTERM, before)
    process = forking.Process(target=child.warm_up)
    process.start()
    process.join(WARM_UP_TIMEOUT_S)
    if process.exitcode is None:
        process.kill()


class PipedProcess:
    """One of our processes and the pipe to it."""

    def __init__(self, target: Callable[..., None], arguments: tuple[Any, ...], *, fork: bool) -> None:
        self._start(target, arguments, fork=fork)

    def _start(self, target: Callable[..., None], arguments: tuple[Any, ...], *, fork: bool) -> None:
        """Start the process; `target` receives the other end of the pipe as its first argument."""
        how = get_context("forkserver") if fork else get_context("spawn")
        self._pipe, theirs = how.Pipe()
        # daemon: a supervisor that exits cleanly ends its processes, too.
        self._process = how.Process(target=target, args=(theirs, *arguments), daemon=True)
        with _START_LOCK, _hide_secrets(), _hide_main():
            self._process.start()
        theirs.close()

    @property
    def pid(self) -> int:
        assert self._process.pid is not None
        return self._process.pid

    def receive(self, timeout_s: float) -> Any | None:
        """Return the next message, or None after `timeout_s` without one.

        Raises:
            ProcessDied: if the process has ended without another message.
        """
        try:
            return self._pipe.recv() if self._pipe.poll(timeout_s) else None
        except (EOFError, OSError):
            self._process.join(5)
            raise ProcessDied(self._process.exitcode) from None

    def kill(self) -> None:
        """End the process at once; does nothing to one that has ended."""
        self._process.kill()
        self._process.join(10)
        self._pipe.close()


class TrainingProcess(PipedProcess):
    """One attempt's process."""

    def __init__(self, assignment: AnyAssignment, scratch: Path) -> None:
        self._log = scratch / LOG_FILE
        self._assignment = assignment
        given = (assignment, str(self._log))
        # Forking is not proven on a GPU: its jobs start from a fresh interpreter.
        fork = not isinstance(assignment, Assignment) or assignment.machine.device != "gpu"
        super().__init__(child.main, given, fork=fork)
        if not self._answers(FORK_READY_TIMEOUT_S if fork else SPAWN_READY_TIMEOUT_S):
            self.kill()
            self._start(child.main, given, fork=False)
            if not self._answers(SPAWN_READY_TIMEOUT_S):
                self.kill()
                raise ProcessDied(self._process.exitcode)

    def _answers(self, timeout_s: float) -> bool:
        try:
            return self._pipe.poll(timeout_s) and isinstance(self._pipe.recv(), Alive)
        except (EOFError, OSError):
            return False

    def fits(self, assignment: AnyAssignment | None) -> bool:
        """Return whether a process that has finished its job could do another."""
        return isinstance(assignment, Assignment) and assignment.differs_only_by_seed(self._assignment)

    def take(self, assignment: Assignment) -> bool:
        """Have it do a job that fits. False if it does not take the job, perhaps because it has just ended."""
        self._log = assignment.scratch / LOG_FILE
        with suppress(OSError):
            self._pipe.send(assignment)
            return self._answers(FORK_READY_TIMEOUT_S)
        return False

    def stop(self, why: StopCause) -> None:
        """Ask the process to stop at its next half second."""
        with suppress(OSError):
            self._pipe.send(why)

    def last_lines(self) -> list[str]:
        """Return the end of the process's output."""
        try:
            with self._log.open(encoding="utf-8", errors="replace") as file:
                return [line.rstrip("\n")[:500] for line in deque(file, LAST_LINES)]
        except OSError:
            return []


class SpareProcesses:
    """Processes that have trained a job, and wait a moment for one that differs only in its seed."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: list[TrainingProcess] = []

    def put(self, process: TrainingProcess) -> None:
        with self._lock:
            self._waiting.append(process)

    def take(self, assignment: AnyAssignment | None = None) -> TrainingProcess | None:
        """Return a process that has taken the job, if any. Others that could not take it end: the job needs memory."""
        with self._lock:
            fit = [process for process in self._waiting if process.fits(assignment)]
            for process in set(self._waiting) - set(fit):
                process.kill()
            self._waiting = fit[1:]
        if not fit or not isinstance(assignment, Assignment):
            return None
        if fit[0].take(assignment):
            return fit[0]
        fit[0].kill()
        return self.take(assignment)


def hide_folders(lines: list[str]) -> list[str]:
    """Return a process's output for the owner of its job: only the last part of this machine's paths is kept."""
    return [make_visible(_FOLDERS.sub("…/", line)) for line in lines]


def _is_secret(name: str) -> bool:
    return name.removeprefix("HELDOUT_").startswith(SECRET_NAME_PREFIXES)


@contextmanager
def _hide_secrets() -> Iterator[None]:
    hidden = {name: os.environ.pop(name) for name in list(os.environ) if _is_secret(name)}
    try:
        yield
    finally:
        os.environ.update(hidden)


@contextmanager
def _hide_main() -> Iterator[None]:
    """Keep children from importing the program that started them, with everything that only a supervisor needs."""
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main
