"""Entry point of a process in the product's sandbox, which then tries everything that it must not be able to do."""

import ctypes
import errno
import json
import os
import resource
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from worker.machine.enclosure import SandboxFeatures, begin, enclose

PTRACE_SEIZE, IO_URING_SETUP, PROCESS_VM_READV = 0x4206, 425, {"x86_64": 310}.get(os.uname().machine, 270)
# Only these attempts may succeed.
ALLOWED = {
    *("read its input", "read a file of its dataset", "write its folder", "move what it wrote"),
    *("write temporary files", "pair sockets", "fork", "start a thread"),
}
libc = ctypes.CDLL(None, use_errno=True)


def write_below(folder: Path) -> None:
    (folder / "a" / "b").mkdir(parents=True)
    (folder / "a" / "b" / "c").write_text("x")


def open_and_close(file: str) -> None:
    os.close(os.open(file, os.O_RDONLY))


def call(function: Callable[..., int], *arguments: Any) -> None:
    if function(*arguments) < 0:
        raise OSError(ctypes.get_errno(), "")


def connect(family: int, kind: int, address: Any) -> None:
    with socket.socket(family, kind) as opened:
        opened.connect(address)


def fork_and_wait() -> None:
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0


def start_a_thread() -> None:
    thread = threading.Thread(target=int)
    thread.start()
    thread.join()


def main() -> None:
    assignment, pipe = begin()
    doors = assignment["doors"]
    enclose(assignment["readable"], assignment["writable"], None if doors is None else SandboxFeatures(**doors))
    outside, worker, target = Path(assignment["outside"]), os.getppid(), Path(assignment["target"])
    bytes_of_worker = (ctypes.c_uint64 * 2)(1, 1)
    attempts: dict[str, Callable[[], object]] = {
        "read its input": Path(assignment["input"]).read_bytes,
        "read a file of its dataset": Path(assignment["dataset"], "about.json").read_bytes,
        "write its folder": partial(write_below, target),
        "move what it wrote": lambda: (target / "a" / "b" / "c").rename(target / "moved"),
        "write temporary files": lambda: Path(os.environ["TMPDIR"], "temporary").write_text("x"),
        "pair sockets": socket.socketpair,
        "fork": fork_and_wait,
        "start a thread": start_a_thread,
        "read the key": (outside / "api-key").read_bytes,
        "read a neighbour": (target / ".." / "neighbour").read_bytes,
        "list the worker's folder": lambda: os.listdir(outside),
        "read another file of the dataset": Path(assignment["dataset"], "..", "other").read_bytes,
        "read the worker's variables": Path(f"/proc/{worker}/environ").read_bytes,
        "read the worker's memory": lambda: open(f"/proc/{worker}/mem", "rb").close(),
        "copy the worker's memory": lambda: call(
            libc.syscall,
            PROCESS_VM_READV,
            worker,
            ctypes.byref(bytes_of_worker),
            1,
            ctypes.byref(bytes_of_worker),
            1,
            0,
        ),
        "trace the worker": lambda: call(libc.ptrace, PTRACE_SEIZE, worker, 0, 0),
        "signal the worker": lambda: os.kill(worker, 0),
        "signal everything": lambda: os.kill(-1, 0),
        "signal another process": lambda: os.kill(assignment["victim"], 0),
        "bound the worker": lambda: resource.prlimit(worker, resource.RLIMIT_CORE),
        "write outside": lambda: (outside / "written").write_text("x"),
        "write its input": lambda: open(assignment["input"], "ab").close(),
        "write the code": lambda: open(__file__, "ab").close(),
        "open a file to all": lambda: (outside / "api-key").chmod(0o644),
        "link to the key": lambda: (target / "link").symlink_to(outside / "api-key"),
        "connect by TCP": lambda: connect(socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", assignment["tcp"])),
        "connect by UDP": lambda: connect(socket.AF_INET, socket.SOCK_DGRAM, ("127.0.0.1", 9)),
        "connect to a socket": lambda: connect(socket.AF_UNIX, socket.SOCK_STREAM, str(outside / "socket")),
        "connect to an abstract socket": lambda: connect(socket.AF_UNIX, socket.SOCK_STREAM, assignment["abstract"]),
        "run a program": lambda: subprocess.run(["/bin/true"], check=True),
        "run Python": lambda: subprocess.run([sys.executable, "-c", ""], check=True),
        "make a ring": lambda: call(libc.syscall, IO_URING_SETUP, 0, 0),
        "use a right of root": lambda: os.chroot("/"),
        "make a namespace": lambda: call(libc.unshare, 0x10000000),  # last but one, because it gives rights
        "leave its session": os.setsid,
    }
    for file in assignment.get("files", ()):
        attempts[f"open {file}"] = partial(open_and_close, file)
    said = {}
    for name, attempt in attempts.items():
        try:
            attempt()
            said[name] = "done"
        except OSError as error:
            said[name] = errno.errorcode.get(error.errno or 0, "?")
    answer = {"said": said, "variables": sorted(os.environ), "user": os.geteuid()}
    pipe.write(json.dumps(answer).encode() + b"\n")


if __name__ == "__main__":
    main()
