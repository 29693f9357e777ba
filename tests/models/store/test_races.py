"""Two concurrent transactions: the second sees what the first did."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from heldout.errors import JobFinished, LeaseLost
from heldout.lifecycle.job import JobStatus, StopReason
from heldout.spec.dataset import DatasetSpec
from heldout.stored.audit import IngestedContent
from models.database import db_now
from models.store import claims, discards, events, ingests, jobs, uploads
from models.store.claims import Capacity
from tests.models.racing import Other
from tests.models.work import ALICE, Work, result

_SPLITS = {name: {"count": 2, "per_class": [1, 1]} for name in ("train", "validation", "test")}
CONTENT = IngestedContent("1" * 64, 6, (8, 8, 1), "uint8", (0, 255), ("cat", "dog"), _SPLITS)


@pytest.fixture
def other(work: Work) -> Iterator[Other]:
    with ThreadPoolExecutor(1) as pool:
        made = Other(work.database, pool)
        yield made
    made.require_race()


def test_a_cancel_that_comes_while_a_success_is_written_is_refused(work: Work, other):
    held = work.running()
    with work.database.write() as session:
        claims.succeed(session, held, result=result(held), stop_reason=StopReason.COMPLETED)
        cancel = other.submit(work.cancel, held.job_id)
    with pytest.raises(JobFinished):
        cancel.result()
    assert work.row(held.job_id).status is JobStatus.SUCCEEDED
    assert "job.cancelling" not in work.event_types(held.job_id)


def test_a_success_that_comes_while_a_cancel_is_written_becomes_a_cancel(work: Work, other):
    held = work.running()
    with work.database.write() as session:
        jobs.cancel(session, ALICE, held.job_id)
        success = other.submit(work.succeed, held)
    assert success.result() is JobStatus.CANCELLED
    assert work.stored(held.job_id)["results"] == []


def test_a_cancel_that_comes_while_a_job_is_claimed_reaches_the_worker(work: Work, other):
    job_id = work.submit()
    with work.database.write() as session:
        claimed = claims.claim(session, "worker", Capacity(("auto",)), 60)
        cancel = other.submit(work.cancel, job_id)
    assert cancel.result().request == "cancel"
    assert work.stop_as_requested(claimed.held) is JobStatus.CANCELLED


def test_a_dataset_that_is_deleted_while_its_ingest_ends_waits_and_is_deleted(work: Work, other):
    """Both lock the ingest's job first and the dataset second. In different orders they would deadlock."""
    with work.database.write() as session:
        dataset_id = uploads.announce(session, ALICE, DatasetSpec(name="pets")).id
        uploads.receive(session, ALICE, dataset_id, key=f"uploads/{dataset_id}", sha256="2" * 64, max_runtime_s=60)
    held = work.claim().held

    def delete() -> None:
        with work.database.write() as session:
            discards.remove(session, ALICE, dataset_id)

    with work.database.write() as session:
        claims.require_held(session, held)
        deletion = other.submit(delete)
        ingests.mark_ready(session, held, dataset_id, CONTENT)
    deletion.result()
    types = ["dataset.uploading", "dataset.checking", "dataset.ready", "dataset.deleted"]
    assert work.event_types(dataset_id) == types


def test_a_job_that_is_being_cancelled_is_not_claimed(work: Work, other):
    job_id = work.submit()
    with work.database.write() as session:
        jobs.cancel(session, ALICE, job_id)
        claim = other.submit(work.claim, skips_locked=True)
    assert claim.result() is None
    assert work.row(job_id).attempt == 0


def test_a_renewal_that_comes_while_the_job_is_recovered_finds_it_lost(work: Work, other):
    held = work.running(lease_s=-1)

    def renew() -> object:
        with work.database.write() as session:
            return claims.renew(session, "worker", [held], 60)

    with work.database.write() as session:
        claims.recover_expired_leases(session)
        renewal = other.submit(renew)
    assert renewal.result() == set()
    assert work.row(held.job_id).lease_expires_at is None


def test_a_job_that_its_worker_is_settling_is_not_recovered(work: Work, other):
    """The lease has expired, but the worker came first."""
    held = work.running(lease_s=-1)

    def take_back() -> object:
        with work.database.write() as session:
            return claims.recover_expired_leases(session)

    with work.database.write() as session:
        claims.succeed(session, held, result=result(held), stop_reason=StopReason.COMPLETED)
        taking = other.submit(take_back, skips_locked=True)
    assert taking.result() == []
    assert work.row(held.job_id).status is JobStatus.SUCCEEDED


def test_an_accepted_cancel_is_never_followed_by_a_success(work: Work):
    """The cancel comes first in the first rounds, the success in the last ones, and in between they race."""
    seen = set()
    for cancel_after_s in (-0.2, -0.02, *(0.0005 * step for step in range(-6, 7)), 0.02, 0.2):
        held = work.running()
        gate = threading.Barrier(2)
        outcomes: dict[str, object] = {}

        def act(name: str, after_s: float, act, *arguments: object, gate=gate, outcomes=outcomes) -> None:
            gate.wait()
            time.sleep(max(0.0, after_s))
            try:
                outcomes[name] = act(*arguments)
            except (JobFinished, LeaseLost) as error:
                outcomes[name] = error

        threads = [
            threading.Thread(target=act, args=("cancel", cancel_after_s, work.cancel, held.job_id)),
            threading.Thread(target=act, args=("success", -cancel_after_s, work.succeed, held)),
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        accepted = not isinstance(outcomes["cancel"], Exception)
        assert outcomes["success"] is (JobStatus.CANCELLED if accepted else JobStatus.SUCCEEDED)
        ends = [kind for kind in work.event_types(held.job_id) if kind in {"job.succeeded", "job.cancelled"}]
        assert ends == ["job.cancelled" if accepted else "job.succeeded"]
        seen.add(accepted)
    assert seen == {True, False}, "Each should come first in some round."


def test_events_of_many_writers_are_numbered_without_gaps(work: Work):
    job_id, quiet = work.submit(), work.submit()

    def write(worker: int) -> list[int]:
        numbers = []
        for number in range(8):
            with work.database.write() as session:
                numbers.append(events.add(session, job_id, "job.warning", f"{worker} {number}"))
        return numbers

    with ThreadPoolExecutor(4) as pool:
        numbers = [number for part in pool.map(write, range(4)) for number in part]
    assert sorted(numbers) == list(range(2, 34))
    stored = work.events(job_id)
    assert [event.id for event in stored] == list(range(1, 34))
    assert [event.created_at for event in stored] == sorted(event.created_at for event in stored)
    assert [event.id for event in work.events(quiet)] == [1]


def test_a_rolled_back_transaction_leaves_no_gap(work: Work):
    job_id = work.submit()

    def undone() -> None:
        with work.database.write() as session:
            events.add(session, job_id, "job.warning", "Undone.")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        undone()
    with work.database.write() as session:
        assert events.add(session, job_id, "job.warning", "Kept.") == 2
    assert [event.message for event in work.events(job_id)][1:] == ["Kept."]


def test_a_job_either_expires_or_is_claimed(work: Work, other):
    job_id = work.submit(limits={"max_pending_s": 5})
    work.set(job_id, pending_until=db_now(-1))
    with work.database.write() as session:
        assert claims.expire_pending(session) == [job_id]
        claim = other.submit(work.claim, skips_locked=True)
    assert claim.result() is None
    assert work.row(job_id).status is JobStatus.FAILED
