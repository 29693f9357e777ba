"""How much memory this machine, or this container, has, and how much of it the images of a job may take."""

import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

# The share of the memory that images may take. The rest is for the networks' maps and for TensorFlow itself. The jobs
# of a worker share the machine's memory; a GPU's memory belongs to one job.
RESIDENT_MEMORY_SHARE = 0.5
_CGROUP_LIMIT_FILES = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


def resident_bytes(memory: int, slots: int, gpus: Sequence[int] = ()) -> int:
    """How many bytes the images of one job may take; more are read from their file batch by batch.

    Args:
        memory: bytes of the machine, which has so many slots.
        gpus: bytes of each of the job's GPUs, which hold all images each.
    """
    return int(min([memory / slots, *gpus]) * RESIDENT_MEMORY_SHARE)


def memory_bytes() -> int:
    """The memory of the machine, or of the container where that has less."""
    found = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for limit in _CGROUP_LIMIT_FILES:
        with suppress(OSError, ValueError):  # "max" where there is none
            found = min(found, int(Path(limit).read_text()))
    return found
