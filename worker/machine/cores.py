"""The cores of a worker: how many a job may fill at its start, and which it may use while others run."""

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path


def deal(cores: Sequence[int], wants: Sequence[int]) -> list[tuple[int, ...]]:
    """Which cores each job may use; `wants` says how many it can fill, in the order in which the jobs began.

    While there are enough, every job may use all of them and the scheduler places it. Otherwise each has one to
    itself, the oldest of those that want more have what is left, and more jobs than cores share them in turn.
    """
    if sum(wants) <= len(cores) or not cores:
        return [tuple(cores)] * len(wants)
    dealt = [[cores[number % len(cores)]] for number in range(len(wants))]
    left = list(cores[len(wants) :])
    for has, want in zip(dealt, wants, strict=True):
        while left and len(has) < want:
            has.append(left.pop(0))
    return [tuple(has) for has in dealt]


class Place:
    """One job of a worker: how many cores it can fill, and its process once that has begun."""

    def __init__(self, cores: "Cores", others_wait: Callable[[], bool]) -> None:
        self.pid: int | None = None
        self.want = 1
        self._cores = cores
        self._others_wait = others_wait

    @property
    def is_roomy(self) -> bool:
        """Whether the job has more than one core to itself: no other job of the worker runs, and none waits."""
        return self._cores.count > 1 and self._cores.only_has(self) and not self._others_wait()

    def pin_process(self, pid: int, want: int) -> None:
        """The job's process has begun and can fill so many cores."""
        self.pid, self.want = pid, want
        self._cores.deal()


class Cores:
    """Who runs on the cores of this worker, dealt anew whenever a job begins or ends.

    A job in two towers keeps them to its end, since they decide its last digits: on one core they take turns.
    """

    def __init__(self, slots: int) -> None:
        self._cores = usable_cores()
        self._places: list[Place] = []
        self._lock = threading.Lock()
        # Whoever gives a worker fewer slots than cores wants the rest for something else.
        self.count = min(slots, len(self._cores))

    @contextmanager
    def place(self, others_wait: Callable[[], bool]) -> Iterator[Place]:
        """The place of a job while the block runs."""
        place = Place(self, others_wait)
        with self._lock:
            self._places.append(place)
        self.deal()
        try:
            yield place
        finally:
            with self._lock:
                self._places.remove(place)
            self.deal()

    def only_has(self, place: Place) -> bool:
        """Whether no other job has a place."""
        with self._lock:
            return self._places == [place]

    @property
    def are_idle(self) -> bool:
        """Whether no job has a place."""
        with self._lock:
            return not self._places

    def deal(self) -> None:
        """Let every process have the cores that are its share now."""
        with self._lock:
            shares = deal(self._cores, [place.want for place in self._places])
            for place, cores in zip(self._places, shares, strict=True):
                if place.pid is not None:
                    pin(place.pid, cores)


def usable_cores() -> tuple[int, ...]:
    """The cores on which this process may run; empty where the system does not tell."""
    return tuple(sorted(os.sched_getaffinity(0))) if hasattr(os, "sched_getaffinity") else ()


def pin(pid: int, cores: Sequence[int]) -> None:
    """Let every thread of a process run on these cores alone; does nothing where the system cannot."""
    if not cores or not hasattr(os, "sched_setaffinity"):
        return
    done: set[int] = set()
    # A thread that starts meanwhile may have the old cores: look until there is no new one.
    while threads := _threads(pid) - done:
        for thread in threads:
            with suppress(OSError):  # it has ended
                os.sched_setaffinity(thread, cores)
        done |= threads


def _threads(pid: int) -> set[int]:
    try:
        return {int(task.name) for task in Path(f"/proc/{pid}/task").iterdir()}
    except OSError:
        return set()
