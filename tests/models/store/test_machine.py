"""Random lives of jobs, run through the real SQL on both databases and compared with a small model."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import ClassVar

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import delete, select

from heldout.errors import JobFinished, JobNotFinished, JobNotPaused, LeaseLost
from heldout.lifecycle.job import JobEvent, JobStatus
from models.database import Database, db_now
from models.store import claims, jobs, transitions
from models.store.claims import HeldAttempt, finding, lease, settle
from models.tables import AttemptRow, EventRow, JobRow, ResultRow
from tests.models.work import ALICE, Work

SETTINGS = settings(
    max_examples=8,
    stateful_step_count=10,
    database=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)
EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
ENDED = {"succeeded", "failed", "cancelled"}
CLIENTS = ["cancel", "pause", "resume", "remove"]
WORKERS = ["write", "succeed", "fail", "diverge", "release", "stop_as_requested"]
OTHERS = ["submit", "claim", "take_back", "expire", "renew", "let_backoffs_pass", "let_leases_pass", "stall"]
STATUS_OF_EVENT = {"job.succeeded": "succeeded", "job.failed": "failed", "job.cancelled": "cancelled"}


@dataclass
class Modelled:
    """What a job should be, according to the design."""

    status: str = "queued"
    request: str | None = None
    attempt: int = 0
    failures: int = 0
    priority: int = 0
    place: int = 0  # place in the queue, by age
    lease_ran_out: bool = False
    waits: bool = False  # for its backoff to pass
    overdue: bool = False  # past max_pending_s
    cancel_accepted: bool = False
    granted: list[HeldAttempt] = field(default_factory=list)

    def leave(self, to: str) -> None:
        """End the running attempt. A request that was accepted before takes effect."""
        if self.request == "cancel":
            to = "cancelled"
        elif self.request == "pause" and to == "queued":
            to = "paused"
        self.status, self.request, self.lease_ran_out = to, None, False

    def fail(self, *, for_good: bool) -> None:
        self.failures += 1
        self.leave("failed" if for_good or self.failures >= 3 else "queued")


class JobLives(RuleBasedStateMachine):
    """Clients, workers and reconcilers act one after another in any order, including stale workers."""

    database: ClassVar[Database]

    @initialize()
    def begin(self) -> None:
        with self.database.write() as session:
            session.execute(delete(JobRow))
        self.work = Work(self.database)
        self.jobs: dict[str, Modelled] = {}
        self.places = 0

    def join_the_queue(self, job_id: str) -> int:
        """Put the job behind all others. Jobs of one millisecond would be in random order, and no run repeatable."""
        self.places += 1
        self.work.set(job_id, queued_at=EPOCH + timedelta(seconds=self.places))
        return self.places

    @rule(data=st.data())
    def act_repeatedly(self, data: st.DataObject) -> None:
        """Act several times in a row: by itself, Hypothesis makes short runs of few kinds, which test little."""
        for _ in range(6):
            self.act(data, data.draw(st.sampled_from(self.possible())))
            self.the_database_is_as_modelled()

    def possible(self) -> list[str]:
        return [*OTHERS, *(CLIENTS if self.jobs else []), *(WORKERS if self.attempts() else [])]

    def act(self, data: st.DataObject, act: str) -> None:
        if act in OTHERS:
            getattr(self, act)(data)
        elif act in CLIENTS:
            groups = [group for group in (self.unended(), list(self.jobs)) if group]
            job_id = data.draw(st.sampled_from(data.draw(st.sampled_from(groups))))
            getattr(self, act)(job_id, self.jobs[job_id])
        else:
            # An attempt that holds a job, one that lost it to another, or any at all.
            running = [job for job in self.jobs.values() if job.status == "running"]
            stale = [held for job in running for held in job.granted[:-1]]
            groups = [group for group in ([job.granted[-1] for job in running], stale, self.attempts()) if group]
            held = data.draw(st.sampled_from(data.draw(st.sampled_from(groups))))
            getattr(self, act)(held, self.jobs[held.job_id])

    # --- clients ---

    def cancel(self, job_id: str, job: Modelled) -> None:
        if job.status in ENDED:
            with self.work.unchanged(job_id), pytest.raises(JobFinished):
                self.work.cancel(job_id)
            return
        self.work.cancel(job_id)
        job.cancel_accepted = True
        if job.status == "running":
            job.request = "cancel"
        else:
            job.status = "cancelled"

    def pause(self, job_id: str, job: Modelled) -> None:
        if job.status in ENDED:
            with self.work.unchanged(job_id), pytest.raises(JobFinished):
                self.work.pause(job_id)
            return
        self.work.pause(job_id)
        if job.status == "running":
            job.request = job.request or "pause"
        else:
            job.status = "paused"

    def resume(self, job_id: str, job: Modelled) -> None:
        if job.status != "paused":
            with self.work.unchanged(job_id), pytest.raises(JobNotPaused):
                self.work.resume(job_id)
            return
        self.work.resume(job_id)
        job.status, job.overdue, job.waits, job.place = "queued", False, False, self.join_the_queue(job_id)

    def remove(self, job_id: str, job: Modelled) -> None:
        def remove() -> None:
            with self.database.write() as session:
                jobs.remove(session, ALICE, job_id)

        if job.status not in ENDED:
            with self.work.unchanged(job_id), pytest.raises(JobNotFinished):
                remove()
            return
        remove()
        del self.jobs[job_id]
        assert not any(self.work.stored(job_id).values())
        for held in job.granted:
            with pytest.raises(LeaseLost):
                self.work.epoch(held, 1)

    def submit(self, data: st.DataObject) -> None:
        if len(self.unended()) < 3:
            priority, overdue = data.draw(st.integers(-1, 1)), data.draw(st.booleans())
            job_id = self.work.submit(priority=priority)
            if overdue:
                self.work.set(job_id, pending_until=db_now(-1))
            self.jobs[job_id] = Modelled(priority=priority, overdue=overdue, place=self.join_the_queue(job_id))

    # --- workers ---

    def claim(self, data: st.DataObject) -> None:
        self.claim_first(lease_ran_out=data.draw(st.booleans()))

    def claim_first(self, *, lease_ran_out: bool) -> None:
        waiting = {job_id: job for job_id, job in self.jobs.items() if job.status == "queued" and not job.waits}
        claimed = self.work.claim(lease_s=-1 if lease_ran_out else 60)
        if claimed is None:
            assert not waiting
            return
        first = min(waiting, key=lambda job_id: (-waiting[job_id].priority, waiting[job_id].place), default=None)
        assert claimed.held.job_id == first
        job = self.jobs[first]
        assert claimed.held.attempt == job.attempt + 1
        job.status, job.attempt, job.lease_ran_out, job.overdue = "running", claimed.held.attempt, lease_ran_out, False
        job.granted.append(claimed.held)

    def try_act(self, held: HeldAttempt, job: Modelled, act: Callable[[HeldAttempt], object]) -> bool:
        """Act as this attempt. Unless it holds the job now, it must be refused and change nothing."""
        if job.status == "running" and job.attempt == held.attempt:
            act(held)
            return True
        with self.work.unchanged(held.job_id):
            try:
                act(held)
            except LeaseLost:
                return False
        # Only a success may be reported twice, by the attempt that had it.
        assert (act, job.status, job.attempt) == (self.work.succeed, "succeeded", held.attempt)
        return False

    def write(self, held: HeldAttempt, job: Modelled) -> None:
        self.try_act(held, job, self.work.begin)
        self.try_act(held, job, lambda held: self.work.epoch(held, 1, train_loss=0.5))
        self.try_act(held, job, lambda held: self.work.checkpoint(held, 1))

    def succeed(self, held: HeldAttempt, job: Modelled) -> None:
        if self.try_act(held, job, self.work.succeed):
            job.leave("succeeded")

    def fail(self, held: HeldAttempt, job: Modelled) -> None:
        if self.try_act(held, job, self.work.fail):
            job.fail(for_good=False)
            job.waits = job.status == "queued"
            if job.waits:
                assert self.work.row(held.job_id).available_at is not None
                self.work.set(held.job_id, available_at=db_now(3600))  # it passes when `let_backoffs_pass` says so

    def diverge(self, held: HeldAttempt, job: Modelled) -> None:
        if self.try_act(held, job, lambda held: self.work.fail(held, "diverged")):
            job.fail(for_good=True)

    def release(self, held: HeldAttempt, job: Modelled) -> None:
        if self.try_act(held, job, self.work.release):
            job.leave("queued")

    def stop_as_requested(self, held: HeldAttempt, job: Modelled) -> None:
        if job.status == "running" and job.attempt == held.attempt and job.request:
            self.work.stop_as_requested(held)
            job.leave("queued")
            return
        with self.work.unchanged(held.job_id), pytest.raises(LeaseLost):
            self.work.stop_as_requested(held)

    def renew(self, data: st.DataObject) -> None:
        with self.database.write() as session:
            kept = claims.renew(session, "worker", self.attempts(), 60)
        assert kept == {job.granted[-1] for job in self.jobs.values() if job.status == "running"}
        for held in kept:
            self.jobs[held.job_id].lease_ran_out = False

    # --- reconcilers, and time ---

    def take_back(self, data: st.DataObject) -> None:
        lost = {id_: job for id_, job in self.jobs.items() if job.status == "running" and job.lease_ran_out}
        with self.database.write() as session:
            taken = dict(claims.recover_expired_leases(session))
        assert set(taken) == set(lost)
        for job_id, job in lost.items():
            job.fail(for_good=False)
            assert taken[job_id] == job.status

    def expire(self, data: st.DataObject) -> None:
        overdue = {id_ for id_, job in self.jobs.items() if job.status == "queued" and job.overdue}
        with self.database.write() as session:
            assert set(claims.expire_pending(session)) == overdue
        for job_id in overdue:
            self.jobs[job_id].status = "failed"

    def let_backoffs_pass(self, data: st.DataObject) -> None:
        for job_id, job in self.jobs.items():
            if job.waits and job.status == "queued":
                self.work.set(job_id, available_at=db_now(-1))
                job.waits = False

    def let_leases_pass(self, data: st.DataObject) -> None:
        for job_id, job in self.jobs.items():
            if job.status == "running":
                self.work.set(job_id, lease_expires_at=db_now(-1))
                job.lease_ran_out = True

    def stall(self, data: st.DataObject) -> None:
        """Stall all workers until others have their jobs. Their attempts do not know that."""
        self.let_leases_pass(data)
        self.take_back(data)
        for _ in self.unended():
            self.claim_first(lease_ran_out=False)

    # --- what must hold at any moment ---

    def the_database_is_as_modelled(self) -> None:
        with self.database.read() as session:
            rows = {row.id: row for row in session.scalars(select(JobRow))}
            events = session.execute(
                select(EventRow.subject_id, EventRow.id, EventRow.type).order_by(EventRow.id)
            ).all()
            attempts = session.execute(select(AttemptRow.job_id, AttemptRow.attempt).order_by(AttemptRow.attempt)).all()
            results = session.execute(select(ResultRow.job_id, ResultRow.attempt)).all()
        assert set(rows) == set(self.jobs)
        for job_id, job in self.jobs.items():
            row = rows[job_id]
            assert (row.status, row.request, row.attempt, row.failures) == (
                job.status,
                job.request,
                job.attempt,
                job.failures,
            )
            assert (row.finished_at is not None) == (job.status in ENDED)
            assert (row.worker is not None) == (row.lease_expires_at is not None) == (job.status == "running")
            # It ends once, and never succeeds after an accepted cancel.
            reported = [event for event in events if event.subject_id == job_id]
            ends = [STATUS_OF_EVENT[event.type] for event in reported if event.type in STATUS_OF_EVENT]
            assert ends == ([job.status] if job.status in ENDED else [])
            assert [event.id for event in reported] == list(range(1, len(reported) + 1))
            assert not (job.cancel_accepted and job.status == "succeeded")
            kept = [attempt for of, attempt in results if of == job_id]
            assert kept == ([job.attempt] if job.status == "succeeded" else [])
            assert [attempt for of, attempt in attempts if of == job_id] == list(range(1, job.attempt + 1))

    def unended(self) -> list[str]:
        return [job_id for job_id, job in self.jobs.items() if job.status not in ENDED]

    def attempts(self) -> list[HeldAttempt]:
        return [held for job in self.jobs.values() for held in job.granted]


def run(database: Database, how: settings = SETTINGS) -> None:
    machine = type("JobLives", (JobLives,), {"database": database})
    run_state_machine_as_test(machine, settings=how)


@pytest.mark.timeout(900)  # thousands of statements
def test_jobs_live_as_the_design_says(database):
    run(database)


@pytest.mark.proof
@pytest.mark.timeout(3600)
def test_jobs_live_as_the_design_says_in_long_runs(database):
    run(database, settings(SETTINGS, max_examples=300, stateful_step_count=30, derandomize=False))


# --- the machine detects faults --------------------------------------------------------


def without_the_attempt(held: HeldAttempt):
    return JobRow.id == held.job_id, JobRow.status == JobStatus.RUNNING


def without_the_cancel(event: JobEvent, request) -> JobEvent:
    return event


def test_the_machine_catches_a_forgotten_attempt(monkeypatch, sqlite_url):
    monkeypatch.setattr(lease, "is_held_by", without_the_attempt)
    assert_caught(sqlite_url)


def test_the_machine_catches_an_end_that_ignores_a_cancel(monkeypatch, sqlite_url):
    monkeypatch.setattr(transitions, "get_event_after_request", without_the_cancel)
    assert_caught(sqlite_url)


def test_the_machine_catches_a_claim_that_ignores_the_queue(monkeypatch, sqlite_url):
    monkeypatch.setattr(finding, "IS_READY", (JobRow.status.in_([JobStatus.QUEUED, JobStatus.PAUSED]),))
    monkeypatch.setattr(finding, "build_statements", finding.build_statements.__wrapped__)  # rebuilds its statements
    assert_caught(sqlite_url)


def test_the_machine_catches_failures_that_are_not_counted(monkeypatch, sqlite_url):
    real = transitions.move
    forgetful = lambda *args, **kwargs: real(*args, **{**kwargs, "failures": None})  # noqa: E731
    for module in (settle, lease):
        monkeypatch.setattr(module, "move", forgetful)
    assert_caught(sqlite_url)


def assert_caught(url: str) -> None:
    database = Database(url)
    with pytest.raises((AssertionError, BaseExceptionGroup, pytest.fail.Exception)):
        # More examples than above, because it ends at the first fault, which is not shrunk.
        run(database, settings(SETTINGS, max_examples=300, phases=[Phase.generate]))
    database.dispose()
