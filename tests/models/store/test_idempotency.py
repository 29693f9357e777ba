"""Requests with an Idempotency-Key: answered once, replayed for a day, refused with another body."""

import threading

import pytest
from sqlalchemy import func, select, update

from heldout.errors import IdempotencyKeyInFlight, IdempotencyKeyReused
from models.database import Database, db_now
from models.store import idempotency
from models.tables import IdempotencyRow
from tests.models.work import ALICE, BOB

FIRST, OTHER = "1" * 64, "2" * 64
ANSWER = {"status": 201, "body": {"id": "job_1", "ä": [1.5, None]}, "headers": {"location": "/v1/jobs/job_1"}}


def keep(database: Database, owner: str = ALICE, key: str = "a key", request: str = FIRST) -> None:
    with database.write() as session:
        assert idempotency.replay(session, owner, key, request) is None
        idempotency.keep(session, owner, key, request, **ANSWER)


def replayed(database: Database, owner: str = ALICE, key: str = "a key", request: str = FIRST) -> dict | None:
    with database.write() as session:
        row = idempotency.replay(session, owner, key, request)
        return row and {"status": row.status, "body": row.body, "headers": row.headers}


def rows(database: Database) -> int | None:
    with database.read() as session:
        return session.scalar(select(func.count()).select_from(IdempotencyRow))


def age(database: Database, seconds: float) -> None:
    with database.write() as session:
        session.execute(update(IdempotencyRow).values(created_at=db_now(-seconds)))


def test_the_same_request_always_gets_the_stored_answer(database):
    keep(database)
    assert [replayed(database) for _ in range(2)] == [ANSWER] * 2
    assert rows(database) == 1


def test_another_request_with_the_key_is_refused_and_the_answer_stays(database):
    keep(database)
    with pytest.raises(IdempotencyKeyReused):
        replayed(database, request=OTHER)
    assert replayed(database) == ANSWER


def test_a_key_belongs_to_its_owner_and_to_its_exact_text(database):
    keep(database)
    assert replayed(database, owner=BOB, request=OTHER) is None
    assert replayed(database, key="A key", request=OTHER) is None
    keep(database, owner=BOB, request=OTHER)
    assert rows(database) == 2


def test_a_request_that_was_refused_stores_nothing_and_frees_the_key(database):
    def refused() -> None:
        with database.write() as session:
            assert idempotency.replay(session, ALICE, "a key", FIRST) is None
            raise ValueError

    with pytest.raises(ValueError):  # noqa: PT011  (ours)
        refused()
    assert rows(database) == 0
    keep(database, request=OTHER)


def test_a_key_can_be_used_for_a_new_request_after_a_day_and_not_before(database):
    keep(database)
    age(database, 24 * 3600 - 60)
    with pytest.raises(IdempotencyKeyReused):
        replayed(database, request=OTHER)
    age(database, 24 * 3600 + 1)
    keep(database, request=OTHER)
    assert replayed(database, request=OTHER) == ANSWER


def test_old_answers_are_removed_and_recent_ones_kept(database):
    keep(database)
    age(database, 24 * 3600 + 1)
    keep(database, key="recent")
    with database.write() as session:
        idempotency.forget_old(session)
    assert rows(database) == 1
    assert replayed(database, key="recent") == ANSWER


def test_a_second_request_with_the_key_of_one_in_flight_is_refused(fresh_postgres_url):
    database = Database(fresh_postgres_url)
    with database.write() as first:
        assert idempotency.replay(first, ALICE, "a key", FIRST) is None
        for request in (FIRST, OTHER):
            with pytest.raises(IdempotencyKeyInFlight):
                replayed(database, request=request)
        assert replayed(database, key="another key") is None
        assert replayed(database, owner=BOB) is None
        idempotency.keep(first, ALICE, "a key", FIRST, **ANSWER)
    assert replayed(database) == ANSWER
    database.dispose()


def test_on_sqlite_a_second_request_waits_for_the_first_and_replays_it(sqlite_url):
    database = Database(sqlite_url)
    answers: list[object] = []
    second = threading.Thread(target=lambda: answers.append(replayed(database)))
    with database.write() as first:
        assert idempotency.replay(first, ALICE, "a key", FIRST) is None
        second.start()
        idempotency.keep(first, ALICE, "a key", FIRST, **ANSWER)
    second.join()
    assert answers == [ANSWER]
    database.dispose()


def test_concurrent_requests_with_one_key_are_carried_out_once(database):
    gate = threading.Barrier(6)
    outcomes: list[str] = []

    def ask() -> None:
        gate.wait()
        try:
            with database.write() as session:
                if idempotency.replay(session, ALICE, "a key", FIRST) is None:
                    idempotency.keep(session, ALICE, "a key", FIRST, **ANSWER)
                    outcomes.append("done")
                else:
                    outcomes.append("replayed")
        except IdempotencyKeyInFlight:
            outcomes.append("in flight")

    threads = [threading.Thread(target=ask) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(outcomes) == 6
    assert outcomes.count("done") == 1
    assert rows(database) == 1
