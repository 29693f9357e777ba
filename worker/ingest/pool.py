"""Processes that work on tasks in parallel and return results in order; if a process dies, its task is named."""

import os
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Any, Self, TypeVar

from heldout.lifecycle.resources import RejectionCode
from heldout.parent_process import end_with_parent
from worker.ingest.rejection import Rejection, clean_name

T = TypeVar("T")
R = TypeVar("R")

TASKS_PER_PROCESS = 2  # Tasks in progress at once: no process waits, and little memory is used.
# A fork starts at once and shares what is imported. The executor creates its threads only after forking. Forks are
# safe only on Linux.
_CONTEXT: Any = get_context("fork" if sys.platform == "linux" else "spawn")


class ProcessPool:
    """Processes for slow tasks. With a count of 1, tasks run in the caller's process."""

    def __init__(self, count: int) -> None:
        self._at_once = TASKS_PER_PROCESS * count
        self._executor = ProcessPoolExecutor(count, _CONTEXT, end_with_parent, (os.getpid(),)) if count > 1 else None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._executor is not None:
            self._executor.shutdown(cancel_futures=True)

    def map(self, function: Callable[[T], R], tasks: Iterable[T], names: Callable[[T], Sequence[str]]) -> Iterator[R]:
        """Return the results of `function`, a plain function of a module, in the order of `tasks`.

        The first tasks are in progress when this returns. Of several failures, the first in the order of tasks is
        raised. `names` returns the names of a task's parts, in case its process dies: `function` reports
        with `mark` which part it begins.

        Raises:
            Rejection: `crashed` if a process died; and what `function` raises.
        """
        executor, following, under_way = self._executor, iter(tasks), deque[tuple[T, Future[R]]]()
        if executor is None:
            return map(function, following)

        def hand_out() -> None:
            for task in islice(following, self._at_once - len(under_way)):
                try:
                    future = executor.submit(_run, function, task)
                except BrokenProcessPool as broken:  # The failure is explained when the result is awaited.
                    future = Future()
                    future.set_exception(broken)
                under_way.append((task, future))

        def iterate_results() -> Iterator[R]:
            try:
                while under_way:
                    result = under_way[0][1].result()
                    under_way.popleft()
                    hand_out()
                    yield result
            except BrokenProcessPool:
                executor.shutdown()
                raise _explain_death(function, [task for task, _ in under_way], names) from None
            finally:
                # Wait for tasks that have begun, so that none writes after the caller continues.
                wait([future for _, future in under_way if not future.cancel()])

        hand_out()
        return iterate_results()


def _run(function: Callable[[T], R], task: T) -> R:
    try:
        return function(task)
    except MemoryError:
        raise Rejection(RejectionCode.OUT_OF_MEMORY, "The ingest needed more memory than it may use.") from None


def _explain_death(function: Callable[[T], R], tasks: Iterable[T], names: Callable[[T], Sequence[str]]) -> Rejection:
    """Find the task that ended its process, by repeating each task in progress in a separate process."""
    for task in tasks:
        # An executor's locks could no longer be created here.
        receiving, telling = _CONTEXT.Pipe(duplex=False)
        alone = _CONTEXT.Process(target=_run_alone, args=(telling, os.getpid(), function, task))
        alone.start()
        telling.close()
        part = 0
        try:
            while isinstance(report := receiving.recv(), int):
                part = report
        except EOFError:
            name = names(task)[part]
            detail = f"Reading {clean_name(name)!r} ended the process that did it. Save it again, or remove it."
            report = Rejection(RejectionCode.CRASHED, detail, name)
        finally:
            receiving.close()
            alone.join()
        if isinstance(report, Rejection):
            return report
    return Rejection(RejectionCode.CRASHED, "A process of the ingest was killed. Upload it again.")


_telling: Connection | None = None  # Set in a process that repeats one task.


def mark(part: int) -> None:
    """Record which part of its task this process begins, counted from 0."""
    if _telling is not None:
        _telling.send(part)


def _run_alone(telling: Connection, parent: int, function: Callable[[Any], Any], task: Any) -> None:
    """Repeat one task in a separate process. Returns its rejection, or None if it succeeded."""
    global _telling
    end_with_parent(parent)
    _telling = telling
    rejection = None
    try:
        _run(function, task)
    except Rejection as error:
        rejection = error
    except Exception:  # noqa: BLE001 - not what ended the process
        pass
    telling.send(rejection)
