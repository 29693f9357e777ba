"""The memory of this machine or container, and of processes."""

import os
from contextlib import suppress
from pathlib import Path

_CGROUP_LIMIT_FILES = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


def get_memory_bytes() -> int:
    """Return the memory of the machine, or of the container if that is less."""
    found = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for limit in _CGROUP_LIMIT_FILES:
        with suppress(OSError, ValueError):  # "max" means no limit
            found = min(found, int(Path(limit).read_text()))
    return found


# The kernel's counts of processes killed because memory ran out: in our container, and on the machine.
_KILL_COUNTS = ("/sys/fs/cgroup/memory.events", "/sys/fs/cgroup/memory/memory.oom_control", "/proc/vmstat")
# The kernel first kills the process with the highest score; this is the most that can be added.
FIRST_IN_LINE = 1000


def count_memory_kills() -> int:
    """Return how many processes were killed because memory ran out, since some moment; it only grows."""
    kills = 0
    for file in _KILL_COUNTS:
        with suppress(OSError, ValueError):
            for line in Path(file).read_text().splitlines():
                name, _, count = line.partition(" ")
                kills += int(count) if name == "oom_kill" else 0
    return kills


def raise_oom_score() -> None:
    """Have the kernel kill this process first if memory runs out; does nothing if the kernel cannot."""
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(str(FIRST_IN_LINE))


def read_peak_bytes(pid: int) -> int:
    """Return the peak memory of a process; 0 if unknown."""
    with suppress(OSError, ValueError, StopIteration):
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        return 1024 * int(next(line for line in lines if line.startswith("VmHWM:")).split()[1])
    return 0
