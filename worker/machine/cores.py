"""The cores of this machine, and how the jobs of a worker share them while they run."""

import math
import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Literal

from worker.machine.devices import Device

# The container's quota: microseconds of computing per period of microseconds.
_CGROUP_LIMIT_FILE = "/sys/fs/cgroup/cpu.max"

Towers = int | Literal["auto"]


def limit_towers(requested: Towers, device: Device) -> Towers:
    """Return how many towers a job may have on this kind of device; `auto` stays for cores that compute in parallel."""
    return 1 if requested == "auto" and device == "gpu" else requested


def divide_cores(cores: Sequence[int], demands: Sequence[int]) -> list[tuple[int, ...]]:
    """Return the cores that each job may use.

    If there are enough cores, every job may use all of them and the operating system places its threads. Otherwise each
    job gets one core to itself, and the oldest jobs that can use more get the rest. If there are more jobs than cores,
    they take turns.

    Args:
        demands: how many cores each job can keep busy, the oldest job first. A job that demands none gets none and runs
        in the time that the others leave.
    """
    if 0 in demands:
        of_others = iter(divide_cores(cores, [demand for demand in demands if demand]))
        return [next(of_others) if demand else () for demand in demands]
    if sum(demands) <= len(cores) or not cores:
        return [tuple(cores)] * len(demands)
    shares = [[cores[number % len(cores)]] for number in range(len(demands))]
    left = list(cores[len(demands) :])
    for share, demand in zip(shares, demands, strict=True):
        while left and len(share) < demand:
            share.append(left.pop(0))
    return [tuple(share) for share in shares]


class JobCores:
    """The share of one job: how many cores it can keep busy, and its process once that has started."""

    def __init__(self, cores: "Cores", demand: int) -> None:
        self.pid: int | None = None
        self.demand = demand
        self.count = cores.count  # of the worker
        self._cores = cores

    def pin_process(self, pid: int, demand: int) -> None:
        """Give the job's process, which can keep `demand` cores busy, its share of the cores."""
        self.pid, self.demand = pid, demand
        self._cores.divide()


class Cores:
    """The cores that this worker may use, redistributed whenever one of its jobs starts or ends.

    Towers share a core while other jobs need the rest: the job is then slower, and its results are the same.
    """

    def __init__(self) -> None:
        self._cores = find_usable_cores()
        self._jobs: list[JobCores] = []
        self._lock = threading.Lock()
        self.count = len(self._cores)

    @contextmanager
    def for_job(self, demand: int = 1) -> Iterator[JobCores]:
        """Hold the share of one job while the block runs.

        Args:
            demand: how many cores it can keep busy, until its process reports otherwise.
        """
        job = JobCores(self, demand)
        with self._lock:
            self._jobs.append(job)
        self.divide()
        try:
            yield job
        finally:
            with self._lock:
                self._jobs.remove(job)
            self.divide()

    @property
    def are_idle(self) -> bool:
        """Return whether no job of this worker is running."""
        with self._lock:
            return not self._jobs

    def divide(self) -> None:
        """Pin the process of every job to its current share."""
        with self._lock:
            shares = divide_cores(self._cores, [job.demand for job in self._jobs])
            for job, cores in zip(self._jobs, shares, strict=True):
                if job.pid is not None:
                    pin_process(job.pid, cores)


def find_usable_cores() -> tuple[int, ...]:
    """Return the cores on which this process may run; empty if the operating system does not say."""
    return tuple(sorted(os.sched_getaffinity(0))) if hasattr(os, "sched_getaffinity") else ()


def count_cores() -> int:
    """Return how many cores' worth of time this process gets; a container's limit may allow less than all its cores."""
    count = len(find_usable_cores()) or os.cpu_count() or 1
    with suppress(OSError, ValueError):  # "max" means no limit
        quota, period = Path(_CGROUP_LIMIT_FILE).read_text().split()
        count = min(count, math.ceil(int(quota) / int(period)))
    return max(1, count)


def pin_process(pid: int, cores: Sequence[int]) -> None:
    """Restrict every thread of a process to these cores; does nothing if the operating system cannot."""
    if not cores or not hasattr(os, "sched_setaffinity"):
        return
    pinned: set[int] = set()
    # A thread that starts meanwhile may inherit the old cores: repeat until there are no new threads.
    while threads := _list_threads(pid) - pinned:
        for thread in threads:
            with suppress(OSError):  # it has ended
                os.sched_setaffinity(thread, cores)
        pinned |= threads


def _list_threads(pid: int) -> set[int]:
    try:
        return {int(task.name) for task in Path(f"/proc/{pid}/task").iterdir()}
    except OSError:
        return set()
