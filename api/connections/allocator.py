"""Make glibc's allocator return memory to the system. With other C libraries, such as musl, nothing is done."""

import ctypes
from contextlib import suppress

# From <malloc.h>.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8


def limit_allocator() -> None:
    """Let threads share two heaps, and return large blocks to the system as soon as they are freed.

    By default each thread may get a heap of its own, and the first large block that is freed raises the size from
    which blocks are returned at once: after a wave of large bodies hundreds of megabytes would stay with the process.
    """
    with suppress(AttributeError, OSError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_M_ARENA_MAX, 2)
        mallopt(_M_MMAP_THRESHOLD, 128 * 1024)
        mallopt(_M_TRIM_THRESHOLD, 1024 * 1024)
