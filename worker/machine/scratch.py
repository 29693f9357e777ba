"""Scratch folders of attempts, under one folder a worker; what dead workers left is removed."""

import fcntl
import os
import shutil
import tempfile
from pathlib import Path

from worker.machine.devices import host_name


class Scratch:
    """The worker's own folder under `root`, locked for as long as the worker lives."""

    def __init__(self, root: Path) -> None:
        root.mkdir(parents=True, exist_ok=True, mode=0o700)
        _remove_abandoned(root)
        self.folder = Path(tempfile.mkdtemp(prefix=f"worker-{host_name()}-", dir=root))
        # Touched at each round of the worker, so that a container's health check can see that it goes on.
        self.sign_of_life = self.folder / "alive"
        self._lock = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._lock, fcntl.LOCK_EX)

    def attempt(self, job_id: str, attempt: int) -> Path:
        """A fresh folder for one attempt."""
        return Path(tempfile.mkdtemp(prefix=f"{job_id}-{attempt}-", dir=self.folder))

    def close(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        os.close(self._lock)


def _remove_abandoned(root: Path) -> None:
    for folder in root.glob("worker-*"):
        try:
            lock = os.open(folder / "lock", os.O_RDWR | os.O_CLOEXEC)
        except OSError:
            continue  # it is being made right now, or is gone
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder, ignore_errors=True)
        except BlockingIOError:
            pass  # its worker lives
        finally:
            os.close(lock)
