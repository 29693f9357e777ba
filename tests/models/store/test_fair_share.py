"""Whose job a worker gets, what the owner is charged, and what limits an owner."""

import multiprocessing
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from datetime import timedelta

import pytest
from sqlalchemy import func, select, update

from analysis.scheduling.fair_share import CLAIM_CHARGE_S, compute_used
from heldout.access.rights import Quota
from heldout.errors import OwnerSuspended, QuotaExceeded
from heldout.lifecycle.job import JobStatus, StopReason
from heldout.views.account import UsageBucket
from heldout.work.kinds import JobKind
from models.database import Database, Session, db_now
from models.store import accounts, claims, new_jobs, owners, quotas, transitions
from models.store.claims import Capacity, Claimed
from models.store.new_jobs import NewJob
from models.tables import AttemptRow, JobRow, OwnerRow, UsageRow
from tests.models.work import ALICE, BOB, CPU, Work, result, spec

DAY = timedelta(days=1)


def owner_of(work: Work, claimed: Claimed | None) -> str | None:
    return None if claimed is None else work.row(claimed.held.job_id).owner


def claimed_owners(work: Work, count: int) -> list[str | None]:
    return [owner_of(work, work.claim()) for _ in range(count)]


def used_slot_s(work: Work, owner: str = ALICE) -> float:
    with work.database.read() as session:
        row = session.get_one(OwnerRow, owner)
        return compute_used(accounts.get_standing(row), transitions.get_now(session).timestamp())


def usage_of(work: Work, owner: str = ALICE, **options) -> list[UsageBucket]:
    with work.database.read() as session:
        at = transitions.get_now(session)
        return list(
            owners.list_buckets(session, owner, at - DAY, at + DAY, **{"bucket": "day", "group_by": None, **options})
        )


def limited(work: Work, owner: str = ALICE, *, weight: float | None = None, **bounds) -> None:
    with work.database.write() as session:
        owners.limit(session, owner, weight=weight, changes={Quota(name): value for name, value in bounds.items()})


def about(seconds: float):
    """Compare with some tolerance, because a busy machine takes seconds for a statement."""
    return pytest.approx(seconds, abs=15)


def ran_for(work: Work, claimed: Claimed, seconds: float) -> None:
    """Set the attempt's start to this many seconds ago."""
    work.set(claimed.held.job_id, attempt_started_at=db_now(-seconds))


def test_a_lone_job_is_next_whatever_jobs_of_another_owner_wait(work):
    for _ in range(5):
        work.submit(ALICE, priority=100)
    work.submit(BOB, priority=-100)
    assert claimed_owners(work, 3) == [ALICE, BOB, ALICE]


def test_slots_that_are_free_at_once_go_to_owners_in_turn(work):
    for owner in (ALICE, BOB):
        for _ in range(4):
            work.submit(owner)
    assert claimed_owners(work, 8) == [ALICE, BOB] * 4


def test_an_owner_of_twice_the_weight_gets_twice_the_slots(work):
    for owner in (ALICE, BOB):
        for _ in range(6):
            work.submit(owner)
    limited(work, BOB, weight=2)
    assert sorted(claimed_owners(work, 9)) == [ALICE] * 3 + [BOB] * 6


def test_the_owner_with_the_most_recent_use_comes_last_until_that_is_long_ago(work):
    held = work.submit(ALICE) and work.claim()
    ran_for(work, held, 1000)
    work.succeed(held.held)
    work.submit(ALICE)
    work.submit(BOB)
    assert used_slot_s(work) == about(1000)
    assert owner_of(work, work.claim()) == BOB
    work.submit(BOB)
    assert owner_of(work, work.claim()) == BOB, "60 seconds are less than 1000"
    with work.database.write() as session:  # 20 half-lives later
        long_ago = accounts.OwnerStanding(used_slot_s=1000, at_s=transitions.get_now(session).timestamp() - 72_000)
        accounts.write_standing(session, ALICE, long_ago)
    work.submit(BOB)
    assert owner_of(work, work.claim()) == ALICE


def test_a_job_is_charged_at_its_claim_and_for_its_real_time_at_its_end(work):
    for owner, end in (("a", work.succeed), ("b", work.fail), ("c", work.release)):
        claimed = work.submit(owner) and work.claim()
        assert used_slot_s(work, owner) == pytest.approx(CLAIM_CHARGE_S, abs=1)
        ran_for(work, claimed, 250)
        end(claimed.held)
        assert used_slot_s(work, owner) == about(250)
        [used] = usage_of(work, owner)
        assert (used.jobs, used.slot_seconds) == (1, about(250))
        assert work.row(claimed.held.job_id).charged_s == 0


def test_used_slot_seconds_are_reported_in_full(work):
    work.succeed(work.submit(ALICE) and work.claim().held)
    with work.database.write() as session:
        session.execute(update(UsageRow).values(slot_s=0.1234567))
        used = {each.quota: each.used for each in owners.list_quotas(session, ALICE)}
    assert (used[Quota.SLOT_SECONDS], usage_of(work)[0].slot_seconds) == (0.1234567, 0.1234567)


def test_a_job_that_continues_is_charged_with_its_renewals(work):
    claimed = work.submit() and work.claim()
    for seconds, charged_s in ((30, CLAIM_CHARGE_S), (130, 130), (150, 130), (250, 250)):
        ran_for(work, claimed, seconds)
        with work.database.write() as session:
            assert claims.renew(session, "worker", [claimed.held], 60) == {claimed.held}
        assert used_slot_s(work) == about(charged_s)
    work.succeed(claimed.held)
    assert usage_of(work)[0].slot_seconds == about(250)


def test_a_job_that_is_claimed_again_counts_once_and_all_its_attempts_are_charged(work):
    held = work.running()
    again = work.claimed_again(held)
    work.set(again.job_id, attempt_started_at=db_now(-100))
    work.succeed(again)
    [used] = usage_of(work)
    assert (used.jobs, used.slot_seconds) == (1, about(100))


def test_a_rolled_back_claim_is_not_charged(work):
    job_id = work.submit()

    def claim_and_break() -> None:
        with work.database.write() as session:
            assert claims.claim(session, "worker", Capacity(CPU), 60) is not None
            raise RuntimeError

    with pytest.raises(RuntimeError):
        claim_and_break()
    assert work.row(job_id).status is JobStatus.QUEUED
    assert used_slot_s(work) == 0


def test_usage_is_split_by_key_and_by_kind_and_summed_by_day(work):
    for key_id, seconds in (("k1", 100), ("k2", 200), ("k2", 400)):
        job_id = work.submit()
        work.set(job_id, key_id=key_id)
        claimed = work.claim()
        ran_for(work, claimed, seconds)
        work.succeed(claimed.held)
    by_key = {used.key_id: (used.jobs, used.slot_seconds) for used in usage_of(work, group_by="key")}
    assert by_key == {"k1": (1, about(100)), "k2": (2, about(600))}
    [by_kind] = usage_of(work, group_by="kind")
    assert (by_kind.kind, by_kind.jobs, by_kind.slot_seconds) == (JobKind.TRAIN, 3, about(700))
    assert by_kind.start.hour == 0
    assert usage_of(work, BOB) == []


def test_a_suspended_owner_gets_no_job_started_or_accepted(work):
    held = work.running()
    work.submit()
    with work.database.write() as session:
        owners.suspend(session, ALICE)
    assert work.claim() is None
    with work.database.read() as session:
        assert not claims.is_any_claimable(session, Capacity(CPU)), "workers would ask for a write lock in vain"
    with pytest.raises(OwnerSuspended), work.database.write() as session:
        quotas.require_room(session, ALICE)
    work.succeed(held)  # what runs continues
    with work.database.write() as session:
        assert owners.resume(session, ALICE)
        assert not owners.resume(session, ALICE)
    assert owner_of(work, work.claim()) == ALICE


def test_an_owner_at_its_limit_of_running_jobs_does_not_hide_others(work):
    for _ in range(3):
        work.submit(ALICE)
    work.submit(BOB)
    limited(work, running_jobs=1)
    assert claimed_owners(work, 3) == [ALICE, BOB, None]
    limited(work, running_jobs="default")
    assert claimed_owners(work, 1) == [ALICE]


def test_concurrent_claims_respect_the_limit_of_running_jobs(work):
    for _ in range(8):
        work.submit()
    with work.database.write() as session:
        session.execute(update(OwnerRow).values(quotas={"running_jobs": 3}))
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda number: work.claim(f"w{number}"), range(8)))
    assert sum(claimed is not None for claimed in found) == 3


def test_an_owner_whose_slot_seconds_are_used_up_is_held_until_the_next_day(work):
    claimed = work.submit() and work.claim()
    ran_for(work, claimed, 50)
    work.succeed(claimed.held)
    work.submit()
    limited(work, slot_seconds=45)
    with pytest.raises(QuotaExceeded) as refused, work.database.write() as session:
        quotas.require_room(session, ALICE, Quota.SLOT_SECONDS)
    assert "45 allowed" in refused.value.detail
    assert 0 < int(refused.value.headers["Retry-After"]) <= 86_400
    assert work.claim() is None
    with work.database.read() as session:
        row, at = session.get_one(OwnerRow, ALICE), transitions.get_now(session)
    assert row.held_until == at.replace(hour=0, minute=0, second=0, microsecond=0) + DAY
    limited(work, slot_seconds=None)
    assert owner_of(work, work.claim()) == ALICE


def test_concurrent_submissions_respect_the_limit_of_queued_jobs(work):
    work.database.bounds = {Quota.QUEUED_JOBS: 3}

    def submit(_: int) -> bool:
        try:
            with work.database.write() as session:
                quotas.require_room(session, ALICE, Quota.QUEUED_JOBS)
                add_job(session, work)
        except QuotaExceeded:
            return False
        return True

    with ThreadPoolExecutor(6) as pool:
        assert sum(pool.map(submit, range(6))) == 3


def add_job(session: Session, work: Work) -> None:
    new_jobs.add(session, NewJob(spec=spec(), owner=ALICE, name="a job", dataset_id=work.dataset.id))


def attempts(database: Database) -> int:
    with database.read() as session:
        return session.scalar(select(func.count()).select_from(AttemptRow)) or 0


def has_jobs(database: Database, owner: str) -> bool:
    with database.read() as session:
        return bool(session.scalar(select(func.count()).where(JobRow.owner == owner)))


def run_all(url: str, worker: str) -> None:
    """Claim jobs and end them as a worker process with one slot does, until none is left.

    The first job lasts until the other owner has submitted one.
    """
    database = Database(url)
    while True:
        with database.write() as session:
            claimed = claims.claim(session, worker, Capacity(CPU), 60)
        if claimed is None:
            break
        while not has_jobs(database, BOB):
            time.sleep(0.01)
        with database.write() as session:
            claims.succeed(session, claimed.held, result=result(claimed.held), stop_reason=StopReason.COMPLETED)
    database.dispose()


@pytest.mark.parametrize("database_url", ["postgresql", pytest.param("sqlite", marks=pytest.mark.proof)], indirect=True)
def test_worker_processes_begin_a_lone_job_before_many_earlier_ones(work, database_url):
    many, workers = 40, 3
    for _ in range(many):
        work.submit(ALICE, priority=100)
    fork = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=fork) as pool:
        done = [pool.submit(run_all, database_url, f"w{number}") for number in range(workers)]
        while attempts(work.database) < workers:
            time.sleep(0.01)
        lone = work.submit(BOB)
        for worker in done:
            worker.result(240)
    row = work.row(lone)
    with work.database.read() as session:
        later = select(func.count()).where(
            AttemptRow.started_at > row.queued_at, AttemptRow.started_at < row.started_at
        )
        assert session.scalar(later) <= workers, "others began between its submission and its start"
    assert row.status is JobStatus.SUCCEEDED
    assert sum(used.jobs for used in usage_of(work)) == many


def test_all_jobs_of_an_owner_are_cancelled_and_no_others(work):
    running, waiting, other = work.running(), work.submit(), work.submit(BOB)
    with work.database.write() as session:
        assert sorted(owners.cancel_some_jobs(session, ALICE, "")) == sorted([running.job_id, waiting])
    assert work.row(waiting).status is JobStatus.CANCELLED
    assert work.row(running.job_id).request is not None
    assert work.row(other).status is JobStatus.QUEUED
