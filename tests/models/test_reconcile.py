"""The reconciler: when it recovers leases, when it must not, and what it removes."""

import time
from datetime import timedelta

import pytest
from sqlalchemy import delete, event, select, update

from heldout.errors import DatabaseUnavailable
from heldout.lifecycle.job import JobStatus
from heldout.service.settings import Settings
from heldout.work.kinds import RelateSpec
from models.blobs import Blobs
from models.database import db_now
from models.reconcile import Reconciler
from models.store import claims
from models.store.claims import Capacity
from models.tables import DatasetRow, OwnerRow
from tests.models.work import ALICE, CPU, add_dataset

# A new reconciler waits for two heartbeats of the others before it recovers a lease.
SETTINGS = Settings(lease_s=4, heartbeat_s=0.01, reconcile_s=1)
KEPT_S = SETTINGS.keep_state_s
GAP = timedelta(seconds=1.2 * SETTINGS.reconcile_s + SETTINGS.lease_s)


@pytest.fixture
def blobs(tmp_path):
    return Blobs((tmp_path / "blobs").as_uri())


@pytest.fixture
def reconciler(work, blobs):
    made = Reconciler(work.database, SETTINGS, blobs=blobs)
    time.sleep(2 * SETTINGS.heartbeat_s)  # the wait before the first recovery
    return made


def test_an_expired_lease_is_recovered(work, reconciler):
    held = work.running()
    work.set(held.job_id, lease_expires_at=db_now(-1))
    reconciler.run_once()
    assert work.row(held.job_id).status is JobStatus.QUEUED


def test_a_job_that_an_earlier_release_queued_for_a_new_owner_is_claimed(work, reconciler):
    job_id = work.submit()
    with work.database.write() as session:
        session.execute(delete(OwnerRow))
    assert work.claim() is None
    reconciler.run_once()
    assert work.claim().held.job_id == job_id


def test_a_round_without_work_is_one_statement(work, reconciler):
    statements = []

    def note(*of_execution):
        statements.append(of_execution[2])

    def asked() -> int:
        statements.clear()
        reconciler.settle()
        return len([statement for statement in statements if statement != "BEGIN"])

    event.listen(work.database.engine, "before_cursor_execute", note)
    try:
        assert asked() == 1
        waiting = work.submit()
        assert asked() > 1
        work.cancel(waiting)
        assert asked() == 1
        work.running()
        assert asked() > 1
    finally:
        event.remove(work.database.engine, "before_cursor_execute", note)


def test_an_owner_who_was_held_continues_once_the_setting_allows_more(work, blobs):
    first = work.submit() and work.claim()
    work.set(first.held.job_id, attempt_started_at=db_now(-50))
    work.succeed(first.held)
    work.submit()

    def begins(day_s: int) -> bool:
        """Return whether the owner's next job begins in a service with this setting."""
        settings = SETTINGS.model_copy(update={"quota_slot_seconds": day_s})
        work.database.bounds = settings.quotas
        Reconciler(work.database, settings, blobs=blobs).run_once()
        with work.database.write() as session:
            return claims.claim(session, "worker", Capacity(CPU), 60) is not None

    assert [begins(day_s) for day_s in (45, 48, 5000)] == [False, False, True]


def test_a_new_reconciler_recovers_no_lease(work):
    held = work.running()
    work.set(held.job_id, lease_expires_at=db_now(-1))
    Reconciler(work.database, Settings(lease_s=60, heartbeat_s=10)).run_once()
    assert work.row(held.job_id).status is JobStatus.RUNNING


def test_no_lease_is_recovered_after_a_gap_in_the_databases_time(work, reconciler):
    """There is a gap after a database stood still, a machine slept, or a clock was set forward."""
    held = work.running()
    reconciler.run_once()
    reconciler._last_round -= GAP
    work.set(held.job_id, lease_expires_at=db_now(-1))
    with pytest.raises(DatabaseUnavailable):
        reconciler.run_once()
    assert work.row(held.job_id).status is JobStatus.RUNNING
    reconciler.run_once()
    assert work.row(held.job_id).status is JobStatus.QUEUED


def test_a_dataset_that_was_not_uploaded_within_a_day_is_rejected(work, reconciler, blobs):
    unsent, fresh, ready = (add_dataset(work.database, name, ALICE, status="uploading") for name in "abc")
    with work.database.write() as session:
        session.execute(update(DatasetRow).where(DatasetRow.id != fresh).values(created_at=db_now(-24 * 3600 - 1)))
        session.execute(update(DatasetRow).where(DatasetRow.id == ready).values(status="ready"))
    blobs.put(f"uploads/{unsent}/broken off", b"half")
    reconciler.run_once()
    with work.database.read() as session:
        rows = {row.id: (row.status, (row.error or {}).get("code")) for row in session.scalars(select(DatasetRow))}
    assert [rows[dataset] for dataset in (unsent, fresh, ready)] == [
        ("rejected", "never_sent"),
        ("uploading", None),
        ("ready", None),
    ]
    with pytest.raises(KeyError):
        blobs.read(f"uploads/{unsent}/broken off")


def test_the_last_state_of_an_ended_job_is_removed_once_it_expires(work, reconciler, blobs):
    cancelled, waiting = (work.running() for _ in range(2))
    keys = {}
    for held in (cancelled, waiting):
        work.checkpoint(held, 1)
        keys[held] = work.stored(held.job_id)["checkpoints"][0]["key"]
        blobs.put(keys[held], b"state")
        work.release(held)
    work.cancel(cancelled.job_id)
    for ended_s_ago, left in ((KEPT_S - 60, 1), (KEPT_S + 60, 0)):
        work.set(cancelled.job_id, finished_at=db_now(-ended_s_ago))
        reconciler.run_once()
        assert len(work.stored(cancelled.job_id)["checkpoints"]) == left
    assert len(work.stored(waiting.job_id)["checkpoints"]) == 1
    assert blobs.read(keys[waiting]) == b"state"
    with pytest.raises(KeyError):
        blobs.read(keys[cancelled])


def test_a_search_for_copies_is_queued_once_for_a_dataset_of_an_earlier_release(work, reconciler):
    dataset_id = add_dataset(work.database, "old", ALICE)
    reconciler.run_once()
    reconciler.run_once()
    claimed = work.claim_beside_slots()
    assert (claimed.spec, claimed.dataset.id) == (RelateSpec(), dataset_id)
    assert work.claim_beside_slots() is None
