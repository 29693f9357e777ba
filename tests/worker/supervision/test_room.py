"""One worker at a time reserves memory for a large job that has waited long."""

from collections.abc import Iterator

import pytest
from pydantic import SecretStr

from analysis.scheduling.fair_share import PATIENCE_S
from heldout.service.settings import Settings
from models.database import db_now
from models.migrations import upgrade
from models.store.claims import Claimed
from tests.models.work import ALICE, BOB, Work
from worker.supervision.worker import Worker

GIB = 2**30


@pytest.fixture
def workers(tmp_path) -> Iterator[tuple[Worker, Worker]]:
    """Two workers with 10 GiB each and without GPUs."""
    url = SecretStr(f"sqlite:///{tmp_path / 'heldout.db'}")
    both = tuple(Worker(Settings(home=tmp_path / name, database_url=url, slots=8)) for name in ("a", "b"))
    upgrade(both[0].database)
    for worker in both:
        worker.shares.total_bytes = 10 * GIB
    yield both
    for worker in both:
        worker.scratch.close()
        worker.database.dispose()


@pytest.fixture
def work(workers) -> Work:
    return Work(workers[0].database)


def submit(work: Work, owner: str, gib: int, *, waited_s: float = 0.0) -> str:
    job_id = work.submit(owner)
    work.set(job_id, memory_bytes=gib * GIB, queued_at=db_now(-waited_s))
    return job_id


def claim(worker: Worker) -> Claimed:
    found = worker.claim()
    assert found is not None
    return found


def test_small_jobs_wait_for_a_large_job_unless_they_fit_next_to_it(workers, work):
    worker, other = workers
    for _ in range(3):
        submit(work, BOB, 4)
    first = [claim(claimer) for claimer in (worker, worker, other)]
    large = submit(work, ALICE, 7, waited_s=PATIENCE_S)
    small = [submit(work, BOB, 2) for _ in range(3)]
    assert claim(worker).held.job_id == small[0], "it fits next to the large job"
    assert worker.claim() is None, "another would not, although 2 GiB are free"
    assert claim(other).held.job_id == small[1], "only one worker makes room"
    worker.shares.give_back(first[0].held)
    assert worker.claim() is None
    worker.shares.give_back(first[1].held)
    assert claim(worker).held.job_id == large


def test_no_job_waits_for_a_large_job_that_is_new_or_whose_turn_is_later(workers, work):
    worker, _ = workers
    for _ in range(2):
        submit(work, BOB, 4)
        claim(worker)
    submit(work, ALICE, 7, waited_s=PATIENCE_S - 10)
    submit(work, BOB, 2, waited_s=2 * PATIENCE_S)
    later = submit(work, BOB, 8, waited_s=2 * PATIENCE_S)
    found = claim(worker)
    assert found.held.job_id != later
    assert worker.shares.sum_taken([found.held]).memory_bytes == 2 * GIB


def test_another_worker_makes_room_once_the_first_is_silent(workers, work):
    worker, other = workers
    for claimer in workers:
        submit(work, BOB, 4)
        claim(claimer)
    large = submit(work, ALICE, 7, waited_s=PATIENCE_S)
    submit(work, BOB, 5)
    assert worker.claim() is None
    assert work.row(large).room_on == worker.name
    work.set(large, room_until=db_now(-1))
    assert other.claim() is None
    assert work.row(large).room_on == other.name
