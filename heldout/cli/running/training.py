"""One training of a study as a process: its files, its limits, and how it ended."""

import os
import signal
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from heldout.cli.histories import read_history
from heldout.histories.recorded import ReadHistory
from heldout.parent_process import KILL, build_launch_command
from heldout.views.study_run import AssignedRunView
from heldout.words import format_duration

# The end of a log, which gives the reason of a failure.
LOG_END_BYTES = 4096
# Variables of clients and of the service itself that a script does not get.
SECRETS = {
    "HELDOUT_API_KEY",
    "HELDOUT_SECRETS_KEY",
    "HELDOUT_DATABASE_URL",
    "HELDOUT_DATABASE_PASSWORD",
    "HELDOUT_REDIS_URL",
    "HELDOUT_REDIS_PASSWORD",
}
GRACE_S = 3.0


@dataclass(frozen=True)
class Limits:
    """What one training may take; None means no limit."""

    seconds: float | None = None
    memory_bytes: int | None = None


@dataclass
class Training:
    """A training that runs, or has just ended.

    base: the path of its files without their suffix.
    """

    run: AssignedRunView
    base: Path
    gpu: str | None
    process: subprocess.Popen[bytes]
    began_s: float = field(default_factory=time.monotonic)
    renewed_s: float = field(default_factory=time.monotonic)
    seconds: float | None = None
    is_late: bool = False

    @property
    def name(self) -> str:
        return f"{self.run.arm}, seed {self.run.seed}"

    @property
    def log(self) -> Path:
        return get_log(self.base)

    def has_ended(self, limit_s: float | None) -> bool:
        """Return whether the process has ended. Ends it if it has run longer than the limit."""
        took_s = time.monotonic() - self.began_s
        if self.process.poll() is None and limit_s is not None and took_s > limit_s:
            self.is_late = True
            self.end()
        if self.process.poll() is None:
            return False
        self.seconds = round(took_s, 3) if self.seconds is None else self.seconds
        return True

    def end(self) -> None:
        """End the process with all that it has started, if it has not ended."""
        _send(self.process, signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(GRACE_S)
        _send(self.process, KILL)
        self.process.wait()

    def find_answers(self) -> Path | None:
        """Return the file of answers: `{out}` itself, or a CSV of that name."""
        return next((file for file in list_answers(self.base) if file.is_file()), None)

    def read_history(self) -> ReadHistory | None:
        """Read the history next to the answers, in any format, if there is one. Raises Refused."""
        found = sorted(self.base.parent.glob(f"{self.base.name}.history*"))
        return read_history(found[0]) if found else None

    def explain_failure(self, limit_s: float | None) -> str | None:
        """Say why there is no result; None if there is one."""
        code = self.process.returncode
        if self.is_late:
            return f"It took longer than the limit of {format_duration(limit_s)}."
        if code == 0:
            return None if self.find_answers() else f"It ended without writing {get_answers(self.base).name}."
        how = f"It was ended by {_name_signal(-code)}" if code < 0 else f"It ended with exit code {code}"
        last = _read_last_line(self.log)
        return f"{how}: {last}" if last else f"{how}."


def start(
    run: AssignedRunView, command: list[str], base: Path, limits: Limits, gpu: str | None, folder: Path | None = None
) -> Training:
    """Start a training in a folder. What an earlier attempt wrote is removed, and its log is kept."""
    for file in (*list_answers(base), *base.parent.glob(f"{base.name}.history*")):
        if file.is_file():
            file.unlink()
    environment = {name: text for name, text in os.environ.items() if name not in SECRETS}
    if gpu is not None:
        environment["CUDA_VISIBLE_DEVICES"] = gpu
    if os.name == "posix":
        command = build_launch_command(command, memory_bytes=limits.memory_bytes or 0)
    with get_log(base).open("ab") as log:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=environment,
            cwd=folder,
            # Ctrl-C ends this command first, which then ends its trainings.
            start_new_session=True,
        )
    return Training(run, base, gpu, process)


def get_answers(base: Path) -> Path:
    return base.with_name(f"{base.name}.npz")


def list_answers(base: Path) -> list[Path]:
    """List where a script may have written its answers."""
    answers = get_answers(base)
    return [answers, answers.with_name(f"{answers.name}.csv"), answers.with_suffix(".csv")]


def get_log(base: Path) -> Path:
    return base.with_name(f"{base.name}.log")


def list_gpus() -> list[str]:
    """List the GPUs that trainings may use; empty if there is at most one, which needs no choice."""
    if (visible := os.environ.get("CUDA_VISIBLE_DEVICES")) is not None:
        gpus = [gpu for gpu in visible.split(",") if gpu]
    else:
        try:
            listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, check=False, timeout=30)
        except (OSError, subprocess.TimeoutExpired):
            return []
        gpus = [str(number) for number, line in enumerate(listed.stdout.splitlines()) if line.startswith("GPU ")]
    return gpus if len(gpus) > 1 else []


def _send(process: "subprocess.Popen[bytes]", number: int) -> None:
    """Send a signal to a process and all that it has started, also after its own end."""
    with suppress(ProcessLookupError, PermissionError):
        if os.name == "posix":
            os.killpg(process.pid, number)
        elif process.poll() is None:
            process.send_signal(number)


def _name_signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _read_last_line(log: Path) -> str:
    with log.open("rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - LOG_END_BYTES))
        lines = [line.strip() for line in file.read().decode(errors="replace").splitlines()]
    return next((line for line in reversed(lines) if line), "")
