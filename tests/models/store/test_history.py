"""A job's metrics over its attempts: epochs that a later attempt repeats are shown once."""

import pytest
from sqlalchemy import insert
from sqlalchemy.exc import IntegrityError

from analysis.reports.courses import EpochFigures
from heldout.errors import LeaseLost
from models.store import metrics
from models.tables import EpochRow
from tests.models.work import Work

FIGURES = (
    "train_loss",
    "train_accuracy",
    "validation_loss",
    "validation_accuracy",
    "test_loss",
    "test_accuracy",
    "fit_loss",
    "fit_accuracy",
    "learning_rate",
    "seconds",
    "evaluation_seconds",
    "images_per_second",
)


def test_every_figure_comes_back_exactly(work: Work):
    held = work.running()
    values = {figure: 0.1 + number / 3 for number, figure in enumerate(FIGURES)}
    work.epoch(held, 1, **values)
    with work.database.read() as session:
        [row] = metrics.list_epochs(session, held.job_id)
    assert {figure: getattr(row, figure) for figure in FIGURES} == values


def test_a_figure_that_was_not_measured_or_not_finite_is_null(work: Work):
    held = work.running()
    work.epoch(held, 1, train_loss=None, train_accuracy=0.5)
    with work.database.read() as session:
        [row] = metrics.list_epochs(session, held.job_id)
    assert (row.train_loss, row.train_accuracy, row.test_loss) == (None, 0.5, None)


def test_epochs_are_listed_in_order_and_only_of_this_job(work: Work):
    held, other = work.running(), work.running()
    work.epoch(other, 1)
    for epoch in (2, 10, 1):
        work.epoch(held, epoch)
    assert work.history(held.job_id) == [(1, 1), (1, 2), (1, 10)]


def test_an_attempt_writes_an_epoch_once_and_learns_whether_it_did(work: Work):
    held = work.running()
    assert work.epoch(held, 1, train_loss=0.5)
    with work.unchanged(held.job_id):
        assert not work.epoch(held, 1, train_loss=0.5)
    assert work.epoch(work.claimed_again(held), 1, train_loss=0.5)


def test_rows_past_the_start_of_a_later_attempt_are_hidden(work: Work):
    first = work.running()
    work.begin(first)
    for epoch in (1, 2, 3, 4):
        work.epoch(first, epoch)
    second = work.claimed_again(first)
    assert work.history(first.job_id) == [
        (1, 1),
        (1, 2),
        (1, 3),
        (1, 4),
    ]  # its start is not known yet
    work.begin(second, start_epoch=2)
    assert work.history(first.job_id) == [(1, 1), (1, 2)]
    work.epoch(second, 3)
    assert work.history(first.job_id) == [(1, 1), (1, 2), (2, 3)]
    third = work.claimed_again(second)
    work.begin(third, start_epoch=1)
    work.epoch(third, 2)
    assert work.history(first.job_id) == [(1, 1), (3, 2)]


def test_an_attempt_that_begins_from_scratch_hides_all_earlier_epochs(work: Work):
    first = work.running()
    work.begin(first)
    work.epoch(first, 1)
    second = work.claimed_again(first)
    work.begin(second, start_epoch=0)
    assert work.history(first.job_id) == []
    assert len(work.stored(first.job_id)["epochs"]) == 1  # hidden, not deleted


def test_an_epoch_of_a_zombie_is_never_shown(work: Work):
    stale = work.running()
    work.begin(stale)
    current = work.claimed_again(stale)
    work.begin(current)
    work.epoch(current, 1, train_loss=0.25)
    with pytest.raises(LeaseLost):
        work.epoch(stale, 1, train_loss=9.0)
    with pytest.raises(LeaseLost):
        work.epoch(stale, 2, train_loss=9.0)
    with work.database.read() as session:
        assert [(row.attempt, row.train_loss) for row in metrics.list_epochs(session, stale.job_id)] == [(2, 0.25)]


def test_curves_of_many_jobs_are_those_of_each_job(work: Work):
    resumed, other, without = work.running(), work.running(), work.running()
    for held in (resumed, other, without):
        work.begin(held)
    for epoch in (1, 2):
        work.epoch(resumed, epoch, train_loss=9.0, validation_accuracy=0.1 * epoch)
        work.epoch(other, epoch, train_loss=0.5)
    again = work.claimed_again(resumed)
    work.begin(again, start_epoch=1)
    work.epoch(again, 2, train_loss=0.25, validation_loss=0.75)
    with work.database.read() as session:
        ids = [held.job_id for held in (resumed, other, without)]
        curves = metrics.get_curves(session, ids)
        alone = {job: metrics.list_epochs(session, job) for job in ids[:2]}
    assert curves.keys() == alone.keys()
    for job, rows in alone.items():
        assert [figures._asdict() for figures in curves[job]] == [
            {name: getattr(row, name) for name in EpochFigures._fields} for row in rows
        ]
    assert [figures.train_loss for figures in curves[resumed.job_id]] == [9.0, 0.25]


def test_an_unknown_figure_is_refused_and_nothing_is_written(work: Work):
    held = work.running()
    with work.unchanged(held.job_id), pytest.raises(Exception, match="no_such_figure"):
        work.epoch(held, 1, no_such_figure=1.0)


def test_metrics_cannot_belong_to_a_missing_attempt(work: Work):
    """The foreign key is also enforced on SQLite."""
    held = work.running()
    with pytest.raises(IntegrityError), work.database.write() as session:
        session.execute(insert(EpochRow).values(job_id=held.job_id, attempt=7, epoch=1))
