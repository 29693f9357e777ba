"""How much memory this machine, or this container, has, and how much of it the images of a job may take."""

import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

# Of the memory: the machine's is shared by the jobs of a worker, a GPU's is one job's. The rest is for the networks'
# maps, and for TensorFlow itself.
RESIDENT_SHARE = 0.5
_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


def resident_bytes(memory: int, slots: int, gpus: Sequence[int] = ()) -> int:
    """What the images of one job may take; those of larger jobs are read from their file batch by batch.

    Args:
        memory: bytes of the machine, which has so many slots.
        gpus: bytes of each of the job's GPUs, which hold all images each.
    """
    return int(min([memory / slots, *gpus]) * RESIDENT_SHARE)


def memory_bytes() -> int:
    """Of the machine, or of the container where that has less."""
    found = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for limit in _LIMITS:
        with suppress(OSError, ValueError):  # "max" where there is none
            found = min(found, int(Path(limit).read_text()))
    return found
