"""The sandbox of processes that read untrusted files, and which parts of it this machine offers.

The worker starts the process as another user if it may (`worker.machine.enclosed_process`). The process sets up the
rest of the sandbox itself, before it reads anything. `python -m worker.machine.enclosure` reports what this machine
offers.
"""

import ctypes
import json
import os
import resource
import site
import sys
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from io import FileIO
from pathlib import Path
from typing import Any

from worker.machine import kernel_sandbox
from worker.machine.memory import raise_oom_score

ROOT = Path(__file__).resolve().parents[2]
# Users of these processes, one each, and before them their group: above the ids that systems assign, and below those of
# containers' users.
GROUP, FIRST_USER, USERS = 66_000, 66_001, 30_000
# Kernel capabilities: to become another user, to give it a folder, and to take back or end what it leaves.
_CHOWN, _DAC_OVERRIDE, _KILL, _SETGID, _SETUID = 0, 1, 5, 6, 7
_NEEDED = sum(1 << bit for bit in (_CHOWN, _DAC_OVERRIDE, _KILL, _SETGID, _SETUID))

# System files that interpreters and libraries read; none is secret.
_SYSTEM = (
    *("/usr", "/lib", "/lib64", "/etc/ld.so.cache", "/etc/localtime"),
    *("/etc/passwd", "/etc/group", "/etc/nsswitch.conf"),
    *("/dev/urandom", "/dev/random", "/dev/zero", "/proc/self", "/proc/cpuinfo", "/proc/meminfo", "/proc/stat"),
    *("/proc/sys/vm", "/sys/devices/system", "/sys/fs/cgroup"),
)
_PACKAGES_OF_OURS = ("heldout", "analysis", "models", "worker")

_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL = 47, 4
_CAPABILITY_VERSION = 0x20080522


@dataclass(frozen=True)
class SandboxFeatures:
    """The sandbox features of this machine.

    cannot_switch: why no process can be started as another user; empty if it can.
    landlock: the version of its interface, 0 for none.
    """

    system: str
    cannot_switch: str
    landlock: int
    has_filter: bool

    def describe(self) -> tuple[bool, str]:
        """Return whether there is any sandbox, and a description: how untrusted files are read, and what is missing."""
        own_user = "as a user of its own" if not self.cannot_switch else "as the worker's user"
        files = f"Landlock {self.landlock}" if self.landlock else "no Landlock"
        calls = "seccomp" if self.has_filter else "no seccomp"
        text = f"read {own_user}, with {files} and {calls}"
        missing = []
        if self.system != "linux":
            return True, f"{text}: only Linux has these; run the service by Docker Compose for files of strangers"
        if self.cannot_switch:
            missing.append(f"no own user, since {self.cannot_switch}")
        if self.landlock < kernel_sandbox.SCOPES_SINCE:
            missing.append(f"Landlock {kernel_sandbox.SCOPES_SINCE} needs Linux 6.12, with `landlock` in its `lsm=`")
        if not self.has_filter:
            missing.append("seccomp needs the library libseccomp2")
        return not self.is_open, "; ".join([text, *missing])

    @property
    def is_open(self) -> bool:
        """Return whether an untrusted file that takes over its process can read what the worker can."""
        return bool(self.cannot_switch) and not self.landlock


def find_sandbox_features() -> SandboxFeatures:
    """Find the sandbox features of this machine, for this process and those that it starts."""
    if sys.platform != "linux":
        return SandboxFeatures(sys.platform, "only Linux is known well enough", 0, has_filter=False)
    has_filter = kernel_sandbox.find_library() is not None
    return SandboxFeatures("linux", explain_no_switch(), kernel_sandbox.find_version(), has_filter)


def explain_no_switch() -> str:
    """Say why this process cannot start others as other users; empty if it can."""
    if sys.platform != "linux":
        return "only Linux is known well enough"
    status = Path("/proc/self/status").read_text()
    capabilities = int(next(line for line in status.splitlines() if line.startswith("CapEff:")).split()[1], 16)
    if capabilities & _NEEDED != _NEEDED:
        return "the worker is not root and has not been given its capabilities"
    ranges = [tuple(map(int, line.split())) for line in Path("/proc/self/uid_map").read_text().splitlines()]
    if not any(first <= GROUP and first + count >= FIRST_USER + USERS for first, _, count in ranges):
        return f"the users {GROUP} to {FIRST_USER + USERS - 1} are not mapped into this container"
    numpy = find_spec("numpy")  # as one of all that is installed
    code = [__file__, os.__file__, sys.executable, numpy.origin if numpy and numpy.origin else __file__]
    for file in code:
        for part in (Path(file).resolve(), *Path(file).resolve().parents):
            if not part.stat().st_mode & (0o001 if part.is_dir() else 0o004):
                return f"{part} is closed to other users"
    return ""


def begin() -> tuple[dict[str, Any], FileIO]:
    """Read the assignment from standard input, in the process. Return the pipe for answers.

    The process is the first to be killed if memory runs out.
    """
    assignment = json.loads(sys.stdin.buffer.read())
    raise_oom_score()
    # Libraries may print; the pipe is ours alone.
    pipe = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)
    return assignment, pipe


def tell(pipe: FileIO, message: dict[str, Any]) -> None:
    """Send a message, one line of JSON, from the process."""
    data = memoryview(json.dumps(message, allow_nan=False).encode() + b"\n")
    while data:
        data = data[pipe.write(data) :]


def enclose(readable: Iterable[str], writable: Iterable[str], features: SandboxFeatures | None = None) -> None:
    """Leave this process only these files and folders, for good: no network, no programs, no rights.

    Args:
        features: the features to use; None for all of this machine.
    Raises:
        RuntimeError: if there already are threads, which would stay outside.
        OSError: if the kernel refuses a feature that it reported.
    """
    if sys.platform != "linux":
        return
    version = kernel_sandbox.find_version() if features is None else features.landlock
    library = kernel_sandbox.find_library() if features is None or features.has_filter else None
    if len(os.listdir("/proc/self/task")) > 1:
        raise RuntimeError("A process must be enclosed before it starts threads.")
    _give_up_capabilities()
    for name in _PACKAGES_OF_OURS:
        import_module(name)  # the folder that holds them cannot be listed later
    if version:
        kernel_sandbox.restrict(
            [*map(Path, readable), *_list_code_folders(), *map(Path, _SYSTEM)],
            [*map(Path, writable), Path(os.devnull)],
            version,
        )
    if library is not None:
        kernel_sandbox.refuse(library, os.getppid())


def _list_code_folders() -> list[Path]:
    """Return our packages, the interpreter and libraries, but not the project's folder, which may hold secrets."""
    installed = [*site.getsitepackages(), site.getusersitepackages(), sys.prefix, sys.base_prefix]
    installed += [path for path in sys.path if path.endswith("-packages")]
    installed += os.environ.get("LD_LIBRARY_PATH", "").split(":")
    return [ROOT / name for name in _PACKAGES_OF_OURS] + [Path(path) for path in installed if path]


def keep_capabilities_to_itself() -> None:
    """Withhold the capabilities of this process from the programs that it starts."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)


def _give_up_capabilities() -> None:
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION, 0)
    with suppress(AttributeError):  # of a C library without it
        if ctypes.CDLL(None, use_errno=True).capset(header, (ctypes.c_uint32 * 6)()):
            raise OSError(ctypes.get_errno(), "capset")


if __name__ == "__main__":
    print(json.dumps(find_sandbox_features().describe()))


GIB = 1024**3


def limit_process(memory_bytes: int, wall_s: int, file_bytes: int = GIB, address_bytes: int | None = None) -> None:
    """Limit this process and those that it starts: private memory, processor time, files, no core dumps.

    Args:
        address_bytes: a limit on addresses too, for systems that do not count private memory.
    """
    _lower_limit(resource.RLIMIT_DATA, memory_bytes)
    if address_bytes is not None:
        _lower_limit(resource.RLIMIT_AS, address_bytes)
    _lower_limit(resource.RLIMIT_CPU, wall_s, 5)  # at the first limit it gets a signal, at the second it is killed
    _lower_limit(resource.RLIMIT_FSIZE, file_bytes)
    _lower_limit(resource.RLIMIT_CORE, 0)


def _lower_limit(which: int, most: int, grace: int = 0) -> None:
    _, hard = resource.getrlimit(which)
    limit = most + grace if hard == resource.RLIM_INFINITY else min(most + grace, hard)
    resource.setrlimit(which, (min(most, limit), limit))
