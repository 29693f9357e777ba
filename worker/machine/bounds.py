"""Bounds of a process that reads what a stranger has sent."""

import resource

GIB = 1024**3


def bound(memory_bytes: int, wall_s: int, file_bytes: int = GIB) -> None:
    """Bound this process and those that it starts: private memory, processor time, files, no core dumps."""
    _lower(resource.RLIMIT_DATA, memory_bytes)
    _lower(resource.RLIMIT_CPU, wall_s, 5)  # at the first bound it hears of it, at the second it is killed
    _lower(resource.RLIMIT_FSIZE, file_bytes)
    _lower(resource.RLIMIT_CORE, 0)


def _lower(which: int, most: int, grace: int = 0) -> None:
    _, hard = resource.getrlimit(which)
    limit = most + grace if hard == resource.RLIM_INFINITY else min(most + grace, hard)
    resource.setrlimit(which, (min(most, limit), limit))
