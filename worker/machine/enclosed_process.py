"""The worker's side of a sandboxed process that reads untrusted files: starts it, reads its answer, kills it."""

import fcntl
import os
import secrets
import selectors
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from json import dumps, loads
from pathlib import Path
from typing import Any, Self

from analysis.arrays.dataset import FILES
from heldout.parent_process import build_launch_command
from worker.machine.enclosure import FIRST_USER, GROUP, ROOT, USERS, explain_no_switch

# Apart from LANG and TMPDIR, it gets only these variables of the worker's environment, and constants of ours.
INHERITED_VARIABLES = ("PATH", "PYTHONPATH", "DYLD_LIBRARY_PATH" if sys.platform == "darwin" else "LD_LIBRARY_PATH")
_CONSTANTS = {
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "PYTHONUTF8": "1",
    "PYTHONDONTWRITEBYTECODE": "1",
    "JOBLIB_MULTIPROCESSING": "0",  # it would try to create locks, which fails
}
MAX_ANSWER_BYTES = 64 * 1024**2
_LOG_BYTES = 16_384
_LOG_LINES = 20


class ProcessDied(Exception):
    """A process ended without a reason; exit_code: None if it is alive, but sent an invalid message."""

    def __init__(self, exit_code: int | None, detail: str | None = None) -> None:
        self.exit_code = exit_code
        likely = ", perhaps because memory ran out" if exit_code == -signal.SIGKILL else ""
        super().__init__(detail or f"The training process {describe_end(exit_code)}{likely}.")


def describe_end(exit_code: int | None) -> str:
    """Say how a process ended: `was ended by SIGKILL`."""
    if exit_code is None or exit_code >= 0:
        return f"ended with exit status {exit_code}"
    number = -exit_code
    return f"was ended by {signal.Signals(number).name if number in set(signal.Signals) else f'signal {number}'}"


class EnclosedProcess:
    """A process with an assignment. The thread that starts it must outlive it: on Linux it dies with that thread.

    Attributes:
        reads: what untrusted file it reads, in words.
        has_answered: whether `receive` has returned its answer.
    Args:
        module: the entry point, which calls `begin` and `enclose` of `worker.machine.enclosure`.
        inputs: the files and dataset folders that it reads; the assignment has each under its name.
        target: the folder that it writes, created if missing; the assignment has it as `target`.
        variables: our constants that libraries read when they are loaded.
    """

    reads = "file"
    has_answered = False

    def __init__(
        self,
        module: str,
        work: str,
        assignment: Mapping[str, Any],
        inputs: Mapping[str, Path | None],
        target: Path,
        variables: Mapping[str, str],
    ) -> None:
        self.target = target
        target.mkdir(parents=True, exist_ok=True)
        self._scratch = Path(tempfile.mkdtemp(prefix=".reading-", dir=target.resolve().parent))
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - closed by `kill`
        self._user = None if explain_no_switch() else FIRST_USER + secrets.randbelow(USERS)
        opened: list[int] = []
        self._lent: list[_LentFile] = []
        try:
            seen, readable = self._hand_over(inputs, opened)
            writable = [self._see(folder.resolve(), opened) for folder in (target, self._scratch)]
            if self._user is not None:
                for folder in (target, self._scratch):
                    os.chown(folder, self._user, self._user)
            self._process = subprocess.Popen(
                build_launch_command([sys.executable, "-m", module, work]),
                cwd=ROOT,
                env={name: os.environ[name] for name in INHERITED_VARIABLES if name in os.environ}
                | {"LANG": "C.UTF-8", "TMPDIR": writable[1], **_CONSTANTS, **variables},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._log,
                start_new_session=True,  # the processes that it starts end with it
                user=self._user,
                group=self._user,
                extra_groups=None if self._user is None else [GROUP],
                pass_fds=opened,
            )
        except BaseException:
            self._take_files_back()
            self._log.close()
            shutil.rmtree(self._scratch, ignore_errors=True)
            raise
        finally:
            for descriptor in opened:
                os.close(descriptor)
        assert self._process.stdout is not None
        assert self._process.stdin is not None
        self._is_over = False
        self._last_lines: list[str] = []
        self._answer = bytearray()
        self._out = self._process.stdout
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._out, selectors.EVENT_READ)
        whole = {**assignment, **seen, "target": writable[0], "readable": readable, "writable": writable}
        with suppress(BrokenPipeError), self._process.stdin as pipe:  # `read_line` reports a process that died at once
            pipe.write(dumps(whole).encode())

    @property
    def pid(self) -> int:
        """The id of the process, and of the group and session of it and its helpers."""
        return self._process.pid

    def read_line(self, timeout_s: float) -> bytes | None:
        """Return its answer, a line, or None after `timeout_s` without it. Raises ProcessDied."""
        until = time.monotonic() + timeout_s
        while not self._answer.endswith(b"\n"):
            if not self._selector.select(max(0.0, until - time.monotonic())):
                return None
            data = os.read(self._out.fileno(), 1024**2)
            if not data:
                code = self._process.wait()
                likely = ", perhaps because memory or time ran out" if code < 0 else ""
                raise ProcessDied(code, f"The process that read the {self.reads} {describe_end(code)}{likely}.")
            self._answer += data
            if len(self._answer) > MAX_ANSWER_BYTES:
                raise self.make_misunderstood()
        return bytes(self._answer)

    def receive(self, timeout_s: float) -> Any | None:
        """Return its only answer, a JSON object with one entry, or None after `timeout_s` without it.

        After the answer it is killed; `target` stays.

        Raises:
            ProcessDied: it ended without an answer, or sent an invalid one.
        """
        line = self.read_line(timeout_s)
        if line is None:
            return None
        try:
            [(kind, content)] = loads(line).items()
        except (ValueError, AttributeError, RecursionError):
            raise self.make_misunderstood() from None
        self.has_answered = True
        self.kill()
        return {kind: content}

    def make_misunderstood(self) -> ProcessDied:
        """Say that it sent what is not an answer: a file may have taken it over."""
        return ProcessDied(None, f"The process that read the {self.reads} sent an invalid message.")

    def last_lines(self) -> list[str]:
        """Return the end of the process's output, for the operator's log."""
        return self._last_lines if self._is_over else self._read_log()

    def kill(self) -> None:
        """Kill the process and everything that it started, and take over the files that it wrote."""
        if self._is_over:
            return
        self._is_over = True
        with suppress(ProcessLookupError, PermissionError):  # all of them are gone
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._take_files_back()
        self._selector.close()
        self._out.close()
        self._last_lines = self._read_log()
        self._log.close()
        shutil.rmtree(self._scratch, ignore_errors=True)
        take_back(self.target, is_of_other_user=self._user is not None)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def _hand_over(
        self, inputs: Mapping[str, Path | None], opened: list[int]
    ) -> tuple[dict[str, str | None], list[str]]:
        """Link the inputs into a scratch folder: the path of each for the process, and all files that it may read."""
        seen: dict[str, str | None] = dict.fromkeys(inputs)
        readable = []
        scratch = self._see(self._scratch, opened)
        for name, path in inputs.items():
            if path is None:
                continue
            folder = _make_readable(self._scratch / name)
            if path.is_dir():
                folder = _make_readable(folder / path.name)
            for file in [path / part for part in FILES] if path.is_dir() else [path]:
                link = folder / file.name
                link.symlink_to(self._see(file.resolve(), opened))
                readable.append(f"{scratch}/{link.relative_to(self._scratch)}")
            seen[name] = f"{scratch}/{name}/{path.name}"
        return seen, readable

    def _see(self, path: Path, opened: list[int]) -> str:
        """Return the path by which the process opens a file or folder of ours: its user may not enter our folders."""
        if self._user is None or not path.exists():
            return str(path)
        opened.append(os.open(path, os.O_PATH | os.O_CLOEXEC))
        found = path.stat()
        if stat.S_ISREG(found.st_mode) and not found.st_mode & stat.S_IROTH:
            self._lent.append(_LentFile(path))
        return f"/proc/self/fd/{opened[-1]}"

    def _take_files_back(self) -> None:
        while self._lent:
            self._lent.pop().take_back()

    def _read_log(self) -> list[str]:
        self._log.seek(0, os.SEEK_END)
        self._log.seek(max(0, self._log.tell() - _LOG_BYTES))
        return [line[:500] for line in self._log.read().decode("utf-8", "replace").splitlines()[-_LOG_LINES:]]


class _LentFile:
    """A file that the group of these processes may read until `take_back`. A lock shows that others read it, too."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        fcntl.flock(self._file, fcntl.LOCK_SH)
        found = os.fstat(self._file)
        self._mode, self._group = found.st_mode, found.st_gid
        if self._group == GROUP:  # lent by another process, or by one that was killed
            self._mode, self._group = self._mode & ~stat.S_IRGRP, os.getegid()
        os.fchown(self._file, -1, GROUP)
        os.fchmod(self._file, found.st_mode | stat.S_IRGRP)

    def take_back(self) -> None:
        with suppress(BlockingIOError):
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.fchmod(self._file, self._mode)
            os.fchown(self._file, -1, self._group)
        os.close(self._file)


def _make_readable(folder: Path) -> Path:
    folder.mkdir()
    folder.chmod(0o755)  # whatever the umask; the scratch around it is closed
    return folder


def take_back(folder: Path, *, is_of_other_user: bool) -> None:
    """Remove all but folders and plain files from a folder that an untrusted process wrote: links lead elsewhere.

    Args:
        is_of_other_user: another user has written it; it becomes ours.
    """

    def take(path: Path) -> None:
        found = path.lstat()
        is_folder = stat.S_ISDIR(found.st_mode)
        if not is_folder and (not stat.S_ISREG(found.st_mode) or found.st_nlink > 1):
            path.unlink()
            return
        if is_of_other_user:
            os.chown(path, os.geteuid(), os.getegid())
        path.chmod(0o700 if is_folder else 0o600)

    take(folder)
    for parent, folders, files in os.walk(folder):  # looks into a folder only after taking it over
        for name in folders + files:
            take(Path(parent, name))
