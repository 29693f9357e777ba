"""Sorted lists of jobs: every job once, in order, page by page, with any filters."""

import random

import pytest
from sqlalchemy import update

from heldout.errors import InvalidCursor
from heldout.stored.results import GapsView, GapView
from heldout.views.job import BestEpochView, SummaryView
from models.store import jobs
from models.store.listing import Filters, Sort, get_summary_columns
from models.tables import JobRow
from tests.models.work import ALICE, BOB, page_of_jobs

LAST = -10.0


def summary(best: float | None, to_test: float | None, to_validation: float | None) -> SummaryView:
    gaps = [None if gap is None else GapView(accuracy=gap, loss=0.1) for gap in (to_validation, to_test)]
    return SummaryView(
        best=None if best is None else BestEpochView(epoch=1, validation_loss=0.5, validation_accuracy=best),
        gap=None if gaps == [None, None] else GapsView(validation=gaps[0], test=gaps[1]),
    )


@pytest.fixture
def listed(work, database):
    """Name, best accuracy and gap of Alice's jobs by id. Many have equal values."""
    draw = random.Random(0)
    found = {}
    for number in range(24):
        metadata = {"team": "red" if number % 3 else "blue"}
        job_id = work.submit(name=draw.choice(["Pets 1", "pets 2", "100%_done", "cars"]), metadata=metadata)
        figures = [draw.choice([None, 0.25, 0.5, 0.75]) for _ in range(3)]
        with database.write() as session:
            session.execute(update(JobRow).where(JobRow.id == job_id).values(**get_summary_columns(summary(*figures))))
            name = session.get_one(JobRow, job_id).name
        best, to_test, to_validation = figures
        found[job_id] = (name, best, to_validation if to_test is None else to_test)
    work.submit(BOB, name="pets of another owner")
    return found


def pages(database, filters: Filters, sort: Sort) -> list[str]:
    ids, after = [], None
    while True:
        with database.read() as session:
            rows, more = page_of_jobs(session, ALICE, filters, after=after, limit=5, sort=sort)
            ids += [row.id for row in rows]
        if not more:
            return ids
        after = ids[-1]


def test_every_order_lists_each_job_once_with_any_filter(listed, database):
    orders = {
        Sort.CREATED: sorted(listed, reverse=True),
        Sort.NAME: sorted(listed, key=lambda job: (listed[job][0].encode(), job)),
        Sort.BEST: sorted(listed, key=lambda job: (LAST if (x := listed[job][1]) is None else x, job), reverse=True),
        Sort.GAP: sorted(listed, key=lambda job: (LAST if (x := listed[job][2]) is None else x, job), reverse=True),
    }
    red = {job_id for number, job_id in enumerate(listed) if number % 3}
    for sort, expected in orders.items():
        if sort is not Sort.NAME:  # the database orders names
            assert pages(database, Filters(), sort) == expected, sort
        assert sorted(pages(database, Filters(), sort)) == sorted(listed)
        some = pages(database, Filters(search="PETS", metadata={"team": "red"}), sort)
        assert set(some) == {job for job in listed if listed[job][0].lower().startswith("pets")} & red
        assert pages(database, Filters(search="0%_D"), sort) == [
            page for page in pages(database, Filters(), sort) if listed[page][0] == "100%_done"
        ]
        assert pages(database, Filters(statuses=["running"]), sort) == []
    names = [listed[page][0] for page in pages(database, Filters(), Sort.NAME)]
    assert [name for place, name in enumerate(names) if place == 0 or names[place - 1] != name] == list(
        dict.fromkeys(names)
    )


def test_a_page_cannot_follow_a_job_of_another_owner(listed, work, database):
    theirs = work.submit(BOB)
    with database.read() as session, pytest.raises(InvalidCursor, match="no longer exists"):
        jobs.list_page(session, ALICE, Filters(), after=theirs, limit=5, sort=Sort.GAP)
