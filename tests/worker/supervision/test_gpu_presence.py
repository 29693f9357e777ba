"""A worker announces its GPUs while it lives."""

import threading
from datetime import timedelta

from sqlalchemy import update

from models.store import calibrations, workers
from models.store.transitions import get_now
from models.tables import CalibrationRow
from tests.heldout.served import until
from worker.supervision.threads import report_gpus


def find_most_gpus(database):
    with database.read() as session:
        return workers.find_most_gpus(session)


def test_the_gpus_of_a_worker_are_known_until_it_stops(database):
    stopping = threading.Event()
    reporter = threading.Thread(target=report_gpus, args=(database, 2, stopping))
    reporter.start()
    until(lambda: find_most_gpus(database) == 2, "the first announcement")
    with database.read() as session:
        assert calibrations.list_speeds(session) == []  # it is not a measured speed
    stopping.set()
    reporter.join()
    assert find_most_gpus(database) == 0


def test_the_gpus_of_a_silent_worker_are_forgotten(database):
    with database.write() as session:
        workers.note_gpus(session, "dead", 4)
        workers.note_gpus(session, "alive", 1)
        old = get_now(session) - timedelta(seconds=workers.GPUS_SEEN_S + 1)
        session.execute(update(CalibrationRow).where(CalibrationRow.host == "dead").values(measured_at=old))
    assert find_most_gpus(database) == 1


def test_a_worker_without_gpus_announces_nothing(database):
    report_gpus(database, 0, threading.Event())
    assert find_most_gpus(database) == 0
