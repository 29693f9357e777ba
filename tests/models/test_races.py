"""Two transactions at once: the one that comes second sees what the first did."""

import threading
from concurrent.futures import Future, ThreadPoolExecutor

import pytest
from sqlalchemy import text

from heldout.errors import JobFinished, LeaseLost
from heldout.lifecycle import JobStatus, StopReason
from models.database import Database, db_now
from models.store import claims, events, jobs
from tests.models.work import ALICE, Work, result


@pytest.fixture
def other() -> ThreadPoolExecutor:
    with ThreadPoolExecutor(1) as pool:
        yield pool


def wait_for(database: Database, second: "Future[object]") -> None:
    """Until the second transaction waits for a lock. SQLite cannot tell, but there a writer waits at its beginning."""
    if database.engine.dialect.name != "postgresql":
        return
    blocked = text(
        "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
    )
    while not second.done():
        with database.read() as session:
            if session.scalar(blocked):
                return


def test_a_cancel_that_comes_while_a_success_is_written_is_refused(work: Work, other):
    held = work.running()
    with work.database.write() as session:
        claims.succeed(session, held, result=result(held), stop_reason=StopReason.COMPLETED)
        cancel = other.submit(work.cancel, held.job_id)
        wait_for(work.database, cancel)
    with pytest.raises(JobFinished):
        cancel.result()
    assert work.row(held.job_id).status is JobStatus.SUCCEEDED
    assert "job.cancelling" not in work.event_types(held.job_id)


def test_a_success_that_comes_while_a_cancel_is_written_becomes_a_cancel(work: Work, other):
    held = work.running()
    with work.database.write() as session:
        jobs.cancel(session, ALICE, held.job_id)
        success = other.submit(work.succeed, held)
        wait_for(work.database, success)
    assert success.result() is JobStatus.CANCELLED
    assert work.stored(held.job_id)["results"] == []


def test_a_cancel_that_comes_while_a_job_is_claimed_reaches_the_worker(work: Work, other):
    job_id = work.submit()
    with work.database.write() as session:
        claimed = claims.claim(session, "worker", ("auto",), 60)
        cancel = other.submit(work.cancel, job_id)
        wait_for(work.database, cancel)
    assert cancel.result().request == "cancel"
    assert work.stop_as_requested(claimed.held) is JobStatus.CANCELLED


def test_a_job_that_is_being_cancelled_is_not_claimed(work: Work, other):
    job_id = work.submit()
    with work.database.write() as session:
        jobs.cancel(session, ALICE, job_id)
        claim = other.submit(work.claim)
        wait_for(work.database, claim)
    assert claim.result() is None
    assert work.row(job_id).attempt == 0


def test_a_renewal_that_comes_while_the_job_is_taken_back_finds_it_lost(work: Work, other):
    held = work.running(lease_s=-1)

    def renew() -> object:
        with work.database.write() as session:
            return claims.renew(session, "worker", [held], 60)

    with work.database.write() as session:
        claims.recover_expired_leases(session)
        renewal = other.submit(renew)
        wait_for(work.database, renewal)
    assert renewal.result() == set()
    assert work.row(held.job_id).lease_expires_at is None


def test_a_job_that_its_worker_is_settling_is_not_taken_back(work: Work, other):
    """Its lease has run out, but the worker came first."""
    held = work.running(lease_s=-1)

    def take_back() -> object:
        with work.database.write() as session:
            return claims.recover_expired_leases(session)

    with work.database.write() as session:
        claims.succeed(session, held, result=result(held), stop_reason=StopReason.COMPLETED)
        taking = other.submit(take_back)
        wait_for(work.database, taking)
    assert taking.result() == []
    assert work.row(held.job_id).status is JobStatus.SUCCEEDED


def test_whatever_comes_first_an_accepted_cancel_is_never_followed_by_a_success(work: Work):
    for _ in range(15):
        held = work.running()
        gate = threading.Barrier(2)
        outcomes: dict[str, object] = {}

        def at_once(name: str, act, *arguments: object, gate=gate, outcomes=outcomes) -> None:
            gate.wait()
            try:
                outcomes[name] = act(*arguments)
            except (JobFinished, LeaseLost) as error:
                outcomes[name] = error

        threads = [
            threading.Thread(target=at_once, args=("cancel", work.cancel, held.job_id)),
            threading.Thread(target=at_once, args=("success", work.succeed, held)),
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        accepted = not isinstance(outcomes["cancel"], Exception)
        assert outcomes["success"] is (JobStatus.CANCELLED if accepted else JobStatus.SUCCEEDED)
        ends = [kind for kind in work.event_types(held.job_id) if kind in {"job.succeeded", "job.cancelled"}]
        assert ends == ["job.cancelled" if accepted else "job.succeeded"]


def test_events_are_numbered_without_gaps_whoever_writes_them(work: Work):
    job_id, quiet = work.submit(), work.submit()

    def write(worker: int) -> list[int]:
        numbers = []
        for number in range(8):
            with work.database.write() as session:
                numbers.append(events.add(session, job_id, "job.warning", f"{worker} {number}"))
        return numbers

    with ThreadPoolExecutor(4) as pool:
        numbers = [number for part in pool.map(write, range(4)) for number in part]
    assert sorted(numbers) == list(range(2, 34))
    stored = work.events(job_id)
    assert [event.id for event in stored] == list(range(1, 34))
    assert [event.created_at for event in stored] == sorted(event.created_at for event in stored)
    assert [event.id for event in work.events(quiet)] == [1]


def test_a_transaction_that_is_undone_leaves_no_gap(work: Work):
    job_id = work.submit()

    def undone() -> None:
        with work.database.write() as session:
            events.add(session, job_id, "job.warning", "Undone.")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        undone()
    with work.database.write() as session:
        assert events.add(session, job_id, "job.warning", "Kept.") == 2
    assert [event.message for event in work.events(job_id)][1:] == ["Kept."]


def test_an_expired_wait_and_a_claim_happen_once_between_them(work: Work, other):
    job_id = work.submit(limits={"max_pending_s": 5})
    work.set(job_id, pending_until=db_now(-1))
    with work.database.write() as session:
        assert claims.expire_pending(session) == [job_id]
        claim = other.submit(work.claim)
        wait_for(work.database, claim)
    assert claim.result() is None
    assert work.row(job_id).status is JobStatus.FAILED
