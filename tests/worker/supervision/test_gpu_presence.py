"""A worker with GPUs is known of while it lives, and jobs that ask for more than any has are warned of."""

from datetime import timedelta

import pytest
from sqlalchemy import update

from models.store import calibrations, workers
from models.store.transitions import get_now
from models.tables import CalibrationRow
from tests.heldout.served import until
from worker.supervision.threads import GpuPresence


def most(database):
    with database.read() as session:
        return workers.find_most_gpus(session)


@pytest.fixture
def started(database):
    presences = []

    def start(count):
        presence = GpuPresence(database, count)
        presences.append(presence)
        presence.start()
        return presence

    yield start
    for presence in presences:
        presence.stop()


def test_a_worker_s_gpus_are_known_of_until_it_stops(database, started):
    presence = started(2)
    until(lambda: most(database) == 2, "the first word of it")
    with database.read() as session:
        assert calibrations.list_speeds(session) == []  # it is not a measured speed
    presence.stop()
    assert most(database) == 0


def test_a_worker_that_has_said_nothing_for_long_is_gone(database):
    with database.write() as session:
        workers.note_gpus(session, "dead", 4)
        workers.note_gpus(session, "alive", 1)
        old = get_now(session) - timedelta(seconds=workers.GPUS_SEEN_S + 1)
        session.execute(update(CalibrationRow).where(CalibrationRow.host == "dead").values(measured_at=old))
    assert most(database) == 1


def test_a_worker_without_gpus_says_nothing(database, started):
    started(0)
    assert most(database) == 0
