"""System calls that a process which reads strangers' files has no use for; the kernel refuses them (seccomp)."""

import errno
from pathlib import Path
from typing import Any

# Of the network: without `socket` there is nothing to connect, and `socketpair` reaches no other process.
_NETWORK = ("socket",)
_PROGRAMS = ("execve", "execveat")
# What belongs to other processes of the same user.
_OTHER_PROCESSES = (
    *("ptrace", "process_vm_readv", "process_vm_writev", "process_madvise", "process_mrelease", "kcmp"),
    *("pidfd_getfd", "pidfd_send_signal", "rt_sigqueueinfo", "rt_tgsigqueueinfo", "tkill"),
    *("ioprio_set", "move_pages", "migrate_pages", "setns", "shmget", "shmat", "semget", "msgget", "mq_open"),
    *("add_key", "keyctl", "request_key"),
)
# Landlock bounds what is opened, not whom a file belongs to or who may open it; links would lead the worker astray.
_FILES = (
    *("chmod", "fchmod", "fchmodat", "fchmodat2", "chown", "fchown", "lchown", "fchownat", "truncate"),
    *("setxattr", "lsetxattr", "fsetxattr", "setxattrat", "removexattr", "lremovexattr", "fremovexattr"),
    *("removexattrat", "utime", "utimes", "futimesat", "utimensat", "file_setattr"),
    *("link", "linkat", "symlink", "symlinkat", "mknod", "mknodat", "open_by_handle_at"),
)
# Leaving the group that the worker ends, or what it was put into.
_GROUPS = ("setsid", "setpgid", "unshare")
_KERNEL = (
    *("bpf", "perf_event_open", "userfaultfd", "fanotify_init", "syslog", "personality"),
    *("mount", "umount2", "pivot_root", "chroot", "move_mount", "open_tree", "open_tree_attr", "fsopen", "fspick"),
    *("fsconfig", "fsmount", "mount_setattr"),
)
REFUSED = (*_NETWORK, *_PROGRAMS, *_OTHER_PROCESSES, *_FILES, *_GROUPS, *_KERNEL)
# Said not to be there, so that libraries take the older way, whose arguments can be looked at.
ABSENT = ("io_uring_setup", "io_uring_enter", "io_uring_register", "clone3")
# Their argument of this number is a process, or a thread; only the caller itself, 0, may be named.
OF_ITSELF = {"prlimit64": 0, "sched_setaffinity": 0, "sched_setscheduler": 0, "sched_setparam": 0, "sched_setattr": 0}
OF_ITSELF |= {"setpriority": 1}
# Younger than many a library, which then does not know their numbers: the same on every processor.
_NUMBERS = {"fchmodat2": 452, "setxattrat": 463, "removexattrat": 466, "open_tree_attr": 467, "file_setattr": 469}
_NEW_USER_NAMESPACE = 0x10000000
_NEGATIVE, _WHOLE = 0x80000000, 0xFFFFFFFF  # the kernel looks at 32 bits of a process's number


def find_library() -> Any:
    """The module that loads filters; None where it, its library or the kernel's part is missing."""
    try:
        import pyseccomp
    except (ImportError, RuntimeError, OSError, AttributeError):  # whatever it raises without the library
        return None
    return pyseccomp if Path("/proc/sys/kernel/seccomp/actions_avail").exists() else None


def refuse(library: Any, worker: int) -> None:
    """Refuse the calls to this thread and to what it starts, for ever.

    Args:
        worker: the process that no signal may reach. Others of the same user are kept from signals by Landlock alone.
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
