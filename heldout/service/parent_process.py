"""No process outlives the one that started it: `build_launch_command` for programs, `end_with_parent` for a process
that is forked.

Run as a script, this is the launcher: a small program that arranges the end and then becomes the program itself.
"""

import ctypes
import os
import signal
import sys
from collections.abc import Sequence

_PR_SET_PDEATHSIG = 1  # <linux/prctl.h>


def end_with_parent(parent: int, number: int = signal.SIGKILL) -> None:
    """Have this process end when the thread that started it ends, by whatever cause; at once if that has happened.

    Only Linux notices a later end. Elsewhere a process must watch a pipe (`worker/machine/parent.py`).

    Args:
        parent: the process that is to be our parent. It is compared after the signal is arranged, so that a parent
            which ended just before is noticed too: an orphan has another parent.
        number: the signal that this process then gets; 0 for none.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, ctypes.c_ulong(int(number)), 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)


def build_launch_command(command: Sequence[str], number: int = signal.SIGKILL) -> list[str]:
    """The command line that runs a program as a child which ends with the thread that starts it.

    A child of fork() in a process with threads must not run Python, so a process of its own takes the last steps.

    Args:
        command: the program's path and its arguments.
        number: the signal that it gets when that thread ends.
    """
    # -I -S: nothing of the environment changes what the launcher does, and it starts quickly.
    return [sys.executable, "-I", "-S", __file__, str(os.getpid()), str(int(number)), *command]


def _launch() -> None:
    parent, number, program, *arguments = sys.argv[1:]
    end_with_parent(int(parent), int(number))
    os.execv(program, [program, *arguments])


if __name__ == "__main__":
    _launch()
