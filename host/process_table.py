"""Processes of this machine: which live, whose children they are, and signals to them."""

import os
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

POLL_S = 0.01


def children_of(pid: int) -> list[int]:
    """The processes whose parent is `pid`."""
    return [child for child, (parent, _) in _parents_and_states().items() if parent == pid]


def is_alive(pid: int) -> bool:
    """Whether the process exists and has not ended: a zombie has."""
    return _parents_and_states().get(pid, (0, "Z"))[1] != "Z"


def holders_of(file: Path) -> list[int]:
    """The processes that have the file open and work in its folder or below: those that were started for it."""
    if not Path("/proc/self/fd").exists():
        listed = subprocess.run(["lsof", "-t", "--", str(file)], capture_output=True, text=True, check=False).stdout
        return [int(pid) for pid in listed.split() if int(pid) != os.getpid()]
    folder, held = file.parent.resolve(), file.stat()
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has ended meanwhile, or is another user's
            if (process / "cwd").readlink().is_relative_to(folder) and any(
                os.path.samestat(held, opened.stat()) for opened in (process / "fd").iterdir()
            ):
                found.append(int(process.name))
    return found


def send_signal(pid: int, number: int) -> None:
    """Send a signal to a process; does nothing to one that has ended."""
    with suppress(ProcessLookupError):
        os.kill(pid, number)


def wait_until(condition: Callable[[], bool], timeout_s: float) -> bool:
    """Whether `condition` became true in time."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_S)
    return True


def _parents_and_states() -> dict[int, tuple[int, str]]:
    """For every process of this machine its parent and the letter of its state."""
    if not Path("/proc/self/stat").exists():
        ps = ["ps", "-A", "-o", "pid=,ppid=,stat="]
        listed = subprocess.run(ps, capture_output=True, text=True, check=True).stdout
        return {int(pid): (int(parent), state[0]) for pid, parent, state in map(str.split, listed.splitlines())}
    found = {}
    for file in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # it has ended meanwhile
            state, parent = file.read_text(errors="replace").rpartition(")")[2].split()[:2]
            found[int(file.parent.name)] = int(parent), state
    return found
