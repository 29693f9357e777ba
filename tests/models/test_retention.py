"""What is deleted once it expires, and what never is."""

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event, select, update

from heldout.lifecycle.resources import StudyStatus
from heldout.service.settings import Settings
from heldout.work.kinds import JobKind
from models.blobs import Blobs
from models.database import db_now
from models.reconcile import Retention
from models.store import owner_events, retention
from models.tables import EventRow, JobRow, StudyRow
from tests.models.work import ALICE, BOB, Work

KEPT_S = 3600.0
LONG_AGO, NOT_YET = db_now(-KEPT_S - 60), db_now(-KEPT_S + 60)


@pytest.fixture
def blobs(tmp_path: Path) -> Blobs:
    return Blobs((tmp_path / "blobs").as_uri())


def make_retention(work: Work, blobs: Blobs, **settings: float) -> Retention:
    return Retention(work.database, blobs, Settings(**settings), pause_s=0)  # type: ignore[arg-type]


def add_ended(work: Work, blobs: Blobs, owner: str = ALICE, *, at: object = LONG_AGO) -> str:
    """Add a job with a file that ended at this time."""
    job_id = work.submit(owner)
    work.cancel(job_id, owner)
    work.set(job_id, finished_at=at, created_at=LONG_AGO)
    blobs.put(f"jobs/{job_id}/1/model.keras", b"x")
    return job_id


def left(work: Work) -> set[str]:
    with work.database.read() as session:
        return set(session.scalars(select(JobRow.id)))


def folders(blobs: Blobs) -> set[str]:
    return {blob.key.split("/")[1] for blob in blobs.stored("jobs")}


def test_only_expired_jobs_are_deleted_with_their_events_and_files(work: Work, blobs: Blobs) -> None:
    old, of_bob = add_ended(work, blobs), add_ended(work, blobs, BOB)
    fresh = add_ended(work, blobs, at=NOT_YET)
    waiting = work.submit()
    work.set(waiting, created_at=LONG_AGO)
    make_retention(work, blobs).run_once()
    assert {old, of_bob, fresh, waiting} <= left(work)
    make_retention(work, blobs, keep_jobs_s=KEPT_S).run_once()
    assert left(work) == {fresh, waiting}
    assert folders(blobs) == {fresh}
    for job_id in (old, of_bob):
        assert not any(work.stored(job_id).values())
    assert work.event_types(fresh) == ["job.queued", "job.cancelled"]


def test_a_job_expires_after_its_own_time_or_that_of_the_service(work: Work, blobs: Blobs) -> None:
    def kept_for(seconds: float, owner: str = ALICE) -> str:
        job_id = add_ended(work, blobs, owner)
        work.set(job_id, keep_s=seconds)
        return job_id

    short, of_bob, long, other = kept_for(60), kept_for(60, BOB), kept_for(10**8), add_ended(work, blobs)
    of_study, waiting = kept_for(60), work.submit()
    work.set(waiting, keep_s=60)
    work.ended_study(of_study)
    make_retention(work, blobs).run_once()
    assert left(work) == {long, other, of_study, waiting}
    assert {short, of_bob}.isdisjoint(folders(blobs))
    make_retention(work, blobs, keep_jobs_s=KEPT_S).run_once()
    assert left(work) == {of_study, waiting}


def test_jobs_of_a_study_are_kept_as_long_as_the_study(work: Work, blobs: Blobs) -> None:
    first, second = add_ended(work, blobs), add_ended(work, blobs)
    study_id = work.ended_study(first, second)
    keeps = make_retention(work, blobs, keep_jobs_s=KEPT_S)

    def set_study(**columns: object) -> None:
        with work.database.write() as session:
            session.execute(update(StudyRow).values(**columns))

    for columns in ({"status": StudyStatus.RUNNING}, {"status": StudyStatus.SUCCEEDED, "finished_at": NOT_YET}):
        set_study(**columns)
        keeps.run_once()
        assert left(work) == {first, second}
    set_study(finished_at=LONG_AGO)
    running = work.submit()
    work.set(running, study_id=study_id)  # for example its refit
    keeps.run_once()
    assert left(work) == {first, second, running}
    work.cancel(running)
    keeps.run_once()
    assert left(work) == set()
    assert folders(blobs) == set()


def test_each_call_deletes_some_of_the_jobs(work: Work, blobs: Blobs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention.list_expired_jobs, "__defaults__", (3,))
    young = add_ended(work, blobs, at=NOT_YET)
    jobs = [add_ended(work, blobs) for _ in range(4)]
    keeps = make_retention(work, blobs, keep_jobs_s=KEPT_S)
    counts = []
    for _ in range(3):
        keeps.run_once()
        counts.append(len(left(work) & set(jobs)))
    assert counts == [1, 0, 0]
    assert young in left(work)


def test_jobs_of_every_kind_expire(work: Work, blobs: Blobs) -> None:
    """Ids of evaluations come before those of trainings, and a young one does not keep the others."""
    _, old, young = (add_ended(work, blobs) for _ in range(3))
    with work.database.write() as session:
        for job_id, new_id, at in ((old, "evl_1", LONG_AGO), (young, "evl_2", db_now())):
            values = {"id": new_id, "kind": JobKind.MEASURE, "finished_at": at, "created_at": at}
            session.execute(update(JobRow).where(JobRow.id == job_id).values(**values))
    make_retention(work, blobs, keep_jobs_s=KEPT_S).run_once()
    assert left(work) == {"evl_2"}


@pytest.mark.parametrize("older_than_s", [None, KEPT_S])
def test_an_index_finds_expired_jobs(work: Work, older_than_s: float | None) -> None:
    statements: list[tuple[str, Any]] = []
    with work.database.read() as session:
        event.listen(session.get_bind(), "before_cursor_execute", lambda *about: statements.append(about[2:4]))
        retention.list_expired_jobs(session, older_than_s)
        if session.get_bind().dialect.name == "sqlite":  # PostgreSQL reads small tables without an index
            sql, values = next(found for found in statements if found[0].startswith("SELECT"))
            plan = session.connection().exec_driver_sql(f"EXPLAIN QUERY PLAN {sql}", values).all()
            found = "SCAN jobs USING INDEX ix_jobs_keep", "SEARCH jobs USING INDEX ix_jobs_ended"
            assert [row[3].partition(" (")[0] for row in plan] == [found[older_than_s is not None]]


def test_events_of_ended_subjects_are_deleted_and_numbers_continue(work: Work, blobs: Blobs) -> None:
    old, waiting = add_ended(work, blobs), work.submit()
    with work.database.write() as session:
        owner_events.number(session, ALICE)
        session.execute(update(EventRow).values(created_at=LONG_AGO))
    fresh = add_ended(work, blobs)
    keeps = make_retention(work, blobs, keep_events_s=KEPT_S)
    keeps.run_once()
    assert (work.event_types(old), work.event_types(waiting)) == ([], ["job.queued"])
    assert work.event_types(fresh) == ["job.queued", "job.cancelled"]
    assert left(work) >= {old, waiting, fresh}
    with work.database.write() as session:
        owner_events.number(session, ALICE)
    with work.database.read() as session:
        numbers = [row.owner_number for row in owner_events.list_page(session, ALICE, after=0, limit=10)[0]]
    assert numbers == [3, 4, 5]
