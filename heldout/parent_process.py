"""Ends processes together with the process that started them.

`build_launch_command` does this for programs, `end_with_parent` for forked processes. Run as a script, this file is the
launcher: a small program that arranges the end and then becomes the program itself.
"""

import ctypes
import os
import signal
import sys
from collections.abc import Sequence

_PR_SET_PDEATHSIG = 1  # <linux/prctl.h>
KILL = getattr(signal, "SIGKILL", signal.SIGTERM)  # Windows, where clients import this too, has no SIGKILL


def end_with_parent(parent: int, number: int = KILL) -> None:
    """Make this process end when the thread that started it ends, for any reason; at once if it already has.

    Only Linux notices a later end. Elsewhere, a process must watch a pipe (`worker/machine/parent.py`).

    Args:
        parent: the expected parent process. It is compared after the signal is arranged, so that a parent that ended
            just before is noticed too: an orphan gets a different parent.
        number: the signal that this process then gets; 0 for none.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, ctypes.c_ulong(int(number)), 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)


def build_launch_command(command: Sequence[str], number: int = KILL, memory_bytes: int = 0) -> list[str]:
    """Build the command line that runs a program as a child that ends with the thread that starts it.

    After fork(), the child of a process with threads must not run Python, so a separate launcher does the last steps.

    Args:
        command: the program's path, or its name to search for, and its arguments.
        number: the signal that the program gets when that thread ends.
        memory_bytes: how much data the program may hold; 0 means no limit.
    """
    # -I -S: the environment cannot change what the launcher does, and it starts quickly.
    return [sys.executable, "-I", "-S", __file__, str(os.getpid()), str(int(number)), str(memory_bytes), *command]


def _launch() -> None:
    parent, number, memory_bytes = map(int, sys.argv[1:4])
    end_with_parent(parent, number)
    if memory_bytes:
        import resource

        # Not the address space: drivers of GPUs reserve many times what they use.
        resource.setrlimit(resource.RLIMIT_DATA, (memory_bytes, memory_bytes))
    os.execvp(sys.argv[4], sys.argv[4:])


if __name__ == "__main__":
    _launch()
