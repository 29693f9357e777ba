"""The process that reads an uploaded model, as its attempt sees it: started afresh, listened to, ended by force.

It reads a stranger's file, so nothing that it says is unpickled, and it gets no credentials.
"""

import json
import os
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal, Self

from heldout.parent_process import launched
from worker.machine.bounded_process import INHERITED_VARIABLES, ROOT

SET_VARIABLES = {
    "KERAS_BACKEND": "tensorflow",
    "ORT_DISABLE_TELEMETRY": "1",
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "CUDA_VISIBLE_DEVICES": "-1",
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "PYTHONUTF8": "1",
}
MAX_ANSWER_BYTES = 64 * 1024**2
_LOG_BYTES = 16_384
_LOG_LINES = 20


class ForeignProcessDied(Exception):
    """The process gave no answer that is understood. exit_code: None where it said something else and did not end."""

    def __init__(self, detail: str, exit_code: int | None = None) -> None:
        super().__init__(detail)
        self.exit_code = exit_code


class ForeignProcess:
    """A process with an assignment. The thread that starts it must outlive it: on Linux it ends with that thread.

    Args:
        folder: for temporary files; the caller removes it.
        memory_bytes: private memory that it may have.
        wall_s: seconds of a processor that it may take.
    """

    def __init__(
        self,
        work: Literal["check", "measure", "weights", "backbone"],
        assignment: Mapping[str, Any],
        folder: Path,
        *,
        memory_bytes: int,
        wall_s: int,
    ) -> None:
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - closed by `kill`
        self._process = subprocess.Popen(
            launched([sys.executable, "-m", "worker.training.foreign.child", work]),
            cwd=ROOT,
            env={name: os.environ[name] for name in INHERITED_VARIABLES if name in os.environ}
            | {**SET_VARIABLES, "TMPDIR": str(folder.resolve())},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            start_new_session=True,
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._out = self._process.stdout
        self._said, self._is_over = b"", False
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._out, selectors.EVENT_READ)
        whole = {**assignment, "memory_bytes": memory_bytes, "wall_s": wall_s}
        with suppress(BrokenPipeError), self._process.stdin as pipe:  # one that died at once, `receive` tells
            pipe.write(json.dumps(whole).encode())

    @property
    def pid(self) -> int:
        return self._process.pid

    def receive(self, timeout_s: float) -> dict[str, Any] | None:
        """Its one answer, or None after `timeout_s` without it.

        Raises:
            ForeignProcessDied: it ended without one, or says what is not understood.
        """
        until = time.monotonic() + timeout_s
        while self._selector.select(max(0.0, until - time.monotonic())):
            data = os.read(self._out.fileno(), 1024**2)
            if not data:
                raise self._death()
            self._said += data
            if b"\n" in data:
                return self._answer()
            if len(self._said) > MAX_ANSWER_BYTES:
                raise ForeignProcessDied("The process that read the model said too much.")
        return None

    def _answer(self) -> dict[str, Any]:
        try:
            answer = json.loads(self._said)
        except (ValueError, RecursionError):
            answer = None
        if not isinstance(answer, dict) or len(answer) != 1:
            raise ForeignProcessDied("The process that read the model said what is not understood.")
        return answer

    def _death(self) -> ForeignProcessDied:
        code = self._process.wait()
        if code < 0:
            name = signal.Signals(-code).name if -code in set(signal.Signals) else str(-code)
            why = f"was ended by {name}, perhaps because memory or time ran out"
        else:
            why = f"ended with exit status {code}"
        return ForeignProcessDied(f"The process that read the model {why}.", code)

    def last_lines(self) -> list[str]:
        """The end of what the process printed, for the operator's log."""
        self._log.seek(0, os.SEEK_END)
        self._log.seek(max(0, self._log.tell() - _LOG_BYTES))
        return [line[:500] for line in self._log.read().decode("utf-8", "replace").splitlines()[-_LOG_LINES:]]

    def kill(self) -> None:
        """End the process and all that it started; does nothing to one that has ended."""
        if self._is_over:
            return
        self._is_over = True
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._selector.close()
        self._out.close()
        self._log.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()


def in_scratch(file: Path) -> str:
    """A path as the process is told it."""
    return str(file.resolve())
