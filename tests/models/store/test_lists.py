"""Lists of jobs: pages without gaps, every filter, only the owner's jobs, and the place in the queue."""

from typing import Any

import pytest
from sqlalchemy import event

from heldout.errors import JobNotFound
from heldout.lifecycle.job import SHOWN_REQUESTS, JobStatus
from models.database import db_now
from models.store import jobs
from models.store.listing import Filters
from models.tables import DatasetRow
from tests.models.work import ALICE, BOB, Work, add_dataset, page_of_jobs


def listed(work: Work, *, owner: str = ALICE, **filters) -> list[str]:
    with work.database.read() as session:
        rows, more = page_of_jobs(session, owner, Filters(**filters), after=None, limit=200)
    assert not more
    return [row.id for row in rows]


def all_pages(work: Work, limit: int, **filters) -> list[str]:
    found: list[str] = []
    more = True
    while more:
        with work.database.read() as session:
            after = found[-1] if found else None
            rows, more = page_of_jobs(session, ALICE, Filters(**filters), after=after, limit=limit)
        assert len(rows) <= limit
        found += [row.id for row in rows]
    return found


def test_pages_list_each_job_once_newest_first(work):
    ids = sorted((work.submit() for _ in range(7)), reverse=True)
    for limit in (1, 3, 7, 8):
        assert all_pages(work, limit) == ids


def test_jobs_that_come_or_go_between_pages_cause_no_gap_and_no_duplicate(work):
    ids = sorted((work.submit() for _ in range(10)), reverse=True)
    found: list[str] = []
    after, more = None, True
    while more:
        with work.database.read() as session:
            rows, more = page_of_jobs(session, ALICE, Filters(), after=after, limit=3)
        found += [row.id for row in rows]
        after = found[-1]
        work.submit()
        work.cancel(after)
        with work.database.write() as session:
            jobs.remove(session, ALICE, after)  # the cursor's own job may disappear
    assert found == ids


def in_every_status(work: Work) -> dict[str, str]:
    made = {}
    for status in ("running", "cancelling", "pausing", "succeeded", "failed", "cancelled"):
        held = work.running()
        made[status] = held.job_id
        if status in {"cancelling", "cancelled"}:
            work.cancel(held.job_id)
        if status == "pausing":
            work.pause(held.job_id)
        if status == "cancelled":
            work.stop_as_requested(held)
        if status == "succeeded":
            work.succeed(held)
        if status == "failed":
            work.fail(held, "diverged")
    made["paused"] = work.submit()
    work.pause(made["paused"])
    made["queued"] = work.submit()
    return made


def test_each_status_lists_exactly_the_jobs_that_clients_see_in_it(work):
    made = in_every_status(work)
    assert set(made) == {*JobStatus, *SHOWN_REQUESTS.values()}
    for status, job_id in made.items():
        assert listed(work, statuses=[status]) == [job_id], status
    assert listed(work, statuses=["queued", "cancelling", "failed"]) == sorted(
        (made[status] for status in ("queued", "cancelling", "failed")), reverse=True
    )
    assert listed(work, statuses=list(made)) == sorted(made.values(), reverse=True)


def test_jobs_are_filtered_by_a_dataset_that_the_owner_sees(work):
    mine = add_dataset(work.database, "pets", ALICE)
    newer = add_dataset(work.database, "pets", ALICE, version=2)
    theirs = add_dataset(work.database, "pets", BOB)
    with work.database.read() as session:
        rows = {id_: session.get_one(type(work.dataset), id_) for id_ in (mine, newer, theirs)}
    first, second = work.submit(dataset=rows[mine]), work.submit(dataset=rows[newer])
    work.submit(dataset=work.dataset)
    work.submit(BOB, dataset=rows[theirs])
    assert listed(work, dataset="pets") == [second, first]
    assert listed(work, dataset=mine) == [first]
    assert listed(work, dataset="pets@2") == [second]
    assert [listed(work, dataset=f"pets@{version}") for version in ("3", "", "x", "0")] == [[]] * 4
    assert listed(work, dataset=theirs) == []
    assert listed(work, dataset="nothing") == []
    assert len(listed(work, dataset="dots")) == 1


ODD_KEYS = ["team", "a.b", "a b", "0", "a'b", 'a"b', "a\\b", "$", "$.x", "[0]", "%", "_", "ä€😀", "a/b", "a:b", "a]b"]


def test_jobs_are_filtered_by_any_key_and_value_of_metadata(work):
    odd = 'it\'s "50%" ä\\'
    work.submit(metadata={"unrelated": odd})
    work.submit()
    for key in ODD_KEYS:
        wanted = work.submit(metadata={key: odd})
        work.submit(metadata={key: "other"})
        assert listed(work, metadata={key: odd}) == [wanted], key
        assert listed(work, metadata={key: "%"}) == []
        assert listed(work, metadata={key: ""}) == []


# --- one job -------------------------------------------------------------------------------------


ACTIONS = {
    "find": lambda session, owner, job_id: jobs.find(session, owner, job_id),
    "cancel": lambda session, owner, job_id: jobs.cancel(session, owner, job_id),
    "pause": lambda session, owner, job_id: jobs.pause(session, owner, job_id),
    "resume": lambda session, owner, job_id: jobs.resume(session, owner, job_id),
    "change": lambda session, owner, job_id: jobs.change(session, owner, job_id, {"priority": 1}),
    "remove": lambda session, owner, job_id: jobs.remove(session, owner, job_id),
}


FILTERS: list[dict] = [
    {"statuses": ["queued", "paused"]},
    {"dataset": "cats"},
    {"statuses": ["cancelled", "queued", "queued"], "dataset": "cats"},
    {"metadata": {"even": "yes"}},
    {"statuses": ["queued", "cancelled"], "dataset": "cats", "metadata": {"even": "yes", "all": "yes"}},
]


def test_filtered_pages_list_each_job_once_newest_first(work):
    """Several statuses and versions are looked up one by one, and combined in the list's order."""
    cats = [add_dataset(work.database, "cats", ALICE, version) for version in (1, 2, 3)]
    with work.database.read() as session:
        versions = [work.dataset, *(session.get_one(DatasetRow, version) for version in cats)]
    made = []
    for number in range(24):
        labels = {"all": "yes", **({"even": "yes"} if number % 2 == 0 else {})}
        job_id = work.submit(dataset=versions[number % 4], metadata=labels)
        status = ("queued", "paused", "cancelled")[number % 3]
        if status != "queued":
            (work.pause if status == "paused" else work.cancel)(job_id)
        made.insert(0, (job_id, status, number % 4 > 0, labels))
    for filters in FILTERS:
        assert all_pages(work, 3, **filters) == [
            job_id
            for job_id, status, is_cats, labels in made
            if status in filters.get("statuses", [status])
            and (is_cats or "dataset" not in filters)
            and filters.get("metadata", {}).items() <= labels.items()
        ], filters


def test_no_one_reaches_a_missing_job_or_that_of_another_owner(work):
    job_id = work.submit(ALICE)
    for act in ACTIONS.values():
        with work.unchanged(job_id):
            for owner, asked in ((BOB, job_id), (ALICE, job_id + "x"), (ALICE, ""), (ALICE, "%")):
                with pytest.raises(JobNotFound), work.database.write() as session:
                    act(session, owner, asked)


def test_a_job_is_stored_as_it_was_accepted(work):
    job_id = work.submit(priority=-4, metadata={"ä": "€"}, limits={"max_pending_s": 100}, resources={"device": "cpu"})
    with work.database.read() as session:
        row = jobs.find(session, ALICE, job_id)
        dataset = jobs.get_dataset(session, row)
    assert (row.kind, row.owner, row.name, row.status, row.version) == ("train", ALICE, "a job", JobStatus.QUEUED, 1)
    assert (row.priority, row.user_metadata, row.device, row.parameters) == (-4, {"ä": "€"}, "cpu", 10)
    assert (row.attempt, row.failures, row.epoch, row.epochs, row.last_event) == (0, 0, 0, 10, 1)
    assert (row.stop_reason, row.error, row.request, row.engine, row.retry_of) == (None,) * 5
    assert (row.started_at, row.finished_at, row.available_at) == (None,) * 3
    assert 99 < (row.pending_until - row.queued_at).total_seconds() <= 101
    assert dataset.id == work.dataset.id
    assert work.event_types(job_id) == ["job.queued"]


def test_the_datasets_of_many_jobs_are_found_together(work):
    rows = [work.row(work.submit()), work.row(work.submit())]
    with work.database.read() as session:
        assert {id_: row.name for id_, row in jobs.get_datasets(session, rows).items()} == {work.dataset.id: "dots"}
        assert jobs.get_datasets(session, []) == {}


def test_versions_show_what_changed_and_what_has_ended(work):
    held, queued = work.running(), work.submit()
    with work.database.read() as session:
        before = jobs.get_versions(session, [held.job_id, queued, "job_unknown"])
    assert before == {held.job_id: (2, False, 2), queued: (1, False, 1)}
    work.succeed(held)
    with work.database.read() as session:
        after = jobs.get_versions(session, [held.job_id, queued])
        assert jobs.get_versions(session, []) == {}
    assert after == {held.job_id: (3, True, 3), queued: (1, False, 1)}


def test_versions_of_thousands_of_jobs_are_found_together(work):
    job_id = work.submit()
    with work.database.read() as session:
        found = jobs.get_versions(session, [job_id, *(f"job_{number}" for number in range(3000))])
    assert list(found) == [job_id]


# --- the queue -----------------------------------------------------------------------------------


def test_the_number_of_jobs_ahead_is_that_of_jobs_claimed_before(work):
    ids = [work.submit(priority=priority) for priority in (0, 3, -2, 3, 0)]
    work.submit(BOB, priority=50)
    work.set(ids[4], queued_at=work.row(ids[0]).queued_at)
    work.running(priority=100)
    with work.database.read() as session:
        ahead = {job_id: jobs.count_ahead_of(session, work.row(job_id)) for job_id in ids}
    work.claim()  # Bob's
    order = [work.claim().held.job_id for _ in ids]
    assert [ahead[job_id] for job_id in order] == [0, 1, 2, 3, 4], "only the owner's jobs count"
    with work.database.read() as session:
        assert jobs.count_ahead_of(session, work.row(ids[0])) is None


def test_a_backoff_is_distinguished_from_a_wait_for_a_worker(work):
    job_id = work.submit()

    def waits() -> bool:
        with work.database.read() as session:
            return jobs.waits_for_backoff(session, work.row(job_id))

    assert not waits()
    work.set(job_id, available_at=db_now(60))
    assert waits()
    work.set(job_id, available_at=db_now(-1))
    assert not waits()


def test_jobs_that_have_not_ended_are_counted_over_all_owners_from_an_index_of_them(work):
    work.pause(work.submit(BOB), BOB)
    work.running()
    work.cancel(work.submit(ALICE))
    work.submit(ALICE)
    statements: list[tuple[str, Any]] = []
    with work.database.read() as session:
        event.listen(session.get_bind(), "before_cursor_execute", lambda *about: statements.append(about[2:4]))
        counted = sorted(jobs.count_unfinished(session))
        assert counted == [("train", "paused", 1), ("train", "queued", 1), ("train", "running", 1)]
        [(sql, values)] = [found for found in statements if found[0].startswith("SELECT")]
        if session.get_bind().dialect.name == "postgresql":  # which reads small tables as a whole unless it must not
            session.connection().exec_driver_sql("SET LOCAL enable_seqscan = off")
            plan = session.connection().exec_driver_sql(f"EXPLAIN {sql}", values).all()
        else:
            plan = session.connection().exec_driver_sql(f"EXPLAIN QUERY PLAN {sql}", values).all()
        assert "ix_jobs_unfinished" in str(plan)
