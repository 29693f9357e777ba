"""Processes that work on tasks in parallel and return results in order; if a process dies, its task is named."""

import ctypes
import os
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.sharedctypes import RawArray
from types import TracebackType
from typing import Any, NamedTuple, Self, TypeVar

from heldout.lifecycle.resources import RejectionCode
from heldout.service.parent_process import end_with_parent
from worker.ingest.rejection import Rejection, clean_name

T = TypeVar("T")
R = TypeVar("R")

TASKS_PER_PROCESS = 2  # in progress at once, so that no process waits and memory use stays low
# A fork starts at once and shares what is imported; the executor makes its threads only after it has forked. Elsewhere
# than on Linux forks are not safe.
_CONTEXT: Any = get_context("fork" if sys.platform == "linux" else "spawn")


class _Task(NamedTuple):
    """A task that was given to the processes; `slot` is where `mark` writes for it."""

    content: Any
    slot: int
    names: Sequence[str]
    future: "Future[Any]"


class ProcessPool:
    """Processes for tasks that take a while. With a count of 1 there are none: tasks run in the caller's process."""

    def __init__(self, count: int) -> None:
        self._slots = TASKS_PER_PROCESS * count
        self._marks = RawArray(ctypes.c_long, self._slots)
        self._executor = self._start(count) if count > 1 else None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._executor is not None:
            self._executor.shutdown(cancel_futures=True)

    def map(self, function: Callable[[T], R], tasks: Iterable[T], names: Callable[[T], Sequence[str]]) -> Iterator[R]:
        """Return the results of `function`, a plain function of a module, in the order of `tasks`.

        The first tasks are in progress when this returns. The first failure in the tasks' order is raised, whichever
        process failed first. `names` returns the names of a task's parts, in case its process dies: `function` reports
        with `mark` which part it begins.

        Raises:
            Rejection: `crashed` if a process died; and what `function` raises.
        """
        if self._executor is None:
            return map(function, tasks)
        following = enumerate(tasks)
        under_way: deque[_Task] = deque()
        self._hand_out(self._executor, function, following, names, under_way)
        return self._iterate_results(self._executor, function, following, names, under_way)

    def _iterate_results(
        self, executor: ProcessPoolExecutor, function: Any, following: Any, names: Any, under_way: deque[_Task]
    ) -> Iterator[Any]:
        try:
            while under_way:
                result = under_way[0].future.result()
                under_way.popleft()
                self._hand_out(executor, function, following, names, under_way)
                yield result
        except BrokenProcessPool:
            executor.shutdown()
            raise self._explain_death(function, under_way) from None
        finally:
            # Wait for the tasks that have begun: none may still write when the caller continues.
            wait([task.future for task in under_way if not task.future.cancel()])

    def _hand_out(
        self, executor: ProcessPoolExecutor, function: Any, following: Any, names: Any, under_way: deque[_Task]
    ) -> None:
        """Keep as many tasks in progress as there are slots."""
        while len(under_way) < self._slots and (upcoming := next(following, None)):
            number, content = upcoming
            slot = number % self._slots
            future = executor.submit(_run, function, content, slot)
            under_way.append(_Task(content, slot, names(content), future))

    def _explain_death(self, function: Any, under_way: Iterable[_Task]) -> Rejection:
        """Find the task that ended its process: each task in progress is tried again in a separate process."""
        for task in under_way:
            # Without an executor: its locks could not be created any more.
            hearing, telling = _CONTEXT.Pipe(duplex=False)
            alone = _CONTEXT.Process(
                target=_run_alone, args=(telling, self._marks, os.getpid(), function, task.content, task.slot)
            )
            alone.start()
            telling.close()
            try:
                rejection = hearing.recv()  # of a failure that its broken process could not report
            except EOFError:
                name = task.names[min(self._marks[task.slot], len(task.names) - 1)]
                detail = f"Reading {clean_name(name)!r} ended the process that did it. Save it again, or remove it."
                rejection = Rejection(RejectionCode.CRASHED, detail, name)
            finally:
                hearing.close()
                alone.join()
            if rejection is not None:
                return rejection
        return Rejection(RejectionCode.CRASHED, "A process of the ingest was killed. Upload it again.")

    def _start(self, count: int) -> ProcessPoolExecutor:
        return ProcessPoolExecutor(count, _CONTEXT, _begin, (self._marks, os.getpid()))


_marks: Any = None  # in a process of a pool: for each slot, the part of its task that was begun last
_slot = 0


def mark(part: int) -> None:
    """Say which part of its task, counted from 0, this process begins."""
    if _marks is not None:
        _marks[_slot] = part


def _begin(marks: Any, parent: int) -> None:
    global _marks
    _marks = marks
    end_with_parent(parent)


def _run(function: Callable[[Any], Any], content: Any, slot: int) -> Any:
    global _slot
    _slot = slot
    mark(0)
    try:
        return function(content)
    except MemoryError:
        raise Rejection(RejectionCode.OUT_OF_MEMORY, "The ingest needed more memory than it may use.") from None


def _run_alone(
    telling: Connection, marks: Any, parent: int, function: Callable[[Any], Any], content: Any, slot: int
) -> None:
    """Repeat one task in a separate process, and return the rejection with which it failed, or None."""
    _begin(marks, parent)
    rejection = None
    try:
        _run(function, content, slot)
    except Rejection as error:
        rejection = error
    except Exception:  # noqa: BLE001 - not what ended the process
        pass
    telling.send(rejection)
