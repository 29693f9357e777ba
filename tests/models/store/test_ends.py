"""How a job ends: once, for a reason, and never against an accepted cancel."""

from datetime import timedelta

import pytest

from heldout.errors import JobNotQueued, LeaseLost
from heldout.lifecycle.job import DETERMINISTIC_FAILURES, JobStatus, StopReason
from models.database import db_now
from models.store import artifacts, claims, jobs, metrics
from models.store.claims import Result
from tests.models.work import ALICE, ENGINE, artifacts_of, result, spec

# --- success -------------------------------------------------------------------------------------


def test_a_success_is_final_for_every_reason(work):
    for reason in set(StopReason) - {StopReason.CANCELLED}:
        held = work.running()
        assert work.succeed(held, reason) is JobStatus.SUCCEEDED
        assert work.row(held.job_id).stop_reason == reason
        assert work.events(held.job_id)[-1].data == {"stop_reason": reason.value}


def test_a_success_leaves_its_result(work):
    held, reason = work.running(), StopReason.COMPLETED
    assert work.succeed(held, reason) is JobStatus.SUCCEEDED
    row = work.row(held.job_id)
    assert (row.status, row.stop_reason, row.error, row.failures) == (JobStatus.SUCCEEDED, reason, None, 0)
    assert (row.worker, row.lease_expires_at, row.eta_s, row.request) == (None, None, None, None)
    assert row.finished_at >= row.started_at
    event = work.events(held.job_id)[-1]
    assert (event.type, event.data) == ("job.succeeded", {"stop_reason": reason.value})
    with work.database.read() as session:
        final = metrics.get_final(session, held.job_id)
        found = tuple(
            artifacts.find(session, held.job_id, artifact.name, artifact.format) for artifact in artifacts_of(held)
        )
    assert Result(final, found) == result(held)
    [kept] = work.stored(held.job_id)["results"]
    assert (kept["attempt"], kept["final"]) == (held.attempt, result(held).final.model_dump(mode="json"))
    assert {row["attempt"] for row in work.stored(held.job_id)["artifacts"]} == {held.attempt}


def test_a_success_that_was_not_acknowledged_may_be_repeated(work):
    """The commit succeeded but its confirmation was lost. An error now would cost the model."""
    held = work.running()
    work.succeed(held)
    with work.unchanged(held.job_id):
        assert work.succeed(held) is JobStatus.SUCCEEDED


def test_an_attempt_cannot_repeat_the_success_of_another(work):
    stale = work.running()
    current = work.claimed_again(stale)
    work.succeed(current)
    with work.unchanged(current.job_id), pytest.raises(LeaseLost):
        work.succeed(stale)


def test_running_time_adds_up_over_attempts(work):
    held = work.running()
    work.set(held.job_id, attempt_started_at=db_now(-30))
    work.release(held)
    assert 30 <= work.row(held.job_id).runtime_s < 40
    again = work.claim()
    assert 30 <= again.runtime_s < 40
    work.set(held.job_id, attempt_started_at=db_now(-50))
    work.succeed(again.held)
    assert 80 <= work.row(held.job_id).runtime_s < 100


def test_waiting_and_pauses_are_not_running_time(work):
    held = work.running()
    work.release(held)
    ran = work.row(held.job_id).runtime_s
    work.set(held.job_id, attempt_started_at=db_now(-1000))
    work.pause(held.job_id)
    work.resume(held.job_id)
    work.cancel(held.job_id)
    assert work.row(held.job_id).runtime_s == ran


# --- failure -------------------------------------------------------------------------------------


def test_the_third_failure_is_final_and_the_wait_after_each_before_is_longer(work):
    held = work.running()
    for failures, backoff_s in ((1, 2), (2, 8)):
        assert work.fail(held) is JobStatus.QUEUED
        row = work.row(held.job_id)
        assert (row.status, row.failures, row.error, row.finished_at) == (JobStatus.QUEUED, failures, None, None)
        event = work.events(held.job_id)[-1]
        assert (event.type, event.level) == ("job.requeued", "warning")
        assert event.data["backoff_s"] == backoff_s
        assert event.data["error"] == {"code": "process_died", "detail": "It broke."}
        assert (
            timedelta(0)
            <= row.available_at - event.created_at + timedelta(seconds=1) - timedelta(seconds=backoff_s)
            < timedelta(seconds=2)
        )
        work.set(held.job_id, available_at=db_now(60))  # a busy machine may take longer than the backoff
        with work.database.read() as session:
            assert jobs.waits_for_backoff(session, work.row(held.job_id))
        assert work.claim() is None
        work.set(held.job_id, available_at=db_now(-1))
        held = work.claim().held
    assert work.fail(held) is JobStatus.FAILED
    row = work.row(held.job_id)
    assert (row.failures, row.attempt) == (3, 3)
    assert row.error == {"code": "process_died", "detail": "It broke."}
    assert row.finished_at is not None
    assert work.event_types(held.job_id).count("job.failed") == 1
    assert work.claim() is None


def test_a_failure_that_another_attempt_would_repeat_is_final_at_once(work):
    for code in DETERMINISTIC_FAILURES:
        held = work.running()
        assert work.fail(held, code) is JobStatus.FAILED
        row = work.row(held.job_id)
        assert (row.error["code"], row.failures, row.attempt) == (code, 1, 1)
        event = work.events(held.job_id)[-1]
        assert (event.type, event.level, event.data["error"]["code"]) == ("job.failed", "error", code)


# --- cancel --------------------------------------------------------------------------------------


def test_a_queued_job_is_cancelled_at_once(work):
    job_id = work.submit()
    row = work.cancel(job_id)
    assert (row.status, row.stop_reason, row.error) == (JobStatus.CANCELLED, "cancelled", None)
    assert row.finished_at is not None
    assert row.started_at is None
    assert work.event_types(job_id) == ["job.queued", "job.cancelled"]
    assert work.claim() is None


def test_a_running_jobs_worker_is_asked_once(work):
    held = work.running()
    before = work.row(held.job_id)
    row = work.cancel(held.job_id)
    assert (row.status, row.request, row.version) == (JobStatus.RUNNING, "cancel", before.version + 1)
    with work.unchanged(held.job_id):
        assert work.cancel(held.job_id).version == row.version
    assert work.event_types(held.job_id)[-1] == "job.cancelling"
    assert work.stop_as_requested(held) is JobStatus.CANCELLED
    ended = work.row(held.job_id)
    assert (ended.status, ended.request, ended.stop_reason) == (JobStatus.CANCELLED, None, "cancelled")


# --- pause ---------------------------------------------------------------------------------------


def test_a_queued_job_is_paused_at_once_and_not_claimed(work):
    job_id = work.submit()
    assert work.pause(job_id).status is JobStatus.PAUSED
    assert work.event_types(job_id) == ["job.queued", "job.paused"]
    assert work.claim() is None
    with work.unchanged(job_id):
        assert work.pause(job_id).status is JobStatus.PAUSED


def test_a_resumed_job_waits_behind_waiting_jobs(work):
    job_id = work.submit()
    work.set(job_id, queued_at=db_now(-60))
    work.pause(job_id)
    other = work.submit()
    work.set(other, queued_at=db_now(-30))
    row = work.resume(job_id)
    assert (row.status, row.finished_at) == (JobStatus.QUEUED, None)
    assert work.event_types(job_id) == ["job.queued", "job.paused", "job.resumed"]
    assert [work.claim().held.job_id for _ in range(2)] == [other, job_id]


def test_a_running_job_is_paused_by_its_worker_and_continues_as_a_new_attempt(work):
    held = work.running()
    row = work.pause(held.job_id)
    assert (row.status, row.request) == (JobStatus.RUNNING, "pause")
    with work.unchanged(held.job_id):
        work.pause(held.job_id)
    work.checkpoint(held, 2)
    assert work.stop_as_requested(held) is JobStatus.PAUSED
    row = work.row(held.job_id)
    assert (row.request, row.failures, row.finished_at, row.stop_reason) == (None, 0, None, None)
    assert work.event_types(held.job_id)[-2:] == ["job.pausing", "job.paused"]
    work.resume(held.job_id)
    again = work.claim()
    assert again.held.attempt == 2
    assert [checkpoint.epoch for checkpoint in again.begins.checkpoints] == [2]


def test_a_cancel_replaces_a_pause_but_a_pause_does_not_replace_a_cancel(work):
    held = work.running()
    work.pause(held.job_id)
    assert work.cancel(held.job_id).request == "cancel"
    with work.unchanged(held.job_id):
        assert work.pause(held.job_id).request == "cancel"
    assert work.stop_as_requested(held) is JobStatus.CANCELLED


# --- change and delete ---------------------------------------------------------------------------


def test_a_queued_job_is_changed_in_its_row_and_in_its_spec(work):
    first, second = work.submit(), work.submit(metadata={"team": "a"})
    changes = {"priority": 9, "metadata": {"team": "b"}, "name": "renamed"}
    with work.unchanged(first), work.database.write() as session:
        row = jobs.change(session, ALICE, second, changes)
    assert (row.priority, row.user_metadata, row.name, row.version) == (9, {"team": "b"}, "renamed", 2)
    assert {key: row.spec[key] for key in changes} == changes
    claimed = work.claim()
    assert (claimed.held.job_id, claimed.spec.priority) == (second, 9)
    with work.unchanged(second), pytest.raises(JobNotQueued), work.database.write() as session:
        jobs.change(session, ALICE, second, {"priority": 1})


def test_the_start_of_an_attempt_keeps_a_changed_name_and_metadata(work):
    held = work.running(metadata={"team": "a"})
    with work.database.write() as session:
        jobs.change(session, ALICE, held.job_id, {"name": "renamed", "metadata": {"run": "1"}})
    work.begin(held)
    row = work.row(held.job_id)
    assert (row.name, row.spec["name"]) == ("renamed", "renamed")
    assert row.user_metadata == row.spec["metadata"] == {"team": "a", "run": "1"}


def test_deleting_an_ended_job_removes_its_rows_and_no_others(work):
    held, other = work.running(), work.running()
    for ended in (held, other):
        work.begin(ended)
        work.epoch(ended, 1, train_loss=0.5)
        work.checkpoint(ended, 1)
        work.succeed(ended)
    assert all(work.stored(held.job_id).values())
    with work.unchanged(other.job_id), work.database.write() as session:
        jobs.remove(session, ALICE, held.job_id)
    assert not any(work.stored(held.job_id).values())


def test_the_model_of_a_pause_is_kept_until_a_later_attempt_trains(work):
    """Attempts that are stopped while they start leave no model of their own."""
    held = paused_with_its_model(work)
    for number in (2, 3):
        work.resume(held.job_id)
        again = work.claim().held
        assert again.attempt == number
        work.pause(held.job_id)
        work.stop_as_requested(again)
    work.cancel(held.job_id)
    assert find_model(work, held.job_id) == artifacts_of(held)[0]


@pytest.mark.parametrize("is_lost", [False, True])
def test_a_later_attempt_that_trains_removes_the_model_of_a_pause(work, is_lost):
    held = paused_with_its_model(work)
    work.resume(held.job_id)
    again = work.claim().held
    with work.database.write() as session:
        unneeded = claims.record_start(session, again, engine=ENGINE, spec=spec(), start_epoch=0)
    assert unneeded == [artifacts_of(held)[0].key]
    if is_lost:
        work.release(again)
        work.cancel(held.job_id)
    else:
        work.succeed(again)
    assert find_model(work, held.job_id) == (None if is_lost else artifacts_of(again)[0])
    assert {row["attempt"] for row in work.stored(held.job_id)["artifacts"]} == (set() if is_lost else {2})


def test_the_model_of_a_pause_is_not_offered_if_a_worker_of_an_earlier_release_left_it_there(work):
    held = paused_with_its_model(work)
    work.resume(held.job_id)
    again = work.claim().held
    work.begin(again)
    with work.database.write() as session:
        artifacts.add(session, held.job_id, held.attempt, artifacts_of(held)[:1])
    work.release(again)
    work.cancel(held.job_id)
    assert find_model(work, held.job_id) is None


def test_a_job_that_fails_after_a_pause_has_no_model(work):
    held = paused_with_its_model(work)
    work.resume(held.job_id)
    work.fail(work.claim().held, "diverged")
    with work.database.write() as session:
        assert claims.forget_checkpoints_of_ended(session, held.job_id) == [artifacts_of(held)[0].key]
    assert not work.stored(held.job_id)["artifacts"]


def paused_with_its_model(work):
    """Pause a training, whose process leaves the model in case it is cancelled. Return its first attempt."""
    held = work.running()
    work.begin(held)
    work.pause(held.job_id)
    with work.database.write() as session:
        claims.stop_as_requested(session, held, artifacts_of(held)[:1])
        assert claims.forget_checkpoints_of_ended(session, held.job_id) == []
    return held


def find_model(work, job_id):
    with work.database.read() as session:
        return artifacts.find_model(session, work.row(job_id))
