"""Which worker gets a job, how long it keeps it, and what an attempt that has lost it can no longer do."""

import multiprocessing
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from datetime import timedelta
from itertools import chain

import pytest
from sqlalchemy import event, insert

from heldout.errors import LeaseLost
from heldout.lifecycle.job import JobRequest, JobStatus, StopReason
from models.database import db_now
from models.ids import make_id
from models.store import claims, events
from models.store.claims import Capacity, Checkpoint, HeldAttempt
from models.tables import WebhookRow
from models.wake import WakeUp
from tests.models.work import ALICE, CPU, ENGINE, Work, claim_until_empty, result, spec


def claimed_ids(work: Work) -> list[str]:
    ids = []
    while (claimed := work.claim()) is not None:
        ids.append(claimed.held.job_id)
    return ids


def test_jobs_of_one_priority_and_moment_are_claimed_in_the_order_of_their_ids(work):
    ids = [work.submit() for _ in range(3)]
    moment = work.row(ids[0]).queued_at
    for job_id in ids:
        work.set(job_id, queued_at=moment)
    assert claimed_ids(work) == sorted(ids)


def test_a_claim_returns_everything_that_a_worker_needs_to_begin(work):
    job_id = work.submit(priority=3, training={"epochs": 4, "seed": 9})
    claimed = work.claim("host:1")
    assert claimed.held == HeldAttempt(job_id, 1)
    assert (claimed.name, claimed.kind, claimed.needs.device, claimed.needs.gpus) == ("a job", "train", "auto", 0)
    assert claimed.spec == spec(priority=3, training={"epochs": 4, "seed": 9})
    assert claimed.dataset.sha256 == work.dataset.sha256
    assert (claimed.runtime_s, claimed.begins.checkpoints) == (0.0, ())


def test_a_claim_starts_the_job_and_records_it(work):
    job_id = work.submit()
    before = work.row(job_id)
    work.claim("host:1", lease_s=60)
    row = work.row(job_id)
    assert (row.status, row.attempt, row.worker, row.request) == (JobStatus.RUNNING, 1, "host:1", None)
    assert row.version == before.version + 1
    assert row.started_at == row.attempt_started_at
    assert row.started_at >= row.queued_at
    assert timedelta(seconds=59) < row.lease_expires_at - row.started_at <= timedelta(seconds=61)
    assert work.event_types(job_id) == ["job.queued", "job.started"]
    assert work.events(job_id)[-1].data == {"attempt": 1, "worker": "host:1"}
    [attempt] = work.stored(job_id)["attempts"]
    assert (attempt["attempt"], attempt["worker"], attempt["start_epoch"]) == (1, "host:1", None)


def test_a_claim_takes_few_statements_and_one_more_if_there_is_a_webhook(work):
    counted: list[str] = []
    event.listen(work.database.engine, "before_cursor_execute", lambda *args: counted.append(args[2]))
    for of_webhooks in ([], ["SELECT"]):
        work.submit()
        counted.clear()
        work.claim()
        verbs = [statement.split()[0] for statement in counted]
        assert verbs == ["BEGIN", "SELECT", "UPDATE", "INSERT", "INSERT", *of_webhooks, "UPDATE"]
        with work.database.write() as session:
            about = {"owner": ALICE, "url": "https://example.org", "events": ["job.failed"], "secret": "sealed"}
            session.execute(insert(WebhookRow).values(id=make_id("wh"), enabled=True, created_at=db_now(), **about))


def test_only_a_worker_with_the_device_can_claim(work):
    for device in ("auto", "cpu", "gpu"):
        job_id = work.submit(resources={"device": device})
        others = tuple({"auto", "cpu", "gpu"} - {device})
        with work.unchanged(job_id):
            assert work.claim(devices=others) is None
        assert work.claim(devices=(device,)).held.job_id == job_id


def test_a_job_that_this_worker_cannot_run_does_not_hide_others(work):
    work.submit(resources={"device": "gpu"}, priority=100)
    job_id = work.submit()
    assert work.claim(devices=CPU).held.job_id == job_id


def test_a_job_for_several_gpus_waits_for_a_worker_with_that_many_free(work):
    several = work.submit(resources={"gpus": 3}, priority=100)
    single = work.submit(resources={"device": "gpu"})
    everything = ("auto", "cpu", "gpu")
    assert work.claim() is None, "a job with `gpus` needs GPUs even if it names no device"
    assert work.claim(devices=everything, gpus=2).held.job_id == single, "it does not hide others"
    with work.database.read() as session:
        assert not claims.is_any_claimable(session, Capacity(everything, 2))
        assert claims.is_any_claimable(session, Capacity(everything, 3))
    assert work.claim(devices=everything, gpus=2) is None
    assert work.claim(devices=everything, gpus=3).held.job_id == several


def test_a_job_continues_on_the_device_where_it_began(work):
    """`auto` is decided once: another device would give other last digits."""
    for device, other in (("cpu", "gpu"), ("gpu", "cpu")):
        job_id = work.submit()
        held = work.claim(devices=("auto", "cpu", "gpu")).held
        begun = spec(resources={"device": device, "towers": 1})
        with work.database.write() as session:
            claims.record_start(session, held, engine={"device": device}, spec=begun, start_epoch=0)
            claims.release(session, held)
        assert work.claim(devices=("auto", other)) is None
        assert work.claim(devices=(device,)).held.job_id == job_id


def test_whether_a_job_can_be_claimed_is_known_without_claiming(work):
    def claimable() -> bool:
        with work.database.read() as session:
            return claims.is_any_claimable(session, Capacity(CPU))

    assert not claimable()
    job_id = work.submit(resources={"device": "gpu"})
    assert not claimable()
    job_id = work.submit()
    with work.unchanged(job_id):
        assert claimable()
    work.set(job_id, available_at=db_now(60))
    assert not claimable()


def test_a_job_in_backoff_waits_for_its_moment(work):
    job_id = work.submit()
    work.set(job_id, available_at=db_now(60))
    assert work.claim() is None
    work.set(job_id, available_at=db_now(-0.001))
    assert work.claim().held.job_id == job_id
    assert work.row(job_id).available_at is None


def test_threads_that_claim_at_once_get_each_job_once(work):
    ids = {work.submit(priority=number % 3) for number in range(24)}
    with ThreadPoolExecutor(6) as pool:
        url = work.database.engine.url.render_as_string(hide_password=False)
        taken = list(pool.map(claim_until_empty, [url] * 6, map(str, range(6))))
    assert sorted(chain(*taken)) == sorted(ids)
    for job_id in ids:
        assert work.row(job_id).attempt == 1
        assert work.event_types(job_id) == ["job.queued", "job.started"]


@pytest.fixture(scope="module")
def processes() -> Iterator[ProcessPoolExecutor]:
    """Three processes, started once for both databases: each takes a second to import the store."""
    with ProcessPoolExecutor(3, mp_context=multiprocessing.get_context("spawn")) as pool:
        yield pool


def test_processes_that_claim_at_once_get_each_job_once(work, processes):
    ids = {work.submit() for _ in range(40)}
    url = work.database.engine.url.render_as_string(hide_password=False)
    taken = list(processes.map(claim_until_empty, [url] * 3, map(str, range(3))))
    assert sorted(chain(*taken)) == sorted(ids)
    assert {work.row(job_id).attempt for job_id in ids} == {1}


# --- leases --------------------------------------------------------------------------------------


def test_renewing_extends_the_lease_and_changes_nothing_that_clients_see(work):
    held = work.running(lease_s=1)
    before = work.row(held.job_id)
    with work.database.write() as session:
        assert claims.renew(session, "worker", [held], 500) == {held}
    row = work.row(held.job_id)
    assert row.lease_expires_at - before.lease_expires_at > timedelta(seconds=490)
    assert (row.version, row.last_event) == (before.version, before.last_event)


def test_an_expired_lease_requeues_the_job_and_counts_a_failure(work):
    held = work.running(lease_s=-1)
    with work.database.write() as session:
        assert claims.recover_expired_leases(session) == [(held.job_id, JobStatus.QUEUED)]
    row = work.row(held.job_id)
    assert (row.status, row.attempt, row.failures) == (JobStatus.QUEUED, 1, 1)
    assert (row.worker, row.lease_expires_at, row.available_at, row.error) == (None, None, None, None)
    event = work.events(held.job_id)[-1]
    assert (event.type, event.level, event.data["reason"]) == ("job.requeued", "warning", "lose")
    assert event.data["error"]["code"] == "worker_lost"


def test_a_job_that_lost_three_workers_has_failed(work):
    held = work.running()
    held = work.claimed_again(held)
    held = work.claimed_again(held)
    work.set(held.job_id, lease_expires_at=db_now(-1))
    with work.database.write() as session:
        assert claims.recover_expired_leases(session) == [(held.job_id, JobStatus.FAILED)]
    row = work.row(held.job_id)
    assert (row.failures, row.attempt, row.error["code"]) == (3, 3, "worker_lost")
    assert row.finished_at is not None
    assert work.claim() is None


def test_many_lost_jobs_are_requeued_in_batches(work):
    ids = set()
    for _ in range(5):
        ids.add(work.submit())
        work.claim(lease_s=-1)
    found: list[str] = []
    for expected in (2, 2, 1, 0):
        with work.database.write() as session:
            taken = claims.recover_expired_leases(session, limit=2)
        assert len(taken) == expected
        found += [job_id for job_id, _ in taken]
    assert set(found) == ids


def test_concurrent_reconcilers_requeue_each_job_once(work):
    ids = []
    for _ in range(6):
        ids.append(work.submit())
        work.claim(lease_s=-1)

    def take_back(_: int) -> list[str]:
        with work.database.write() as session:
            return [job_id for job_id, _ in claims.recover_expired_leases(session)]

    with ThreadPoolExecutor(4) as pool:
        found = list(chain(*pool.map(take_back, range(4))))
    assert sorted(found) == sorted(ids)
    assert {work.row(job_id).failures for job_id in ids} == {1}


def test_jobs_of_a_dead_service_are_requeued_at_once_without_a_failure(work):
    mine = work.submit()
    work.claim("home:17:abc")
    other = work.submit()
    work.claim("homely:17:abc")
    with work.unchanged(other), work.database.write() as session:
        assert claims.recover_from_dead_workers(session, "home:") == [(mine, JobStatus.QUEUED)]
    assert (work.row(mine).failures, work.row(mine).status) == (0, JobStatus.QUEUED)
    assert work.events(mine)[-1].type == "job.requeued"


def test_a_workers_name_is_not_a_pattern(work):
    job_id = work.submit()
    work.claim("home:1")
    with work.unchanged(job_id), work.database.write() as session:
        assert claims.recover_from_dead_workers(session, "h%") == []
        assert claims.recover_from_dead_workers(session, "_ome") == []


def test_a_worker_that_died_of_its_job_counts_a_failure(work):
    held = work.running()
    with work.database.write() as session:
        claims.recover_from_dead_workers(session, "worker", counts_as_failure=True)
    assert work.row(held.job_id).failures == 1


# --- fencing -------------------------------------------------------------------------------------


def begin(session, held):
    claims.record_start(session, held, engine=ENGINE, spec=spec(), start_epoch=0)


def warn(session, held):
    claims.require_held(session, held)
    events.add(session, held.job_id, "job.warning", "Something.")


WRITES: dict[str, Callable[..., object]] = {
    "begin": begin,
    "progress": lambda session, held: claims.record_progress(session, held, epoch=5, eta_s=1.0),
    "metrics": lambda session, held: claims.record_epoch(session, held, 1, {"train_loss": 0.5}),
    "checkpoint": lambda session, held: claims.add_checkpoint(session, held, Checkpoint(1, 0, "a key")),
    "warning": warn,
    "success": lambda session, held: claims.succeed(
        session, held, result=result(held), stop_reason=StopReason.COMPLETED
    ),
    "failure": lambda session, held: claims.fail(session, held, code="diverged", detail="NaN"),
    "release": claims.release,
    "carry out": claims.stop_as_requested,
}


def assert_nothing_can_be_written(work: Work, held: HeldAttempt) -> None:
    for name, write in WRITES.items():
        with work.unchanged(held.job_id):
            try:
                with work.database.write() as session:
                    write(session, held)
            except LeaseLost:
                continue
            pytest.fail(f"{name} was not refused")


def test_a_worker_that_lost_its_lease_to_another_can_write_nothing(work):
    stale = work.running()
    current = work.claimed_again(stale)
    work.begin(current)
    assert_nothing_can_be_written(work, stale)
    assert work.succeed(current) is JobStatus.SUCCEEDED


def test_a_worker_whose_job_has_ended_can_write_nothing(work):
    for end in ("succeeded", "failed", "cancelled"):
        held = work.running()
        if end == "succeeded":
            work.succeed(work.claimed_again(held))
        elif end == "failed":
            work.fail(held, "diverged")
        else:
            work.cancel(held.job_id)
            work.stop_as_requested(held)
        assert work.row(held.job_id).status == end
        assert_nothing_can_be_written(work, held)


def test_an_attempt_that_does_not_exist_yet_can_write_nothing(work):
    held = work.running()
    assert_nothing_can_be_written(work, HeldAttempt(held.job_id, held.attempt + 1))


# --- what an attempt writes ----------------------------------------------------------------------


def test_an_attempt_records_what_it_decided_at_its_start(work):
    held = work.running()
    changed = spec(resources={"device": "cpu", "towers": 2})
    with work.database.write() as session:
        claims.record_start(session, held, engine=ENGINE, spec=changed, start_epoch=3)
    row = work.row(held.job_id)
    assert (row.engine, row.spec, row.epoch) == (ENGINE, changed.model_dump(mode="json"), 3)
    assert work.stored(held.job_id)["attempts"][0]["start_epoch"] == 3


def test_progress_makes_a_new_version(work):
    held = work.running()
    before = work.row(held.job_id).version
    with work.database.write() as session:
        claims.record_progress(session, held, epoch=2, eta_s=12.5)
    row = work.row(held.job_id)
    assert (row.epoch, row.eta_s, row.version) == (2, 12.5, before + 1)


def test_the_last_two_checkpoints_are_kept_and_older_keys_returned(work):
    held = work.running()
    assert work.checkpoint(held, 1) == []
    assert work.checkpoint(held, 1, 40) == []
    first = f"jobs/{held.job_id}/1/1-0"
    assert work.checkpoint(held, 2) == [first]
    work.release(held)
    claimed = work.claim()
    assert [(checkpoint.epoch, checkpoint.step) for checkpoint in claimed.begins.checkpoints] == [(2, 0), (1, 40)]
    assert first not in {checkpoint.key for checkpoint in claimed.begins.checkpoints}


def test_a_checkpoint_that_is_written_twice_is_stored_once(work):
    held = work.running()
    work.checkpoint(held, 1)
    assert work.checkpoint(held, 1) == []
    assert len(work.stored(held.job_id)["checkpoints"]) == 1


def test_a_new_attempts_checkpoints_come_before_those_that_it_could_not_use(work):
    """Attempt 2 found the checkpoints of attempt 1 damaged and began again: its own are the ones to continue from."""
    first = work.running()
    work.begin(first)
    work.checkpoint(first, 4)
    work.checkpoint(first, 5)
    second = work.claimed_again(first)
    work.begin(second, start_epoch=0)
    work.checkpoint(second, 1)
    work.set(second.job_id, lease_expires_at=db_now(-1))
    with work.database.write() as session:
        claims.recover_expired_leases(session)
    assert [(checkpoint.epoch, checkpoint.key.split("/")[2]) for checkpoint in work.claim().begins.checkpoints] == [
        (1, "2")
    ]


def test_checkpoints_up_to_the_start_of_an_attempt_are_kept(work):
    first = work.running()
    work.begin(first)
    work.checkpoint(first, 4)
    work.checkpoint(first, 5)
    second = work.claimed_again(first)
    work.begin(second, start_epoch=4)
    work.release(second)
    assert [checkpoint.epoch for checkpoint in work.claim().begins.checkpoints] == [4]


def test_of_an_ended_jobs_checkpoints_only_the_last_is_kept_and_of_a_running_jobs_all(work):
    held = work.running()
    work.checkpoint(held, 1)
    work.checkpoint(held, 2)
    with work.unchanged(held.job_id), work.database.write() as session:
        assert claims.forget_checkpoints_of_ended(session, held.job_id) == []
    work.succeed(held)
    with work.database.write() as session:
        assert claims.forget_checkpoints_of_ended(session, held.job_id) == [f"jobs/{held.job_id}/1/1-0"]
    assert [row["epoch"] for row in work.stored(held.job_id)["checkpoints"]] == [2]


def test_requests_are_reported_for_held_jobs_only(work):
    asked, quiet = work.running(), work.running()
    work.cancel(asked.job_id)
    stale = work.running()
    work.claimed_again(stale)
    work.pause(stale.job_id)
    ended = work.running()
    work.succeed(ended)
    with work.database.read() as session:
        found = claims.get_requests(session, [asked, quiet, stale, ended])
        assert claims.get_requests(session, []) == {}
    assert found == {asked: JobRequest.CANCEL, quiet: None}


# --- waiting too long, and events about it -------------------------------------------------------


def test_a_job_that_waited_too_long_for_its_first_worker_has_failed(work):
    late, patient = work.submit(limits={"max_pending_s": 5}), work.submit()
    due = work.submit(limits={"max_pending_s": 500})
    work.set(late, pending_until=db_now(-0.001))
    with work.unchanged(patient), work.unchanged(due), work.database.write() as session:
        assert claims.expire_pending(session) == [late]
    row = work.row(late)
    assert (row.status, row.error["code"], row.stop_reason) == (JobStatus.FAILED, "pending_too_long", None)
    assert row.finished_at is not None
    assert work.event_types(late) == ["job.queued", "job.failed"]


def test_only_the_first_wait_is_limited(work):
    held = work.running(limits={"max_pending_s": 5})
    work.release(held)
    assert work.row(held.job_id).pending_until is None


def test_a_paused_job_does_not_expire_and_its_wait_restarts_when_resumed(work):
    job_id = work.submit(limits={"max_pending_s": 300})
    work.pause(job_id)
    work.set(job_id, pending_until=db_now(-1))
    with work.database.write() as session:
        assert claims.expire_pending(session) == []
    work.resume(job_id)
    with work.database.write() as session:
        assert claims.expire_pending(session) == []
    row = work.row(job_id)
    assert row.status is JobStatus.QUEUED
    assert timedelta(seconds=290) < row.pending_until - row.queued_at <= timedelta(seconds=301)


def test_wake_ups_that_may_be_lost_are_repeated(work):
    def unannounced(older_than_s: float) -> list[WakeUp]:
        with work.database.write() as session:
            return claims.take_wake_ups_to_repeat(session, older_than_s)

    queued = work.submit()
    gpu = work.submit(resources={"device": "gpu"})
    waiting = work.submit()
    work.set(waiting, available_at=db_now(60))
    running = work.submit(priority=100)
    assert work.claim().held.job_id == running
    assert unannounced(30) == []  # the submitter announces first
    for job_id in (queued, gpu, waiting, running):
        work.set(job_id, announced_at=db_now(-31))
    assert unannounced(30) == [WakeUp(queued, "train"), WakeUp(gpu, "train.gpu")]
    assert unannounced(30) == []


def test_a_released_job_is_announced_at_once(work):
    held = work.running()
    work.set(held.job_id, announced_at=db_now())
    work.release(held)
    with work.database.write() as session:
        assert claims.take_wake_ups_to_repeat(session, 3600) == [WakeUp(held.job_id, "train")]
