"""A few processes that work on tasks in parallel and answer in the tasks' order; one that dies names its task."""

import ctypes
import os
import signal
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from multiprocessing import connection, get_context
from multiprocessing.sharedctypes import RawValue
from types import TracebackType
from typing import Any, Self, TypeVar

from heldout.dataset_lifecycle import RejectionCode
from worker.ingest.rejection import Rejection, printable

T = TypeVar("T")
R = TypeVar("R")

AHEAD = 2  # tasks that each process has at most, so that none waits and little lies in memory
_PR_SET_PDEATHSIG = 1


class _Process:
    """One process, its pipe, and the tasks that it was given and has not answered."""

    def __init__(self, index: int) -> None:
        # A fork starts at once and shares what is imported; elsewhere than on Linux it is not safe.
        context = get_context("fork" if sys.platform == "linux" else "spawn")
        self.pipe, theirs = context.Pipe()
        self.tasks: deque[int] = deque()
        self.place = RawValue(ctypes.c_long, 0)
        self.process = context.Process(  # type: ignore[attr-defined]
            target=_serve, args=(theirs, self.place, os.getpid()), name=f"ingest-{index}", daemon=True
        )
        self.process.start()
        theirs.close()


class ProcessPool:
    """Processes for tasks that take a while. With a count of 1 there are none: tasks run where they are asked."""

    def __init__(self, count: int) -> None:
        self._processes = [_Process(index) for index in range(count)] if count > 1 else []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for worker in self._processes:
            worker.process.kill()
            worker.process.join()
            worker.pipe.close()

    def map(self, function: Callable[[T], R], tasks: Iterable[T], names: Callable[[T], Sequence[str]]) -> Iterator[R]:
        """The results of `function`, a plain function of a module, in the order of `tasks`.

        The first tasks are under way when this returns; until the results are taken, nothing else can be mapped. A task
        or its result may be large, not both. The first failure in the tasks' order is raised, whichever process failed
        first. `names` are of a task's parts, for the case that its process dies: `function` says by `mark` at which
        part it is.

        Raises:
            Rejection: `crashed` or `timed_out` if a process died; and what `function` raises.
        """
        if not self._processes:
            return map(function, tasks)
        run = _Run(self._processes, function, tasks, names)
        run.feed()
        return run.results()


class _Run:
    """Tasks on their way through the processes."""

    def __init__(self, processes: Sequence[_Process], function: Any, tasks: Iterable[Any], names: Any) -> None:
        self._processes = processes
        self._function = function
        self._following = enumerate(tasks)
        self._names = names
        self._pending: dict[int, Sequence[str]] = {}  # names of the parts of each task; tasks may be large
        self._done: dict[int, Any] = {}
        self._is_over = False  # no more tasks are given out

    def feed(self) -> None:
        """Give each process tasks as long as it has few."""
        for process in self._processes:
            while not self._is_over and len(process.tasks) < AHEAD:
                upcoming = next(self._following, None)
                if upcoming is None:
                    self._is_over = True
                    return
                number, task = upcoming
                self._pending[number] = self._names(task)
                process.tasks.append(number)
                with suppress(OSError):  # a process that died is noticed when it is listened to
                    process.pipe.send((self._function, task))

    def results(self) -> Iterator[Any]:
        turn = 0
        while True:
            while turn in self._done:
                del self._pending[turn]
                result = self._done.pop(turn)
                turn += 1
                if isinstance(result, BaseException):
                    self._drain()
                    raise result
                yield result
            if not self._listen():
                return
            self.feed()

    def _listen(self) -> bool:
        """Take the answers that are there, waiting for one; False if none is expected."""
        busy = {process.pipe: process for process in self._processes if process.tasks}
        for pipe in connection.wait(list(busy)) if busy else []:
            process = busy[pipe]  # type: ignore[index]
            number = process.tasks.popleft()
            try:
                answer = process.pipe.recv()
            except (EOFError, OSError):
                answer = _death(process, self._pending[number])
                process.tasks.clear()
            self._done[number] = answer
            # Tasks before this one are out already: they are waited for, and no others given out.
            self._is_over |= isinstance(answer, BaseException)
        return bool(busy)

    def _drain(self) -> None:
        """Wait for the answers that no one needs any more, so that the processes can be used again."""
        for process in self._processes:
            while process.tasks:
                process.tasks.popleft()
                try:
                    process.pipe.recv()
                except (EOFError, OSError):
                    process.tasks.clear()


def die_with(parent: int) -> None:
    """End this process when the thread that started it ends, even by force (Linux; elsewhere its pipe breaks)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)  # it ended before this could be asked for


_place: Any = None  # in a process of ProcessPool: where it says which part of its task it is at


def mark(part: int) -> None:
    """Say which part of its task, counted from 0, this process begins."""
    if _place is not None:
        _place.value = part


def _serve(pipe: "connection.Connection[Any, Any]", place: Any, parent: int) -> None:
    global _place
    _place = place
    die_with(parent)
    while True:
        try:
            function, task = pipe.recv()
        except (EOFError, OSError):
            return
        try:
            answer = function(task)
        except MemoryError:
            answer = Rejection(RejectionCode.OUT_OF_MEMORY, "The check needed more memory than it may use.")
        except Exception as error:  # noqa: BLE001 - it is raised where the task was asked for
            answer = error
        pipe.send(answer)


def _death(worker: _Process, names: Sequence[str]) -> Rejection:
    worker.process.join(5)
    code = worker.process.exitcode
    name = names[min(worker.place.value, len(names) - 1)]
    if code == -signal.SIGXCPU:
        return Rejection(
            RejectionCode.TIMED_OUT, f"Reading {printable(name)!r} took more time than the limit. Remove it.", name
        )
    how = f"was ended by signal {-code}" if code is not None and code < 0 else f"ended with status {code}"
    detail = f"The process that read {printable(name)!r} {how}. Check this file, or save it again."
    return Rejection(RejectionCode.CRASHED, detail, name)
