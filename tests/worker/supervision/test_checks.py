"""Checks of uploads and searches for wrong labels leave slots to trainings."""

from collections.abc import Iterator

import pytest
from pydantic import SecretStr

from heldout.service.settings import Settings
from heldout.spec.dataset import DatasetSpec
from heldout.work.kinds import IngestSpec, JobKind
from heldout.work.memory import SMALL_CHECK_BYTES
from models.migrations import upgrade
from models.store import new_jobs, suspects
from models.store.claims import HeldAttempt
from models.store.new_jobs import NewJob
from models.tables import JobRow
from tests.models.work import ALICE, Work
from worker.machine.shares import Share
from worker.supervision.worker import Worker


@pytest.fixture
def worker(tmp_path) -> Iterator[Worker]:
    """A worker with four slots and without GPUs."""
    worker = Worker(Settings(home=tmp_path, database_url=SecretStr(f"sqlite:///{tmp_path / 'heldout.db'}"), slots=4))
    upgrade(worker.database)
    yield worker
    worker.scratch.close()
    worker.database.dispose()


def add_check(work: Work, memory_bytes: int | None = None) -> None:
    with work.database.write() as session:
        check = IngestSpec(dataset=DatasetSpec(name="pets"), upload="uploads/x", max_runtime_s=60)
        new_job = NewJob(spec=check, owner=ALICE, name="pets@1", dataset_id=work.dataset.id, memory_bytes=memory_bytes)
        new_jobs.add(session, new_job)


def test_checks_take_at_most_half_of_the_slots(worker):
    work = Work(worker.database)
    for _ in range(3):
        add_check(work)
    work.submit()
    claimed = [worker.claim() for _ in range(4)]
    assert [claim and claim.kind for claim in claimed] == [JobKind.INGEST, JobKind.INGEST, JobKind.TRAIN, None]
    worker.shares.give_back(claimed[0].held)
    assert worker.claim().kind is JobKind.INGEST


def test_a_small_check_begins_while_trainings_have_all_slots(worker):
    work = Work(worker.database)
    for _ in range(4):
        work.submit()
    trainings = [worker.claim() for _ in range(4)]
    add_check(work)
    add_check(work, SMALL_CHECK_BYTES)
    assert worker._claim_beside() is None
    assert worker._claim_quick_check().needs.memory_bytes == SMALL_CHECK_BYTES
    assert worker._claim_quick_check() is None, "a large one waits for a slot"
    worker.shares.give_back(trainings[0].held)
    assert worker.claim().kind is JobKind.INGEST, "the small one beside takes no slot"


def test_a_small_check_waits_for_memory_and_takes_a_free_slot(worker):
    work = Work(worker.database)
    add_check(work, SMALL_CHECK_BYTES)
    assert worker._claim_quick_check() is None, "a slot is free"
    for _ in range(4):
        work.submit()
    claimed = [worker.claim() for _ in range(4)]
    assert [claim.kind for claim in claimed] == [JobKind.INGEST, *[JobKind.TRAIN] * 3]
    add_check(work, SMALL_CHECK_BYTES)
    rest = worker.shares.free.memory_bytes - SMALL_CHECK_BYTES
    neighbor = HeldAttempt("job_of_a_neighbour", 1)
    worker.shares.take(neighbor, Share(rest + 1, in_slot=False))
    assert worker._claim_quick_check() is None
    worker.shares.take(neighbor, Share(rest, in_slot=False))
    assert worker._claim_quick_check().kind is JobKind.INGEST


def test_no_search_for_wrong_labels_begins_while_a_training_waits_for_another_worker(worker):
    """Otherwise the search would start and stop repeatedly."""
    work = Work(worker.database)
    with work.database.write() as session:
        search = suspects.queue(session, ALICE, work.dataset.id)
    training = work.submit()
    with work.database.write() as session:
        session.get_one(JobRow, training).gpus = 1
    assert worker.claim() is None
    work.set(training, status="cancelled")
    assert worker.claim().held.job_id == search.id
