"""The driver of an embedded worker."""

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
