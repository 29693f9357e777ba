"""Replaces itself with a command that ends with its parent and has limited memory.

Run by its path (`python -I limited.py BYTES COMMAND …`), so it does not import Heldout.
"""

import os
import signal
import sys
from contextlib import suppress

PR_SET_PDEATHSIG = 1


def main(memory_bytes: int, parent: int, command: list[str]) -> None:
    """Replace this process by the command.

    Args:
        memory_bytes: of data; 0 means no limit.
        parent: the process whose end also ends the command, on Linux.
    """
    if sys.platform == "linux":
        import ctypes

        with suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it ended before
            sys.exit(1)
    if memory_bytes:
        import resource

        # Not the address space: drivers of GPUs reserve many times what they use.
        resource.setrlimit(resource.RLIMIT_DATA, (memory_bytes, memory_bytes))
    os.execvp(command[0], command)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:])
