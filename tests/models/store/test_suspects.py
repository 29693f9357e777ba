"""Who gets a job that finds a dataset's wrong labels, when it is repeated, and what its end changes in the dataset."""

import pytest

from heldout.errors import LeaseLost
from heldout.lifecycle.job import JobRequest
from heldout.work.kinds import KINDS, JobKind, SuspectSpec
from models.database import db_now
from models.store import claims, discards, jobs, suspects
from models.store.claims import Capacity, HeldAttempt
from models.store.relations import NO_OWNER
from models.tables import DatasetRow
from tests.models.work import ALICE, BOB, Work


def queue(work: Work, owner: str = ALICE, *, again: bool = False) -> str | None:
    with work.database.write() as session:
        job = suspects.queue(session, owner, work.dataset.id, again=again)
    return None if job is None else job.id


def mark_stored(work: Work, held: HeldAttempt) -> str:
    with work.database.write() as session:
        return suspects.mark_stored(session, held, work.dataset.id)


def searching(work: Work) -> HeldAttempt:
    """An attempt of a worker at the dataset's job."""
    job_id = queue(work)
    held = work.claim().held
    assert held.job_id == job_id
    return held


def status(work: Work) -> str | None:
    with work.database.read() as session:
        return session.get_one(DatasetRow, work.dataset.id).suspects_status


def test_a_dataset_is_searched_once_for_whoever_asks_first(work):
    job_id = queue(work, BOB)
    assert queue(work) is None
    assert queue(work, again=True) is None
    job = work.row(job_id)
    assert (job.kind, job.owner, job.name, job.device) == ("suspect", BOB, "dots@1", "cpu")
    assert status(work) == "queued"
    assert work.claim().spec == SuspectSpec()


def test_a_new_version_is_searched_unasked_once_and_whoever_asks_later_gets_no_second_search(work):
    def unasked() -> str | None:
        with work.database.write() as session:
            job = suspects.queue_internally(session, work.dataset.id)
        return None if job is None else job.id

    with work.database.write() as session:
        session.get_one(DatasetRow, work.dataset.id).same_as = work.dataset.id
    assert unasked() is None  # the version that has the same content was searched
    with work.database.write() as session:
        session.get_one(DatasetRow, work.dataset.id).same_as = None
    job = work.row(unasked())
    assert (job.owner, job.priority) == (NO_OWNER, KINDS[JobKind.SUSPECT].priority)
    assert unasked() is None
    assert queue(work) is None


def test_every_training_that_waits_comes_first_and_none_counts_it_before_itself(work):
    job_id = queue(work)
    training = work.submit(priority=-100)
    with work.database.read() as session:
        assert jobs.count_ahead_of(session, work.row(training)) == 0
    assert [work.claim().held.job_id for _ in range(2)] == [training, job_id]


@pytest.mark.parametrize(
    "columns",
    [{"status": "checking"}, {"status": "rejected"}, {"deleted_at": db_now()}],
    ids=["checking", "rejected", "deleted"],
)
def test_a_dataset_that_is_not_ready_is_not_searched(work, columns):
    with work.database.write() as session:
        row = session.get_one(DatasetRow, work.dataset.id)
        for column, value in columns.items():
            setattr(row, column, value)
    assert queue(work) is None
    assert status(work) is None


def test_a_search_that_succeeds_marks_its_dataset_also_where_its_commit_was_not_acknowledged(work):
    held = searching(work)
    assert mark_stored(work, held) == "succeeded"
    with work.unchanged(held.job_id):
        assert mark_stored(work, held) == "succeeded"
    assert status(work) == "stored"
    assert queue(work, again=True) is None
    assert {event.owner for event in work.events(held.job_id)} == {None}


def test_a_search_that_failed_is_tried_again_only_where_that_is_asked_for(work):
    held = searching(work)
    work.fail(held, "out_of_memory")
    assert status(work) == "failed"
    assert queue(work) is None
    assert queue(work, again=True) is not None
    assert status(work) == "queued"
    with work.database.read() as session:
        assert suspects.find_newest_job(session, work.dataset.id).id != held.job_id


def test_a_search_whose_worker_is_lost_is_done_by_another_one(work):
    lost = searching(work)
    held = work.claimed_again(lost)
    assert status(work) == "queued"
    with pytest.raises(LeaseLost):
        mark_stored(work, lost)
    assert mark_stored(work, held) == "succeeded"


def test_a_dataset_that_is_deleted_ends_its_search(work):
    with work.database.write() as session:
        session.get_one(DatasetRow, work.dataset.id).owner = ALICE
    held = searching(work)
    with work.database.write() as session:
        discards.remove(session, ALICE, work.dataset.id)
    assert work.row(held.job_id).request is JobRequest.CANCEL
    assert mark_stored(work, held) == "cancelled"
    assert status(work) == "failed"
    with work.database.read() as session:
        assert not discards.is_still_needed(session, work.dataset.id)
        assert not claims.is_any_claimable(session, Capacity(("cpu",)))
