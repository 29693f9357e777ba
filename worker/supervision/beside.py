"""Runs jobs that take none of a worker's slots, one at a time: they hold up no training and are held up by none."""

import threading
from collections.abc import Callable

import structlog

from models.store.claims import Claimed

log = structlog.get_logger()

# Nobody waits for these jobs, so they are asked for less often than others.
POLL_INTERVAL_S = 5.0


class JobsBesideSlots:
    """A thread that claims and runs them until the worker is stopping.

    Args:
        claim: gives the best such job that waits, or None.
        run: runs it to the end of its attempt.
    """

    def __init__(
        self, claim: Callable[[], Claimed | None], run: Callable[[Claimed], None], stopping: threading.Event
    ) -> None:
        self._claim = claim
        self._run = run
        self._stopping = stopping
        self._thread = threading.Thread(target=self._run_all, name="beside-slots", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Wait until its job is settled; the worker is stopping by then."""
        if self._thread.is_alive():
            self._thread.join()

    def _run_all(self) -> None:
        while not self._stopping.is_set():
            try:
                claimed = self._claim()
                if claimed is not None:
                    self._run(claimed)
                    continue
            except Exception:
                log.exception("job_beside_slots_failed")
            self._stopping.wait(POLL_INTERVAL_S)
