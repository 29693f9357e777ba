"""Events by subject and in their owner's order: what is numbered when, and that no reader misses any."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import select, text, update

from api.live.source import read_owner_page
from heldout.spec.dataset import DatasetSpec
from heldout.stored.audit import IngestedContent
from models.database import Database, Session, db_now
from models.store import claims, discards, events, ingests, jobs, owner_events, uploads
from models.tables import DatasetRow, EventRow
from tests.models.work import ALICE, BOB, Work

CONTENT = IngestedContent(
    sha256="1" * 64,
    size_bytes=10,
    shape=[4, 4, 1],
    dtype="uint8",
    value_range=[0, 255],
    classes=["a", "b"],
    splits={"train": {"count": 2, "per_class": [1, 1]}},
)


@pytest.fixture
def postgres(fresh_postgres_url):
    database = Database(fresh_postgres_url)
    yield database
    database.dispose()


def owner_stream(database: Database, owner: str = ALICE, *, after: int = 0, limit: int = 1000) -> list[EventRow]:
    return list(read_owner_page(database, owner, after=after, limit=limit)[0])


def name_events(rows: list[EventRow]) -> list[tuple[str, str]]:
    return [(row.subject_id, row.type) for row in rows]


def warn(session: Session, job_id: str, message: str = "news") -> None:
    events.add(session, job_id, "job.warning", message, level="warning")


def announce(work: Work, name: str = "pets", owner: str = ALICE) -> str:
    with work.database.write() as session:
        return uploads.announce(session, owner, DatasetSpec(name=name)).id


def start_check(work: Work, name: str = "pets"):
    """Upload a dataset and claim its check. Return the dataset's id and the attempt."""
    dataset_id = announce(work, name)
    with work.database.write() as session:
        uploads.receive(session, ALICE, dataset_id, key=f"uploads/{dataset_id}", sha256="2" * 64, max_runtime_s=60)
    return dataset_id, work.claim().held


# --- datasets ------------------------------------------------------------------------------------


def test_a_dataset_has_events_until_it_is_ready_and_its_check_is_not_in_the_stream(work: Work):
    dataset_id, held = start_check(work)
    with work.database.write() as session:
        ingests.mark_ready(session, held, dataset_id, CONTENT)
    with work.database.write() as session:
        discards.remove(session, ALICE, dataset_id)
    types = ["dataset.uploading", "dataset.checking", "dataset.ready", "dataset.deleted"]
    assert [(event.id, event.type) for event in work.events(dataset_id)] == list(enumerate(types, 1))
    assert name_events(owner_stream(work.database)) == [(dataset_id, type_) for type_ in types]
    assert work.event_types(held.job_id) == ["job.queued", "job.started", "job.succeeded"]


def test_a_dataset_that_is_rejected_says_why(work: Work):
    dataset_id, held = start_check(work)
    error = {"code": "no_images", "detail": "It holds no images.", "member": "a.txt"}
    with work.database.write() as session:
        claims.reject(session, held, error)
    last = work.events(dataset_id)[-1]
    assert (last.type, last.level, last.message, last.data) == (
        "dataset.rejected",
        "error",
        error["detail"],
        {"error": error},
    )


def test_a_dataset_that_was_never_uploaded_is_rejected_with_an_event(work: Work):
    dataset_id, other = announce(work), announce(work, "other")
    with work.database.write() as session:
        late = update(DatasetRow).where(DatasetRow.id == dataset_id).values(created_at=db_now(-25 * 3600))
        session.execute(late)
        assert uploads.reject_unsent(session) == [dataset_id]
    assert work.event_types(dataset_id) == ["dataset.uploading", "dataset.rejected"]
    assert work.event_types(other) == ["dataset.uploading"]


def test_a_dataset_that_is_deleted_during_its_check_has_no_later_events(work: Work):
    dataset_id, held = start_check(work)
    with work.database.write() as session:
        discards.remove(session, ALICE, dataset_id)
    work.stop_as_requested(held)
    assert work.event_types(dataset_id) == ["dataset.uploading", "dataset.checking", "dataset.deleted"]


def test_a_rolled_back_change_of_a_dataset_leaves_no_event(work: Work):
    dataset_id, held = start_check(work)

    def undone() -> None:
        with work.database.write() as session:
            ingests.mark_ready(session, held, dataset_id, CONTENT)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        undone()
    assert work.event_types(dataset_id) == ["dataset.uploading", "dataset.checking"]


# --- the owner's order ---------------------------------------------------------------------------


def test_owners_see_only_events_of_their_own_subjects(work: Work):
    mine, theirs, dataset_id = work.submit(), work.submit(BOB), announce(work)
    assert name_events(owner_stream(work.database)) == [(mine, "job.queued"), (dataset_id, "dataset.uploading")]
    assert name_events(owner_stream(work.database, BOB)) == [(theirs, "job.queued")]


def test_numbers_are_final_and_pages_join(work: Work):
    ids = [work.submit() for _ in range(5)]
    first = owner_stream(work.database, limit=3)
    ids.append(work.submit())
    rest = owner_stream(work.database, after=first[-1].owner_number)
    assert [row.subject_id for row in first + rest] == ids
    assert [row.owner_number for row in first + rest] == [1, 2, 3, 4, 5, 6]
    assert [row.owner_number for row in owner_stream(work.database)] == [1, 2, 3, 4, 5, 6]


def test_a_page_can_be_longer_than_what_one_transaction_numbers(work: Work, monkeypatch):
    monkeypatch.setattr(owner_events, "NUMBERED_AT_ONCE", 2)
    ids = [work.submit() for _ in range(7)]
    assert [row.subject_id for row in owner_stream(work.database, limit=5)] == ids[:5]
    assert [row.subject_id for row in owner_stream(work.database, after=5)] == ids[5:]


def test_events_of_a_deleted_job_go_with_it_and_their_numbers_are_not_reused(work: Work):
    kept, gone = work.submit(), work.submit()
    work.cancel(gone)
    assert [row.owner_number for row in owner_stream(work.database)] == [1, 2, 3]
    with work.database.write() as session:
        jobs.remove(session, ALICE, gone)
    later = work.submit()
    assert [(row.owner_number, row.subject_id) for row in owner_stream(work.database)] == [(1, kept), (4, later)]


def test_events_that_commit_in_reverse_order_reach_a_reader_in_between(postgres):
    """The first to write is the last to commit. A reader who has passed the other event still gets it."""
    work = Work(postgres)
    first, second = work.submit(), work.submit()
    before = owner_stream(postgres)[-1].owner_number
    with postgres.write() as early:
        warn(early, first)
        with postgres.write() as late:
            warn(late, second)
        between = owner_stream(postgres, after=before)
        assert name_events(between) == [(second, "job.warning")]
        written = select(EventRow.position).where(EventRow.type == "job.warning").order_by(EventRow.position)
        [position] = early.scalars(written.where(EventRow.subject_id == first)).all()
        assert position < between[0].position, "the event that is not committed was written first"
    after = owner_stream(postgres, after=between[-1].owner_number)
    assert name_events(after) == [(first, "job.warning")], "it was lost"
    assert name_events(owner_stream(postgres, after=before)) == name_events(between + after), "the order has changed"


def test_on_sqlite_the_second_writer_begins_after_the_first_has_committed(sqlite_url):
    database = Database(sqlite_url)
    work = Work(database)
    first, second = work.submit(), work.submit()
    before = owner_stream(database)[-1].owner_number
    begun = threading.Event()

    def write_second() -> None:
        begun.set()
        with database.write() as session:
            warn(session, second)

    with ThreadPoolExecutor(1) as pool:
        with database.write() as session:
            warn(session, first)
            waiting = pool.submit(write_second)
            begun.wait()
            assert not waiting.done()
        waiting.result()
    assert name_events(owner_stream(database, after=before)) == [(first, "job.warning"), (second, "job.warning")]
    database.dispose()


def test_a_stuck_writer_delays_neither_other_writers_nor_readers(postgres):
    work = Work(postgres)
    stuck, brisk = work.submit(), work.submit()
    with postgres.write() as session:
        warn(session, stuck)
        for _ in range(3):
            with postgres.write() as other:
                other.execute(text("SET LOCAL lock_timeout = '1s'"))
                warn(other, brisk)
        assert name_events(owner_stream(postgres))[-3:] == [(brisk, "job.warning")] * 3


def test_numbering_and_deleting_wait_for_each_other_only_at_the_owners_row(postgres):
    """A transaction that deletes a job holds the owner's row: events are numbered afterwards, without a deadlock."""
    work = Work(postgres)
    gone, kept = work.submit(), work.submit()
    work.cancel(gone)
    with postgres.write() as deleting, ThreadPoolExecutor(1) as pool:
        jobs.remove(deleting, ALICE, gone)
        with postgres.write() as session:
            assert owner_events.number(session, ALICE, wait=False) is False
        reading = pool.submit(owner_stream, postgres)
        deleting.commit()
        assert name_events(reading.result()) == [(kept, "job.queued")]


@pytest.mark.parametrize("at_once", [3, 1000])
def test_a_reader_who_pages_meanwhile_gets_each_event_of_many_writers_once(work: Work, monkeypatch, at_once):
    monkeypatch.setattr(owner_events, "NUMBERED_AT_ONCE", at_once)
    writers, each = 6, 25
    ids = [work.submit() for _ in range(writers)]
    over = threading.Event()

    def write(job_id: str) -> None:
        for number in range(each):
            with work.database.write() as session:
                warn(session, job_id, str(number))

    def read() -> list[EventRow]:
        found: list[EventRow] = []
        while True:
            last_round = over.is_set()
            page = owner_stream(work.database, after=found[-1].owner_number if found else 0, limit=7)
            found += page
            if last_round and not page:
                return found

    with ThreadPoolExecutor(writers + 2) as pool:
        readers = [pool.submit(read) for _ in range(2)]
        writing = [pool.submit(write, job_id) for job_id in ids]
        try:
            for writer in writing:
                writer.result()
        finally:
            over.set()
        first, second = (reader.result() for reader in readers)
    numbers = [row.owner_number for row in first]
    assert numbers == list(range(1, writers * (each + 1) + 1)), "events are lost, duplicated or out of order"
    assert [row.position for row in first] == [row.position for row in second], "readers see different orders"
    for job_id in ids:
        assert [row.id for row in first if row.subject_id == job_id] == list(range(1, each + 2))
