"""Stopping with the process that started this one: its end closes our standard input."""

import os
import threading
from collections.abc import Callable


def when_input_ends(then: Callable[[], object]) -> None:
    """Call `then`, from a thread of its own, once standard input has ended."""
    threading.Thread(target=_wait, args=(then,), name="parent", daemon=True).start()


def _wait(then: Callable[[], object]) -> None:
    # Not through sys.stdin: a thread that holds its buffer's lock breaks the interpreter's exit.
    while os.read(0, 4096):
        pass
    then()
