"""Keeps the garbage collector from scanning what stays in a process until its end."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def pause_collection() -> Iterator[None]:
    """Import many modules without garbage collection, and exempt their objects from it for good.

    Collections during imports free nothing and take a sixth of their time. Later ones would scan all these objects, in
    processes forked from this one too.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def freeze_what_stays() -> None:
    """Exempt all present objects from garbage collection, in a process that will only serve from now on.

    Most objects belong to modules and the app. Scanning them takes a tenth of a second during which no request is
    answered, and many concurrent requests trigger it again and again.
    """
    gc.collect()
    gc.freeze()
