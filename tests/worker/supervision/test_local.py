"""The driver of an embedded worker."""

import os
import subprocess
import sys
import threading

from structlog.testing import capture_logs

from worker.local import drive


class Faulty:
    """A worker with one slot, whose first attempt raises an exception that nothing else handles."""

    slots = 1

    def __init__(self) -> None:
        self.stopping = threading.Event()
        self.database = self
        self.claimed = 0

    def watch(self) -> "Faulty":
        return self

    def may_have_changed(self) -> bool:
        return True

    def close(self) -> None:
        pass

    def claim(self) -> int:
        self.claimed += 1
        return self.claimed

    def run(self, claimed: int) -> None:
        if claimed == 1:
            raise RuntimeError("No one expected this.")
        self.stopping.set()


def test_an_attempt_that_raises_frees_its_slot_and_is_logged():
    with capture_logs() as logs:
        drive(Faulty())
    [entry] = [entry for entry in logs if entry["log_level"] == "error"]
    assert str(entry["exc_info"]) == "No one expected this."


def test_a_worker_refuses_a_blob_store_in_a_sqlite_file(tmp_path):
    environment = os.environ | {"HELDOUT_HOME": str(tmp_path), "HELDOUT_BLOBS": f"sqlite:///{tmp_path / 'all.sqlite'}"}
    refused = subprocess.run([sys.executable, "-m", "worker.local"], env=environment, capture_output=True, text=True)
    assert refused.returncode == 1
    assert "heldout: HELDOUT_BLOBS names a SQLite file" in refused.stderr
