"""The process that ingests one upload, derives a version, or finds the copies in one dataset, as its parent sees it.

It is started afresh, listened to, and ended by force.
"""

import os
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict
from json import dumps
from pathlib import Path
from typing import Any, Literal, NoReturn, Self

from heldout.dataset_lifecycle import RejectionCode
from heldout.datasets import DatasetSpec
from heldout.kinds import DeriveSpec
from heldout.parent_process import launched
from worker.ingest.folders import empty
from worker.ingest.limits import MIB, Limits
from worker.ingest.process.messages import Progress, Related, decoded
from worker.ingest.rejection import Rejection, amount
from worker.ingest.report import Report
from worker.machine.bounded_process import INHERITED_VARIABLES, ROOT

SET_VARIABLES = {
    "OPENBLAS_NUM_THREADS": "1",  # the processes share the work; threads would add memory only
    "OMP_NUM_THREADS": "1",
    "ARROW_DEFAULT_MEMORY_POOL": "system",
    "MALLOC_ARENA_MAX": "2",
    # Large buffers go back to the system as soon as they are freed; those of usual blocks are used again.
    "MALLOC_MMAP_THRESHOLD_": str(8 * MIB),
    "MALLOC_TRIM_THRESHOLD_": str(16 * MIB),
    "PYTHONUTF8": "1",
}
MAX_MESSAGE_BYTES = 64 * MIB
LOG_BYTES = 16_384
LOG_LINES = 20


class BoundedProcess:
    """A process with an assignment. The thread that starts it must outlive it: on Linux it ends with that thread."""

    def __init__(
        self, work: Literal["ingest", "derive", "relate"], assignment: Mapping[str, Any], target: Path, limits: Limits
    ) -> None:
        self._target, self._limits = target, limits
        target.mkdir(parents=True, exist_ok=True)
        if any(target.iterdir()):
            raise ValueError(f"{target} is not empty")
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - closed by `kill`
        self._process = subprocess.Popen(
            launched([sys.executable, "-m", "worker.ingest.process.child", work]),
            cwd=ROOT,
            env={name: os.environ[name] for name in INHERITED_VARIABLES if name in os.environ} | SET_VARIABLES,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            start_new_session=True,  # the processes that it starts are ended with it
        )
        self._is_over = self._is_done = False
        self._last_lines: list[str] = []
        self._ends_at = time.monotonic() + limits.wall_s
        self._buffer = b""
        self._lines: list[bytes] = []
        self._selector = selectors.DefaultSelector()
        assert self._process.stdout is not None
        assert self._process.stdin is not None
        os.set_blocking(self._process.stdout.fileno(), False)
        self._selector.register(self._process.stdout, selectors.EVENT_READ)
        whole = {**assignment, "target": str(target.resolve()), "limits": asdict(limits)}
        with suppress(BrokenPipeError), self._process.stdin as pipe:  # one that died at once, `receive` tells
            pipe.write(dumps(whole).encode())

    @property
    def pid(self) -> int:
        """Of the process, and of the group and session that it and its helpers are in."""
        return self._process.pid

    def receive(self, timeout_s: float) -> Progress | Report | Related | None:
        """The next message, or None after `timeout_s` without one. A Report or Related is the last one.

        Raises:
            Rejection: the upload is rejected, or the process ended without its last message; `target` then is empty.
        """
        until = time.monotonic() + timeout_s
        while not self._lines:
            left = min(until, self._ends_at) - time.monotonic()
            if self._selector.select(max(0.0, left)):
                self._read()
            elif time.monotonic() >= self._ends_at:
                self._fail(_timed_out(self._limits))
            elif left <= 0:
                return None
        return self._answer(self._lines.pop(0))

    def kill(self) -> None:
        """End the process and all that it started; does nothing to one that has ended.

        Unless its last message has been received, `target` is emptied.
        """
        if self._is_over:
            return
        self._is_over = True
        with suppress(ProcessLookupError, PermissionError):  # all of them are gone
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._selector.close()
        if self._process.stdout is not None:
            self._process.stdout.close()
        self._last_lines = self._read_log()
        self._log.close()
        if not self._is_done:
            empty(self._target)

    def last_lines(self) -> list[str]:
        """The end of what the process printed, for the operator's log."""
        return self._last_lines if self._is_over else self._read_log()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def _read(self) -> None:
        assert self._process.stdout is not None
        data = os.read(self._process.stdout.fileno(), MIB)
        if not data:
            self._fail(self._death())
        *lines, self._buffer = (self._buffer + data).split(b"\n")
        self._lines += lines
        if len(self._buffer) > MAX_MESSAGE_BYTES:
            self._fail(_crashed("sent too long a message"))

    def _answer(self, line: bytes) -> Progress | Report | Related:
        try:
            message = decoded(line)
        except ValueError:
            self._fail(_crashed("sent a message that is not understood"))
        if isinstance(message, Rejection):
            self._fail(message)
        if not isinstance(message, Progress):
            self._is_done = True
            self.kill()
        return message

    def _fail(self, rejection: Rejection) -> NoReturn:
        self.kill()
        raise rejection

    def _death(self) -> Rejection:
        """Why the process ended without a report."""
        self._process.wait()
        code = self._process.returncode
        if any("bad_alloc" in line or "MemoryError" in line for line in self.last_lines()):
            return Rejection(
                RejectionCode.OUT_OF_MEMORY,
                f"The ingest needs more memory than the {amount(self._limits.memory_bytes)} that it may use. Upload "
                "smaller images, or ask the operator for a higher limit.",
            )
        if code == -signal.SIGXCPU:
            return _timed_out(self._limits)
        if code < 0:
            name = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
            return _crashed(
                f"was ended by {name}" + (", perhaps because memory ran out" if code == -signal.SIGKILL else "")
            )
        return _crashed(f"ended with status {code}")

    def _read_log(self) -> list[str]:
        self._log.seek(0, os.SEEK_END)
        self._log.seek(max(0, self._log.tell() - LOG_BYTES))
        return [line[:500] for line in self._log.read().decode("utf-8", "replace").splitlines()[-LOG_LINES:]]


class IngestProcess(BoundedProcess):
    """One upload's process: what `run` does. Its last message is a Report."""

    def __init__(self, source: Path, spec: DatasetSpec, target: Path, limits: Limits = Limits()) -> None:  # noqa: B008
        super().__init__(
            "ingest", {"source": str(source.resolve()), "spec": spec.model_dump(mode="json")}, target, limits
        )


class DeriveProcess(BoundedProcess):
    """A derived version's process: what `derive` does. Its last message is a Report."""

    def __init__(self, content: Path, names: Path | None, spec: DeriveSpec, target: Path, limits: Limits) -> None:
        assignment = {
            "content": str(content.resolve()),
            "names": None if names is None else str(names.resolve()),
            "called": spec.base_name,
            "sha256": spec.base_sha256,
            "spec": spec.dataset.model_dump(mode="json"),
            "changes": spec.changes.body(),
        }
        super().__init__("derive", assignment, target, limits)


class RelateProcess(BoundedProcess):
    """A stored dataset's process: what `relate` does. Its last message is a Related."""

    def __init__(
        self, content: Path, target: Path, limits: Limits, *, names: Path | None = None, group_by: str | None = None
    ) -> None:
        named = None if names is None else str(names.resolve())
        assignment = {"content": str(content.resolve()), "names": named, "group_by": group_by}
        super().__init__("relate", assignment, target, limits)


def ingest(
    source: Path,
    spec: DatasetSpec,
    target: Path,
    limits: Limits = Limits(),  # noqa: B008 - frozen
    progress: Callable[[Progress], None] = lambda progress: None,
) -> Report:
    """What `run` does, in a process of its own. Raises Rejection, also where that process dies or is too slow."""
    with IngestProcess(source, spec, target, limits) as process:
        while True:
            message = process.receive(60)
            if isinstance(message, Report):
                return message
            if isinstance(message, Progress):
                progress(message)


def _timed_out(limits: Limits) -> Rejection:
    return Rejection(
        RejectionCode.TIMED_OUT,
        f"The ingest took longer than the limit of {limits.wall_s} s. Upload fewer or smaller images, or ask the "
        "operator for a higher limit.",
    )


def _crashed(how: str) -> Rejection:
    return Rejection(
        RejectionCode.CRASHED,
        f"The process that read the upload {how}. Upload it again; if it happens again, save the files anew.",
    )
