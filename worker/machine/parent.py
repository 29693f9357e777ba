"""Ends a worker's processes together with the process that started them, beyond what `parent_process` arranges."""

import os
import signal
import threading
from collections.abc import Callable
from multiprocessing import parent_process
from multiprocessing.process import BaseProcess
from time import sleep

from heldout.parent_process import end_with_parent

# The time that a process may take to shut down cleanly: a worker returns its jobs to the queue.
END_WITHIN_S = 20.0
# The variable by which the fork server knows its worker before it has received any other message.
SUPERVISOR_VARIABLE = "HELDOUT_SUPERVISOR_PID"


def call_when_input_ends(then: Callable[[], object]) -> None:
    """Call `then` from a separate thread when standard input ends, and kill this process if it does not end."""
    threading.Thread(target=_wait, args=(then,), name="parent", daemon=True).start()


def _wait(then: Callable[[], object]) -> None:
    # Does not use sys.stdin: a thread that holds its buffer's lock breaks the interpreter's exit.
    while os.read(0, 4096):
        pass
    then()
    sleep(END_WITHIN_S)
    os.kill(os.getpid(), signal.SIGKILL)


def end_with_supervisor() -> None:
    """Have a process of multiprocessing end with its parent and its supervisor, even in the middle of a graph call.

    The parent may be the fork server. It lives as long as its children, so its end means nothing.
    """
    end_with_parent(os.getppid())
    if (supervisor := parent_process()) is not None:
        threading.Thread(target=_die_with, args=(supervisor,), name="supervisor", daemon=True).start()


def _die_with(supervisor: BaseProcess) -> None:
    supervisor.join()
    os.kill(os.getpid(), signal.SIGKILL)
