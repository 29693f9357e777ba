"""The keeper's sign of life, which a container's health check looks at."""

import time

import pytest

from heldout.settings import Settings
from models.database import Database
from worker.supervision.lease_keeper import LeaseKeeper


@pytest.fixture
def keeper(tmp_path):
    database = Database(f"sqlite:///{tmp_path / 'never-asked.db'}")
    keeper = LeaseKeeper(database, Settings(poll_s=0.01), "worker", tmp_path / "scratch" / "alive")
    keeper.start()
    yield keeper
    keeper.stop()


def test_the_keeper_gives_a_sign_of_life_at_each_round_even_if_its_folder_was_away(keeper, tmp_path):
    (tmp_path / "scratch").mkdir()
    sign = tmp_path / "scratch" / "alive"
    seen = set()
    until = time.monotonic() + 10
    while len(seen) < 3 and time.monotonic() < until:
        seen |= {sign.stat().st_mtime_ns} if sign.exists() else set()
    assert len(seen) == 3
