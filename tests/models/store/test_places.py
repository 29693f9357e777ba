"""Places of uploads and streams in the store."""

import pytest
from sqlalchemy import update

from heldout.access.rights import Quota
from heldout.errors import QuotaExceeded
from models.database import Database, db_now
from models.store import places, quotas
from models.store.places import TABLES, SharedPlace
from tests.models.work import ALICE, BOB

ONE = {Quota.UPLOADS: 1, Quota.STREAMS: 1}


@pytest.fixture(params=[Quota.UPLOADS, Quota.STREAMS])
def quota(request: pytest.FixtureRequest) -> Quota:
    return request.param


def take(database: Database, quota: Quota, owner: str = ALICE) -> SharedPlace:
    database.bounds = ONE
    with database.write() as session:
        return places.take(session, quota, owner)


def used(database: Database, quota: Quota, owner: str = ALICE) -> float:
    with database.read() as session:
        return quotas.get_used(session, owner, quota)


def let_expire(database: Database, quota: Quota) -> None:
    with database.write() as session:
        session.execute(update(TABLES[quota]).values(expires_at=db_now(-1)))


def test_a_place_counts_until_it_is_released(database, quota):
    place = take(database, quota)
    with pytest.raises(QuotaExceeded):
        take(database, quota)
    take(database, quota, BOB)
    with database.write() as session:
        places.give_back(session, [place])
    assert (used(database, quota), used(database, quota, BOB)) == (0, 1)


def test_a_place_that_is_not_renewed_stops_counting_and_its_row_is_removed(database, quota):
    take(database, quota)
    let_expire(database, quota)
    assert used(database, quota) == 0
    other = take(database, quota)
    with database.write() as session:
        places.forget_expired(session)
        left = [row.id for row in session.query(TABLES[quota])]
    assert left == [other.id]


@pytest.mark.parametrize("is_gone", [False, True], ids=["expired", "gone"])
def test_a_place_that_is_renewed_counts_again_after_an_outage(database, quota, is_gone):
    place = take(database, quota)
    let_expire(database, quota)
    with database.write() as session:
        if is_gone:
            places.forget_expired(session)
        places.renew(session, [place])
    assert used(database, quota) == 1


def test_a_thousand_places_are_renewed_and_released_at_once(database):
    held = [SharedPlace(f"plc_{number}", Quota.STREAMS, ALICE) for number in range(1000)]
    with database.write() as session:
        places.renew(session, held)
    assert used(database, Quota.STREAMS) == 1000
    with database.write() as session:
        places.give_back(session, held)
    assert used(database, Quota.STREAMS) == 0
