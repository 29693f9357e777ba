"""Landlock: the kernel refuses a process every file that no rule names. Linux 5.13 and later, see landlock(7)."""

import ctypes
import os
import stat
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

# Numbers of system calls, the same on x86 and ARM.
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_VERSION, _PATH_BENEATH = 1, 1
_PR_SET_NO_NEW_PRIVS = 38

_WRITE_FILE, _READ_FILE, _READ_DIR, _REMOVE_DIR, _REMOVE_FILE = 1 << 1, 1 << 2, 1 << 3, 1 << 4, 1 << 5
_MAKE_DIR, _MAKE_REG, _REFER, _TRUNCATE = 1 << 7, 1 << 8, 1 << 13, 1 << 14
_READ = _READ_FILE | _READ_DIR
# Making links, devices, sockets and pipes is not among them: the worker opens what it finds here.
_WRITE = _READ | _WRITE_FILE | _REMOVE_DIR | _REMOVE_FILE | _MAKE_DIR | _MAKE_REG | _REFER | _TRUNCATE
_OF_FILES = _WRITE_FILE | _READ_FILE | _TRUNCATE
# How many rights each version of the interface knows, from which on.
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
    """The version of the kernel's interface; 0 where it has none, or where a container's rules forbid it."""
    try:
        return _call(_CREATE_RULESET, None, 0, _VERSION)
    except (OSError, AttributeError):
        return 0


def restrict(readable: Iterable[Path], writable: Iterable[Path], version: int) -> None:
    """From now on, let this thread and what it starts open these files and folders only, and execute none.

    Files outside the folders can still be looked for by name. Where the version allows, connecting by TCP or abstract
    sockets ends, and so do signals to processes that are not restricted with this one.
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
                with suppress(OSError):  # what is not there needs no rule, and is refused if it comes later
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
