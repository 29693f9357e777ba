"""The embedded driver: polls the database for jobs. `python -m worker.local`, started by `heldout up`."""

import signal
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor

import structlog

from heldout.errors import OperatorError
from heldout.service.start import read_settings_or_exit
from models import logs
from worker.machine.parent import call_when_input_ends
from worker.supervision.worker import Worker

log = structlog.get_logger()

# How often an idle worker checks for changes, which is most of the time that a job waits for a free worker.
POLL_INTERVAL_S = 0.1
# How often it looks for jobs although nothing was written: some become ready with time.
IDLE_POLL_INTERVAL_S = 1.0


def main() -> None:
    """Run jobs until SIGTERM, or until the process that started us ends."""
    settings = read_settings_or_exit()
    logs.configure(settings.log_level)
    logs.warn_of_unknown_settings()
    worker = Worker(settings)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: worker.stopping.set())
    if settings.stop_with_stdin:
        call_when_input_ends(worker.stopping.set)
    try:
        worker.start()
    except OperatorError as error:
        worker.scratch.close()
        raise SystemExit(f"heldout: {error.detail}") from error
    drive(worker)
    worker.close()


def drive(worker: Worker) -> None:
    """Claim and run jobs, one per slot, until the worker is stopping and its jobs are settled."""
    free, threads = threading.Semaphore(worker.slots), ThreadPoolExecutor(worker.slots)

    def end(attempt: Future[None]) -> None:
        free.release()
        if attempt.exception() is not None:
            log.error("attempt_failed", exc_info=attempt.exception())

    changes, ask_again_at = worker.database.watch(), 0.0
    while not worker.stopping.is_set():
        if not changes.may_have_changed() and time.monotonic() < ask_again_at:
            time.sleep(POLL_INTERVAL_S)  # shorter than a stop may take, and at half the cost of waiting for an event
            continue
        ask_again_at = 0.0
        if not free.acquire(timeout=POLL_INTERVAL_S):
            continue
        claimed = worker.claim()
        if claimed is None:
            free.release()
            ask_again_at = time.monotonic() + IDLE_POLL_INTERVAL_S
            worker.stopping.wait(POLL_INTERVAL_S)
            continue
        threads.submit(worker.run, claimed).add_done_callback(end)
    changes.close()
    threads.shutdown()


if __name__ == "__main__":
    main()
