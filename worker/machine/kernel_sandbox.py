"""Kernel restrictions of processes that read untrusted files: other files (Landlock) and system calls (seccomp).

Landlock needs Linux 5.13, see landlock(7).
"""

import ctypes
import errno
import os
import stat
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

# Numbers of system calls, the same on x86 and ARM.
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_VERSION, _PATH_BENEATH = 1, 1
_PR_SET_NO_NEW_PRIVS = 38

_WRITE_FILE, _READ_FILE, _READ_DIR, _REMOVE_DIR, _REMOVE_FILE = 1 << 1, 1 << 2, 1 << 3, 1 << 4, 1 << 5
_MAKE_DIR, _MAKE_REG, _REFER, _TRUNCATE = 1 << 7, 1 << 8, 1 << 13, 1 << 14
_READ = _READ_FILE | _READ_DIR
# Creating links, devices, sockets and pipes is not among them, because the worker opens what it finds here.
_WRITE = _READ | _WRITE_FILE | _REMOVE_DIR | _REMOVE_FILE | _MAKE_DIR | _MAKE_REG | _REFER | _TRUNCATE
_OF_FILES = _WRITE_FILE | _READ_FILE | _TRUNCATE
# How many rights each version of the interface knows.
_RIGHTS_SINCE = ((5, 16), (3, 15), (2, 14), (1, 13))
TCP_SINCE, SCOPES_SINCE = 4, 6
_BIND_AND_CONNECT_TCP = _ABSTRACT_SOCKETS_AND_SIGNALS = 0b11


class _Ruleset(ctypes.Structure):
    _fields_ = [("files", ctypes.c_uint64), ("network", ctypes.c_uint64), ("scoped", ctypes.c_uint64)]


class _PathBeneath(ctypes.Structure):
    _pack_ = 1
    _layout_ = "ms"
    _fields_ = [("allowed", ctypes.c_uint64), ("folder", ctypes.c_int32)]


def find_version() -> int:
    """Return the version of the kernel's interface; 0 if it has none, or if a container's rules forbid it."""
    try:
        return _call(_CREATE_RULESET, None, 0, _VERSION)
    except (OSError, AttributeError):
        return 0


def restrict(readable: Iterable[Path], writable: Iterable[Path], version: int) -> None:
    """Let this thread and its descendants open only these files and folders from now on, and execute nothing.

    Whether files outside the folders exist can still be tested. If the version allows it, TCP and abstract sockets are
    blocked, and signals to processes outside this restriction, too.
    """
    handled = (1 << next(count for since, count in _RIGHTS_SINCE if version >= since)) - 1
    rules = _Ruleset(
        handled,
        _BIND_AND_CONNECT_TCP if version >= TCP_SINCE else 0,
        _ABSTRACT_SOCKETS_AND_SIGNALS if version >= SCOPES_SINCE else 0,
    )
    ruleset = _call(_CREATE_RULESET, ctypes.byref(rules), ctypes.sizeof(rules), 0)
    try:
        for paths, allowed in ((readable, _READ), (writable, _WRITE)):
            for path in paths:
                with suppress(OSError):  # a missing path needs no rule, and is refused if it appears later
                    _allow(ruleset, path, allowed & handled)
        if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0):
            raise OSError(ctypes.get_errno(), "prctl")
        _call(_RESTRICT_SELF, ruleset, 0)
    finally:
        os.close(ruleset)


def _allow(ruleset: int, path: Path, allowed: int) -> None:
    opened = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        if not stat.S_ISDIR(os.fstat(opened).st_mode):
            allowed &= _OF_FILES
        rule = _PathBeneath(allowed, opened)
        _call(_ADD_RULE, ruleset, _PATH_BENEATH, ctypes.byref(rule), 0)
    finally:
        os.close(opened)


def _call(number: int, *arguments: object) -> int:
    values = [ctypes.c_long(value) if isinstance(value, int) else value for value in arguments]
    answer: int = ctypes.CDLL(None, use_errno=True).syscall(ctypes.c_long(number), *values)
    if answer < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return answer


# Network calls: without `socket` nothing can be connected, and `socketpair` reaches no other process.
_NETWORK = ("socket",)
_PROGRAMS = ("execve", "execveat")
# Calls that reach other processes of the same user.
_OTHER_PROCESSES = (
    *("ptrace", "process_vm_readv", "process_vm_writev", "process_madvise", "process_mrelease", "kcmp"),
    *("pidfd_getfd", "pidfd_send_signal", "rt_sigqueueinfo", "rt_tgsigqueueinfo", "tkill"),
    *("ioprio_set", "move_pages", "migrate_pages", "setns", "shmget", "shmat", "semget", "msgget", "mq_open"),
    *("add_key", "keyctl", "request_key"),
)
# Landlock restricts opening files, not changing their owner or mode; links would mislead the worker.
_FILES = (
    *("chmod", "fchmod", "fchmodat", "fchmodat2", "chown", "fchown", "lchown", "fchownat", "truncate"),
    *("setxattr", "lsetxattr", "fsetxattr", "setxattrat", "removexattr", "lremovexattr", "fremovexattr"),
    *("removexattrat", "utime", "utimes", "futimesat", "utimensat", "file_setattr"),
    *("link", "linkat", "symlink", "symlinkat", "mknod", "mknodat", "open_by_handle_at"),
)
# Calls that leave the process group that the worker kills, or other groups.
_GROUPS = ("setsid", "setpgid", "unshare")
_KERNEL = (
    *("bpf", "perf_event_open", "userfaultfd", "fanotify_init", "syslog", "personality"),
    *("mount", "umount2", "pivot_root", "chroot", "move_mount", "open_tree", "open_tree_attr", "fsopen", "fspick"),
    *("fsconfig", "fsmount", "mount_setattr"),
)
REFUSED = (*_NETWORK, *_PROGRAMS, *_OTHER_PROCESSES, *_FILES, *_GROUPS, *_KERNEL)
# Reported as missing, so that libraries use the older call, whose arguments can be checked.
ABSENT = ("io_uring_setup", "io_uring_enter", "io_uring_register", "clone3")
# The argument with this number is a process or thread; only 0, the caller itself, is allowed.
OF_ITSELF = {"prlimit64": 0, "sched_setaffinity": 0, "sched_setscheduler": 0, "sched_setparam": 0, "sched_setattr": 0}
OF_ITSELF |= {"setpriority": 1}
# Newer than many libraries, which then do not know their numbers; these are the same on every processor.
_NUMBERS = {"fchmodat2": 452, "setxattrat": 463, "removexattrat": 466, "open_tree_attr": 467, "file_setattr": 469}
_NEW_USER_NAMESPACE = 0x10000000
_NEGATIVE, _WHOLE = 0x80000000, 0xFFFFFFFF  # the kernel uses 32 bits of a process's number


def find_library() -> Any:
    """Return the module that loads filters; None if it, its library or the kernel's support is missing."""
    try:
        import pyseccomp
    except (ImportError, RuntimeError, OSError, AttributeError):  # whatever it raises without the library
        return None
    return pyseccomp if Path("/proc/sys/kernel/seccomp/actions_avail").exists() else None


def refuse(library: Any, worker: int) -> None:
    """Refuse the calls to this thread and its descendants, permanently.

    Args:
        worker: the process that no signal may reach. Only Landlock protects others of the same user from signals.
    """
    rules = library.SyscallFilter(library.ALLOW)

    def add(action: int, name: str, *arguments: Any) -> None:
        known = library.resolve_syscall(library.Arch.NATIVE, name)
        number = known if known >= 0 else _NUMBERS.get(name)
        if number is not None:  # else not on this processor
            rules.add_rule(action, number, *arguments)

    refused = library.ERRNO(errno.EPERM)
    for name in REFUSED:
        add(refused, name)
    for name in ABSENT:
        add(library.ERRNO(errno.ENOSYS), name)
    for name, position in OF_ITSELF.items():
        add(refused, name, library.Arg(position, library.NE, 0))
    add(refused, "clone", library.Arg(0, library.MASKED_EQ, _NEW_USER_NAMESPACE, _NEW_USER_NAMESPACE))
    for name in ("kill", "tgkill"):
        add(refused, name, library.Arg(0, library.MASKED_EQ, _WHOLE, worker))
        add(refused, name, library.Arg(0, library.MASKED_EQ, _NEGATIVE, _NEGATIVE))  # a group, or everything
    rules.load()
