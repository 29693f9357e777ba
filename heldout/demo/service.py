"""A service in a temporary home: started, found, and ended with all of its processes."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from heldout.client.locate import ServiceAddress, read_key_file, read_service_file
from heldout.service.parent_process import launched

ROOT = Path(__file__).resolve().parent.parent.parent
STARTS_WITHIN_S = 180.0
ENDS_WITHIN_S = 15.0
LOG_LINES = 12
# Paths of sockets may be about 100 bytes long; below the temporary folder they need some 60.
LONGEST_FOLDER = 45


class ServiceFailed(Exception):
    """The service did not start or did not last; the text says so, with the last lines of its logs."""


class TemporaryService:
    """`heldout up` in a folder of its own, on a port that was free, with nothing of the caller's settings.

    It leads a process group of its own, so that Ctrl-C reaches only the demonstration, and it ends with its parent.
    """

    def __init__(self, *, stack: bool = False) -> None:
        self._mode = ["--stack"] if stack else []
        self.folder = Path(tempfile.mkdtemp(prefix="heldout-demo-", dir=_short_folder()))
        self._log = self.folder / "service.log"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        for name in ("home", "tmp"):
            (self.folder / name).mkdir()
        program = [sys.executable, "-P", "-m", "api", "up", "--port", "0"]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                launched([*program, "--home", str(self.folder / "home"), *self._mode], signal.SIGTERM),
                cwd=self.folder,
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def wait_until_ready(self) -> ServiceAddress:
        """Where it is and its key, as soon as it listens.

        Raises:
            ServiceFailed: if it ends or takes too long.
        """
        deadline = time.monotonic() + STARTS_WITHIN_S
        while time.monotonic() < deadline:
            found, key = read_service_file(self.folder / "home"), read_key_file(self.folder / "home")
            if found is not None and key is not None:
                return ServiceAddress(found[0], key)
            self.require_alive()
            time.sleep(0.05)
        raise self.failed(f"The service was not ready within {STARTS_WITHIN_S:.0f} s.")

    def require_alive(self) -> None:
        """Raises ServiceFailed if the service has ended."""
        status = None if self._process is None else self._process.poll()
        if status is not None:
            raise self.failed(f"The service ended with status {status}.")

    def failed(self, why: str) -> ServiceFailed:
        """The failure, with the last lines of each log."""
        logs = [self._log, *sorted((self.folder / "home" / "logs").glob("*.log"))]
        return ServiceFailed("\n".join([why, *(line for log in logs for line in _tail(log))]))

    def stop(self, hurry: Callable[[], bool]) -> None:
        """End every process, in good order if that is quick and nobody is in a hurry, and remove the folder."""
        process = self._process
        if process is not None:
            with suppress(ProcessLookupError):
                process.terminate()
            _wait(lambda: process.poll() is not None, ENDS_WITHIN_S, hurry)
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
            # What it had started notices its end; what does not is ended.
            _wait(lambda: not processes_of(self.folder), 3.0, hurry)
            _kill_processes_of(self.folder)
        _remove(self.folder)

    def _environment(self) -> dict[str, str]:
        """The caller's environment without what would lead the service elsewhere; what it caches goes to the folder."""
        ambient = {"DATABASE_URL", "REDIS_URL", "PORT", "LOG_LEVEL", "PYTHONPATH", "PYTHONHOME", "PYTHONSTARTUP"}
        kept = {k: v for k, v in os.environ.items() if not k.startswith("HELDOUT_") and k not in ambient}
        home = str(self.folder / "home")
        return kept | {
            "PYTHONPATH": str(ROOT),
            "HOME": home,
            "KERAS_HOME": f"{home}/keras",
            "XDG_CACHE_HOME": f"{home}/cache",
            "TMPDIR": str(self.folder / "tmp"),
            "HELDOUT_DATASETS": f"{home}/datasets",  # only what comes in wheels is needed
        }


def _short_folder() -> str:
    """The folder for temporary files, or one with a shorter path."""
    usual = tempfile.gettempdir()
    for folder in (usual, "/tmp", "/var/tmp"):
        if len(os.fsencode(folder)) <= LONGEST_FOLDER and os.access(folder, os.W_OK | os.X_OK):
            return folder
    return usual


def _tail(log: Path) -> list[str]:
    with suppress(OSError):
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()[-LOG_LINES:]
        return [f"  {log.name}: {line}" for line in lines]
    return []


def _wait(done: Callable[[], bool], seconds: float, hurry: Callable[[], bool]) -> None:
    deadline = time.monotonic() + seconds
    while not done() and time.monotonic() < deadline and not hurry():
        time.sleep(0.05)


def _remove(folder: Path) -> None:
    """Remove a folder with all that is in it, also while a last process may still write into it."""
    for _ in range(20):
        shutil.rmtree(folder, ignore_errors=True)
        if not folder.exists():
            return
        time.sleep(0.1)


# --- processes (Linux; elsewhere the service's own care has to do) --------------------------------


def processes_of(folder: Path) -> list[int]:
    """Whatever was started by the service or by what it started: all of it has the folder in its environment."""
    mark = os.fsencode(f"TMPDIR={folder}/")
    found = []
    for environment in Path("/proc").glob("[0-9]*/environ"):
        with suppress(OSError):  # another user's, or ended meanwhile
            if mark in environment.read_bytes():
                found.append(int(environment.parent.name))
    return found


def _kill_processes_of(folder: Path) -> None:
    deadline = time.monotonic() + 5.0
    while (pids := processes_of(folder)) and time.monotonic() < deadline:
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.02)
