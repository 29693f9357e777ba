"""The scratch folder of a worker: a folder for each attempt, and its sockets. Leftovers of dead workers are removed."""

import fcntl
import os
import shutil
import sys
import tempfile
from pathlib import Path

from worker.machine.devices import get_host_name
from worker.machine.held_folders import open_lock, try_lock

# The longest path of a socket, in bytes, that every system takes; Linux takes four more.
MAX_SOCKET_PATH_BYTES = 103
# The longest name that multiprocessing gives to a socket, with its separator.
SOCKET_NAME_BYTES = len("/listener-xxxxxxxx")


class Scratch:
    """The worker's own folder under `root`, locked for as long as the worker lives."""

    def __init__(self, root: Path) -> None:
        root.mkdir(parents=True, exist_ok=True, mode=0o700)
        _remove_abandoned(root)
        self.folder = Path(tempfile.mkdtemp(prefix=f"worker-{get_host_name()}-", dir=root))
        # Touched regularly while the worker runs, for the health check of a container.
        self.sign_of_life = self.folder / "alive"
        self._lock = open_lock(self.folder / "lock")
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        self._opened_folder = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    @property
    def socket_folder(self) -> Path | None:
        """Return the folder under a name that is short enough for a socket's path; None if there is none.

        The name is valid in this process only.
        """
        if len(os.fsencode(self.folder.absolute())) + SOCKET_NAME_BYTES <= MAX_SOCKET_PATH_BYTES:
            return self.folder.absolute()
        short = Path(f"/proc/self/fd/{self._opened_folder}")
        return short if short.exists() else None

    def attempt(self, job_id: str, attempt: int) -> Path:
        """Create a folder for one attempt."""
        return Path(tempfile.mkdtemp(prefix=f"{job_id}-{attempt}-", dir=self.folder))

    def close(self) -> None:
        """Remove the folder with its content."""
        shutil.rmtree(self.folder, ignore_errors=True)
        os.close(self._opened_folder)
        os.close(self._lock)


def begin_output(log: Path) -> None:
    """Redirect output to the file `log`, and temporary files to its folder."""
    os.environ["TMPDIR"] = tempfile.tempdir = str(log.parent)
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(file, 1)
    os.dup2(file, 2)
    os.close(file)
    # The parent's streams may be closed or have another encoding; the process gets its own.
    sys.stdout = open(1, "w", encoding="utf-8", errors="replace", buffering=1, closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", encoding="utf-8", errors="replace", buffering=1, closefd=False)  # noqa: SIM115


def _remove_abandoned(root: Path) -> None:
    for folder in root.glob("worker-*"):
        try:
            lock = os.open(folder / "lock", os.O_RDWR | os.O_CLOEXEC)
        except OSError:
            continue  # it is just being created, or is gone
        if try_lock(lock):  # otherwise its worker lives
            shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)
