"""The keeper of leases: its sign of life, which health checks of containers read, and how it wakes up."""

import threading
import time

import pytest

from heldout.service.settings import Settings
from models.database import Database
from tests.e2e.running import until
from tests.models.work import Work
from worker.supervision import threads
from worker.supervision.threads import LeaseKeeper


@pytest.fixture
def keeper(tmp_path, monkeypatch):
    monkeypatch.setattr(threads, "IDLE_ROUND_S", 0.01)
    database = Database(f"sqlite:///{tmp_path / 'never-asked.db'}")
    keeper = LeaseKeeper(database, Settings(poll_s=0.01), "worker", tmp_path / "scratch" / "alive")
    keeper.start()
    yield keeper
    keeper.stop()


def test_the_keeper_gives_a_sign_of_life_in_each_round_even_if_its_folder_was_missing(keeper, tmp_path):
    (tmp_path / "scratch").mkdir()
    sign = tmp_path / "scratch" / "alive"
    seen = set()
    ends_at = time.monotonic() + 60
    while len(seen) < 3 and time.monotonic() < ends_at:
        seen |= {sign.stat().st_mtime_ns} if sign.exists() else set()
    assert len(seen) == 3


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_an_idle_keeper_watches_a_new_job_at_once(database, tmp_path, monkeypatch):
    monkeypatch.setattr(threads, "IDLE_ROUND_S", 3600.0)
    work = Work(database)
    keeper = LeaseKeeper(database, Settings(poll_s=0.01), "worker", tmp_path / "alive")
    keeper.start()
    until((tmp_path / "alive").exists, "the first round")
    held = work.running()
    keeper.hold(held)
    work.cancel(held.job_id)
    until(lambda: keeper.request_for(held) is not None, "the request")
    keeper.stop()
    assert "keeper" not in {thread.name for thread in threading.enumerate()}, "an idle keeper stops at once"
