"""Checks of uploads and searches for wrong labels leave slots to trainings."""

from collections.abc import Callable, Iterator

import pytest
from pydantic import SecretStr

from heldout.service.settings import Settings
from heldout.spec.dataset import DatasetSpec
from heldout.work.kinds import CheckModelSpec, IngestSpec, JobKind
from heldout.work.memory import SMALL_CHECK_BYTES
from models.migrations import upgrade
from models.store import accounts, new_jobs, searches, transitions
from models.store.claims import Claimed, HeldAttempt
from models.store.new_jobs import NewJob
from models.tables import JobRow
from tests.models.work import ALICE, BOB, Work
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


CAROL = "carol"
UPLOAD = IngestSpec(dataset=DatasetSpec(name="pets"), upload="uploads/x", max_runtime_s=60)
MODEL = CheckModelSpec(model="mod_1", key="models/mod_1/x")


def add_check(
    work: Work,
    memory_bytes: int | None = None,
    owner: str = ALICE,
    check: IngestSpec | CheckModelSpec = UPLOAD,
) -> None:
    with work.database.write() as session:
        new_job = NewJob(spec=check, owner=owner, name="pets@1", dataset_id=work.dataset.id, memory_bytes=memory_bytes)
        new_jobs.add(session, new_job)


def add_model(work: Work, owner: str) -> None:
    add_check(work, SMALL_CHECK_BYTES, owner, MODEL)


def use(worker: Worker, owner: str, slot_s: float) -> None:
    """Charge an owner for slots that it has used lately."""
    with worker.database.write() as session:
        now_s = transitions.get_now(session).timestamp()
        accounts.write_standing(session, owner, accounts.OwnerStanding(used_slot_s=slot_s, at_s=now_s))


def claim_in_turn(claim: Callable[[], Claimed], worker: Worker, count: int) -> list[tuple[str, JobKind]]:
    """Claim jobs, each of which ends before the next is claimed."""
    found = []
    for _ in range(count):
        claimed = claim()
        found.append((claimed.owner, claimed.kind))
        worker.shares.give_back(claimed.held)
    return found


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


def test_owners_take_turns_for_the_place_of_checks_whatever_else_they_use(worker):
    """By recent use alone, Bob would wait for all checks of Alice."""
    work = Work(worker.database)
    for _ in range(4):
        add_model(work, ALICE)
    for owner in (BOB, BOB, CAROL):
        add_model(work, owner)
    use(worker, BOB, 10_000)
    use(worker, CAROL, 5_000)
    checked = [owner for owner, _ in claim_in_turn(worker.claim, worker, 7)]
    assert checked == [ALICE, CAROL, BOB, ALICE, BOB, ALICE, ALICE]


def test_owners_take_turns_for_the_place_beside_the_slots_too(worker):
    work = Work(worker.database)
    for _ in range(4):
        work.submit(owner=CAROL)
    for _ in range(4):
        assert worker.claim().kind is JobKind.TRAIN
    for _ in range(3):
        add_model(work, ALICE)
    add_model(work, BOB)
    use(worker, BOB, 10_000)
    assert claim_in_turn(worker._claim_quick_check, worker, 3) == [
        (owner, JobKind.CHECK_MODEL) for owner in (ALICE, BOB, ALICE)
    ]


def test_a_model_is_checked_while_uploads_of_another_owner_have_all_places_of_checks(worker):
    work = Work(worker.database)
    for _ in range(3):
        add_check(work)
    add_model(work, ALICE)
    first, second = worker.claim(), worker.claim()
    assert (first.kind, second.kind) == (JobKind.INGEST, JobKind.INGEST)
    assert worker.claim() is None, "the other slots are left to trainings"
    add_model(work, BOB)
    use(worker, BOB, 10_000)
    third = worker._claim_quick_check()
    assert (third.owner, third.kind) == (BOB, JobKind.CHECK_MODEL)


def test_trainings_keep_their_turns_beside_a_stream_of_checks(worker):
    work = Work(worker.database)
    for _ in range(3):
        add_model(work, ALICE)
    work.submit(owner=BOB)
    add_model(work, BOB)
    kinds = [kind for _, kind in claim_in_turn(worker.claim, worker, 5)]
    assert kinds.count(JobKind.CHECK_MODEL) == 4
    assert JobKind.TRAIN in kinds[:4]


def test_no_search_for_wrong_labels_begins_while_a_training_waits_for_another_worker(worker):
    """Otherwise the search would start and stop repeatedly."""
    work = Work(worker.database)
    with work.database.write() as session:
        search = searches.queue(session, searches.SUSPECTS, ALICE, work.dataset.id)
    training = work.submit()
    with work.database.write() as session:
        session.get_one(JobRow, training).gpus = 1
    assert worker.claim() is None
    work.set(training, status="cancelled")
    assert worker.claim().held.job_id == search.id
