"""Jobs that find a dataset's copies: who gets them, how often, and what their end changes in the dataset."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import select

from analysis.arrays.dataset import ImageSet, compute_content_address, compute_split_digests
from heldout.errors import DatasetInUse, LeaseLost
from heldout.lifecycle.job import JobRequest
from heldout.work.kinds import JobKind, RelateSpec
from models.database import db_now
from models.ids import make_id
from models.store import claims, datasets, discards, jobs, relations
from models.store.claims import HeldAttempt
from models.tables import DatasetRow, JobRow, LabelReadRow
from tests.models.work import ALICE, Work, dots

DIGESTS = compute_split_digests(dots())


def stored_before(work: Work, owner: str | None = None, name: str | None = None, **columns: object) -> str:
    """Add a ready dataset of an earlier release, whose copies are unknown and whose splits have no digests."""
    id_ = make_id("ds")
    other = ImageSet(dots().images, dots().labels, dots().splits, ("even", id_), (0, 255))
    with work.database.write() as session:
        datasets.add_bundled(session, id_, name or id_, other, compute_content_address(other), 1)
        row = session.get_one(DatasetRow, id_)
        row.owner = owner
        row.splits = {split: {"count": 2, "per_class": [1, 1]} for split in DIGESTS}
        for column, value in columns.items():
            setattr(row, column, value)
    return id_


def dataset(work: Work, dataset_id: str) -> DatasetRow:
    with work.database.read() as session:
        return session.get_one(DatasetRow, dataset_id)


def jobs_of(work: Work, dataset_id: str) -> list[JobRow]:
    with work.database.read() as session:
        return list(session.scalars(select(JobRow).where(JobRow.dataset_id == dataset_id).order_by(JobRow.id)))


def queue(work: Work, dataset_id: str) -> str | None:
    with work.database.write() as session:
        return relations.queue(session, dataset_id)


def queue_missing(work: Work) -> str | None:
    with work.database.write() as session:
        return relations.queue_missing(session)


def mark_stored(work: Work, held: HeldAttempt, dataset_id: str) -> str:
    with work.database.write() as session:
        return relations.mark_stored(session, held, dataset_id, DIGESTS)


def searching(work: Work, dataset_id: str) -> HeldAttempt:
    """Claim the dataset's job, and return the attempt."""
    job_id = queue(work, dataset_id)
    held = work.claim_beside_slots().held
    assert held.job_id == job_id
    return held


# --- queued --------------------------------------------------------------------------------------


def test_a_dataset_gets_its_job_once(work):
    dataset_id = stored_before(work, name="pets")
    job_id = queue(work, dataset_id)
    assert queue(work, dataset_id) is None
    [job] = jobs_of(work, dataset_id)
    assert (job.id, job.kind, job.status, job.name, job.device) == (job_id, "relate", "queued", "pets@1", "cpu")
    assert dataset(work, dataset_id).relations_status == "queued"


def test_concurrent_processes_queue_one_job(work):
    dataset_id = stored_before(work)
    with ThreadPoolExecutor(6) as pool:
        queued = list(pool.map(lambda act: act(), 3 * [lambda: queue(work, dataset_id), lambda: queue_missing(work)]))
    assert len([job_id for job_id in queued if job_id is not None]) == 1
    assert len(jobs_of(work, dataset_id)) == 1


def test_the_job_knows_the_group_rule_of_the_upload(work):
    ruled = stored_before(work, ALICE, spec={"name": "pets", "group_by": "(p1)"})
    assert work.claim_beside_slots() is None
    queue(work, ruled)
    assert work.claim_beside_slots().spec == RelateSpec(group_by="(p1)")


def test_the_job_has_no_owner_and_appears_in_no_stream(work):
    dataset_id = stored_before(work, ALICE)
    held = searching(work, dataset_id)
    mark_stored(work, held, dataset_id)
    assert work.row(held.job_id).owner == ""
    assert {event.owner for event in work.events(held.job_id)} == {None}
    assert work.event_types(held.job_id) == ["job.queued", "job.started", "job.succeeded"]


def test_the_job_takes_no_slot_and_is_not_ahead_of_any_training(work):
    job_id = queue(work, stored_before(work))
    assert work.claim() is None
    training = work.submit(priority=-100)
    with work.database.read() as session:
        assert jobs.count_ahead_of(session, work.row(training)) == 0
    assert work.claim().held.job_id == training
    assert work.claim_beside_slots().held.job_id == job_id
    assert work.claim_beside_slots() is None


def test_workers_are_not_woken_for_the_job(work):
    work.set(queue(work, stored_before(work)), announced_at=None)
    training = work.submit()
    work.set(training, announced_at=None)
    with work.database.write() as session:
        assert [wake_up.job_id for wake_up in claims.take_wake_ups_to_repeat(session, older_than_s=0)] == [training]


def test_no_job_is_queued_for_a_dataset_that_needs_none(work):
    needs_none: list[dict] = [{"status": status} for status in ("checking", "rejected")]
    needs_none += [{"relations_status": status} for status in ("stored", "failed")]
    needs_none += [{"deleted_at": work.dataset.created_at}, {"same_as": "ds_1"}]
    for columns in needs_none:
        dataset_id = stored_before(work, **columns)
        assert queue_missing(work) is None, columns
        if "same_as" not in columns:
            assert queue(work, dataset_id) is None, columns
            assert jobs_of(work, dataset_id) == []


def test_missing_jobs_are_queued_one_at_a_time_for_bundled_datasets_and_then_the_newest(work):
    older, newer = stored_before(work, ALICE), stored_before(work, ALICE)
    bundled = stored_before(work)
    found = []
    while (job_id := queue_missing(work)) is not None:
        assert queue_missing(work) is None  # it waits
        held = work.claim_beside_slots().held
        assert held.job_id == job_id
        assert queue_missing(work) is None  # it runs
        found.append(work.row(job_id).dataset_id)
        mark_stored(work, held, found[-1])
    assert found == [bundled, newer, older]


# --- ended ---------------------------------------------------------------------------------------


def test_a_job_that_succeeds_marks_its_dataset_and_adds_what_its_splits_lack(work):
    dataset_id, other = stored_before(work), stored_before(work)
    held = searching(work, dataset_id)
    assert mark_stored(work, held, dataset_id) == "succeeded"
    row = dataset(work, dataset_id)
    assert (row.status, row.relations_status) == ("ready", "stored")
    assert row.splits == {split: {"count": 2, "per_class": [1, 1], "sha256": DIGESTS[split]} for split in DIGESTS}
    assert (work.row(held.job_id).status, work.row(held.job_id).stop_reason) == ("succeeded", "completed")
    assert dataset(work, other).relations_status is None
    assert "sha256" not in dataset(work, other).splits["test"]


def test_reads_of_labels_get_the_digests_that_were_found(work):
    dataset_id = stored_before(work)
    training = work.running(dataset=dataset(work, dataset_id))
    work.epoch(training, 1, validation_loss=0.5, validation_accuracy=0.5)
    mark_stored(work, searching(work, dataset_id), dataset_id)
    with work.database.read() as session:
        assert list(session.scalars(select(LabelReadRow.digest))) == [DIGESTS["validation"]]


def test_a_commit_that_was_not_acknowledged_may_be_repeated(work):
    dataset_id = stored_before(work)
    held = searching(work, dataset_id)
    mark_stored(work, held, dataset_id)
    with work.unchanged(held.job_id):
        assert mark_stored(work, held, dataset_id) == "succeeded"


def test_a_job_whose_worker_is_lost_is_done_by_another(work):
    dataset_id = stored_before(work)
    lost = searching(work, dataset_id)
    work.set(lost.job_id, lease_expires_at=db_now(-1))
    with work.database.write() as session:
        assert claims.recover_expired_leases(session) == [(lost.job_id, "queued")]
    held = work.claim_beside_slots("another worker").held
    assert dataset(work, dataset_id).relations_status == "queued"
    with pytest.raises(LeaseLost):
        mark_stored(work, lost, dataset_id)
    assert mark_stored(work, held, dataset_id) == "succeeded"
    assert dataset(work, dataset_id).relations_status == "stored"


def test_a_job_that_fails_three_times_leaves_the_dataset_ready_and_is_not_queued_again(work):
    dataset_id = stored_before(work)
    job_id = queue(work, dataset_id)
    for failures in range(1, 4):
        work.set(job_id, available_at=None)
        work.fail(work.claim_beside_slots().held, "internal")
        assert work.row(job_id).failures == failures
        assert dataset(work, dataset_id).relations_status == ("failed" if failures == 3 else "queued")
        assert queue_missing(work) is None
    assert work.row(job_id).status == "failed"
    assert dataset(work, dataset_id).status == "ready"
    assert queue(work, dataset_id) is None


# --- deleted -------------------------------------------------------------------------------------


def delete(work: Work, dataset_id: str) -> None:
    with work.database.write() as session:
        discards.remove(session, ALICE, dataset_id)


def test_a_dataset_can_be_deleted_while_its_job_waits(work):
    dataset_id = stored_before(work, ALICE)
    job_id = queue(work, dataset_id)
    delete(work, dataset_id)
    assert work.row(job_id).status == "cancelled"
    assert work.claim_beside_slots() is None


def test_files_of_a_dataset_that_is_deleted_while_its_job_runs_stay_until_the_job_has_ended(work):
    dataset_id = stored_before(work, ALICE)
    held = searching(work, dataset_id)
    delete(work, dataset_id)
    assert work.row(held.job_id).request is JobRequest.CANCEL
    with work.database.read() as session:
        assert discards.is_still_needed(session, dataset_id)
    assert mark_stored(work, held, dataset_id) == "cancelled"
    assert dataset(work, dataset_id).relations_status == "failed"
    with work.database.read() as session:
        assert not discards.is_still_needed(session, dataset_id)


@pytest.fixture
def other():
    with ThreadPoolExecutor(1) as pool:
        yield pool


@pytest.mark.parametrize("first", ["deletion", "end"])
def test_a_deletion_and_the_end_of_a_job_do_not_deadlock(work, other, first):
    dataset_id = stored_before(work, ALICE)
    held = searching(work, dataset_id)
    acts: list[Callable] = [
        lambda session: discards.remove(session, ALICE, dataset_id),
        lambda session: relations.mark_stored(session, held, dataset_id, DIGESTS),
    ]
    before, after = acts if first == "deletion" else reversed(acts)

    def later() -> None:
        with work.database.write() as session:
            after(session)

    with work.database.write() as session:
        before(session)
        waiting = other.submit(later)
    waiting.result(240)
    assert work.row(held.job_id).status == ("cancelled" if first == "deletion" else "succeeded")
    assert dataset(work, dataset_id).deleted_at is not None


def test_trainings_on_a_dataset_still_keep_it_from_being_deleted(work):
    dataset_id = stored_before(work, ALICE)
    queue(work, dataset_id)
    training = work.submit(dataset=dataset(work, dataset_id))
    with pytest.raises(DatasetInUse, match=training):
        delete(work, dataset_id)
    assert {job.status for job in jobs_of(work, dataset_id) if job.kind is JobKind.RELATE} == {"queued"}
