"""Jobs that find a dataset's wrong labels: who gets them, when they are repeated, and what their end changes."""

import pytest

from heldout.lifecycle.job import JobRequest
from heldout.work.kinds import KINDS, FeaturesSpec, JobKind, SuspectSpec
from models.database import db_now
from models.store import claims, discards, jobs, models, searches
from models.store.claims import Capacity, HeldAttempt
from models.store.relations import NO_OWNER
from models.tables import DatasetRow, ModelRow
from tests.models.work import ALICE, BOB, Work


def queue(work: Work, owner: str = ALICE, *, again: bool = False) -> str | None:
    with work.database.write() as session:
        job = searches.queue(session, searches.SUSPECTS, owner, work.dataset.id, again=again)
    return None if job is None else job.id


def mark_stored(work: Work, held: HeldAttempt) -> str:
    with work.database.write() as session:
        return searches.mark_stored(session, searches.SUSPECTS, held, work.dataset.id)


def searching(work: Work) -> HeldAttempt:
    """Claim the dataset's job, and return the attempt."""
    job_id = queue(work)
    held = work.claim().held
    assert held.job_id == job_id
    return held


def status(work: Work) -> str | None:
    with work.database.read() as session:
        return session.get_one(DatasetRow, work.dataset.id).suspects_status


def test_a_dataset_is_searched_once_for_the_first_who_asks(work):
    job_id = queue(work, BOB)
    assert queue(work) is None
    assert queue(work, again=True) is None
    job = work.row(job_id)
    assert (job.kind, job.owner, job.name, job.device) == ("suspect", BOB, "dots@1", "cpu")
    assert status(work) == "queued"
    assert work.claim().spec == SuspectSpec()


def test_a_new_version_is_searched_automatically_and_not_again_on_request(work):
    def queue_automatically() -> str | None:
        with work.database.write() as session:
            job = searches.queue_internally(session, searches.SUSPECTS, work.dataset.id)
        return None if job is None else job.id

    with work.database.write() as session:
        session.get_one(DatasetRow, work.dataset.id).same_as = work.dataset.id
    assert queue_automatically() is None  # the version that has the same content was searched
    with work.database.write() as session:
        session.get_one(DatasetRow, work.dataset.id).same_as = None
    job = work.row(queue_automatically())
    assert (job.owner, job.priority) == (NO_OWNER, KINDS[JobKind.SUSPECT].priority)
    assert queue_automatically() is None
    assert queue(work) is None


def test_every_waiting_training_comes_before_a_search(work):
    job_id = queue(work)
    training = work.submit(priority=-100)
    with work.database.read() as session:
        assert jobs.count_ahead_of(session, work.row(training)) == 0
    assert [work.claim().held.job_id for _ in range(2)] == [training, job_id]


def test_a_search_waits_until_the_features_of_its_dataset_are_computed(work):
    job_id = queue(work)
    with work.database.write() as session:
        searches.queue(session, searches.FEATURES, BOB, work.dataset.id)
    features = work.claim()
    assert features.spec == FeaturesSpec()
    assert not work.claim()  # another worker has room, but these features are still computed
    training = work.submit()
    assert work.claim().held.job_id == training
    with work.database.write() as session:
        searches.mark_stored(session, searches.FEATURES, features.held, work.dataset.id)
    assert work.claim().held.job_id == job_id


@pytest.mark.parametrize("end", ["ready", "rejected"])
def test_features_wait_while_the_pretrained_network_is_converted_and_never_longer(work, end):
    with work.database.write() as session:
        features = searches.queue(session, searches.FEATURES, BOB, work.dataset.id).id
        about = models.SharedModel("net", "Apache-2.0", "somewhere")
        file = {"key": "models/mod_1/shared", "sha256": "1", "size_bytes": 1}
        models.add(session, None, "mod_1", "net", **file, shared=about, converts=True)
        fetched = {"key": "models/mod_2/shared", "sha256": "", "size_bytes": 0}
        models.add(session, None, "mod_2", "mobilenet_v2", **fetched, shared=about, fetches="mobilenet_v2")
    search = queue(work)
    assert [work.claim().kind for _ in range(2)] == [JobKind.CHECK_MODEL] * 2
    assert not work.claim()
    with work.database.write() as session:
        session.get_one(ModelRow, "mod_1").status = end
    held = work.claim().held
    assert held.job_id == features
    work.fail(held, "model_unavailable")
    assert work.claim().held.job_id == search, "without features it runs, too"


def test_a_dataset_that_is_not_ready_is_not_searched(work):
    for column, value in (("status", "checking"), ("status", "rejected"), ("deleted_at", db_now())):
        with work.database.write() as session:
            row = session.get_one(DatasetRow, work.dataset.id)
            row.status = "ready"
            setattr(row, column, value)
        assert queue(work) is None, value
        assert status(work) is None


def test_a_successful_search_marks_its_dataset_even_if_its_commit_was_not_acknowledged(work):
    held = searching(work)
    assert mark_stored(work, held) == "succeeded"
    with work.unchanged(held.job_id):
        assert mark_stored(work, held) == "succeeded"
    assert status(work) == "stored"
    assert queue(work, again=True) is None
    assert {event.owner for event in work.events(held.job_id)} == {None}


def test_a_failed_search_is_repeated_only_on_request(work):
    held = searching(work)
    work.fail(held, "out_of_memory")
    assert status(work) == "failed"
    assert queue(work) is None
    assert queue(work, again=True) is not None
    assert status(work) == "queued"
    with work.database.read() as session:
        assert searches.find_newest_job(session, searches.SUSPECTS, work.dataset.id).id != held.job_id


def test_deleting_a_dataset_ends_its_search(work):
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
