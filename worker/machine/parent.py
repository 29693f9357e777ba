"""How a worker's processes end with the one that started them, beyond what `parent_process` arranges."""

import os
import signal
import threading
from collections.abc import Callable
from multiprocessing import parent_process
from multiprocessing.process import BaseProcess
from time import sleep

from heldout.service.parent_process import end_with_parent

# What a process may take to end in good order: a worker puts its jobs back into the queue.
END_WITHIN_S = 20.0
# The variable by which the server that forks knows its worker before it has any other word from it.
SUPERVISOR_VARIABLE = "HELDOUT_SUPERVISOR_PID"


def call_when_input_ends(then: Callable[[], object]) -> None:
    """Once standard input has ended, call `then` from a thread of its own, and end this process if it does not end."""
    threading.Thread(target=_wait, args=(then,), name="parent", daemon=True).start()


def _wait(then: Callable[[], object]) -> None:
    # Not through sys.stdin: a thread that holds its buffer's lock breaks the interpreter's exit.
    while os.read(0, 4096):
        pass
    then()
    sleep(END_WITHIN_S)
    os.kill(os.getpid(), signal.SIGKILL)


def end_with_supervisor() -> None:
    """Have a process of multiprocessing end with its parent and its supervisor, even in the middle of a graph call.

    The parent may be the server that forks: it lives as long as its children do, so its end tells of nothing.
    """
    end_with_parent(os.getppid())
    if (supervisor := parent_process()) is not None:
        threading.Thread(target=_die_with, args=(supervisor,), name="supervisor", daemon=True).start()


def _die_with(supervisor: BaseProcess) -> None:
    supervisor.join()
    os.kill(os.getpid(), signal.SIGKILL)
