"""A job is found with its owner's key in one statement, which loads only what its view needs."""

import pytest
from sqlalchemy import event, select
from sqlalchemy.exc import InvalidRequestError
from sqlalchemy.inspection import inspect
from sqlalchemy.orm import load_only

from models.store import claims, jobs, keys, sessions
from models.tables import DatasetRow, JobRow
from models.views.job import DATASET_COLUMNS, JOB_COLUMNS, build_job_view
from tests.models.work import ALICE, BOB


@pytest.fixture
def key(database):
    with database.write() as session:
        return keys.make(session, ALICE)


@pytest.fixture
def failed(work, database):
    """A job that has every field a view can show."""
    held = work.running()
    work.begin(held)
    with database.write() as session:
        claims.record_progress(session, held, epoch=1, eta_s=3.0)
        claims.fail(session, held, code="diverged", detail="The loss is not finite.")
    return held.job_id


def test_one_statement_finds_a_keys_job_with_everything_that_its_view_needs(database, failed, key):
    statements = []
    with database.read() as session:
        event.listen(session.get_bind(), "before_cursor_execute", lambda *about: statements.append(about[2]))
        caller, found = sessions.find_with_key(session, key, failed)
        view = build_job_view(*found)
    assert [sql for sql in statements if sql.startswith("SELECT")] == statements[-1:]
    assert (caller.owner, view.id, view.error.code, view.progress.epoch) == (ALICE, failed, "diverged", 1)
    with database.read() as session:
        assert view == build_job_view(*jobs.find_with_dataset(session, ALICE, failed))


def test_only_the_columns_that_the_view_needs_are_loaded(database, failed, key):
    with database.read() as session:
        _, (job, dataset) = sessions.find_with_key(session, key, failed)
        loaded = set(inspect(job).dict) - {"_sa_instance_state"}, set(inspect(dataset).dict) - {"_sa_instance_state"}
        assert loaded == (set(JOB_COLUMNS), set(DATASET_COLUMNS))
        with pytest.raises(InvalidRequestError, match="user_metadata"):
            _ = job.user_metadata


def test_a_view_cannot_be_built_without_a_column_that_it_needs(database, failed):
    """Therefore the first test fails once a view needs a column that JOB_COLUMNS lacks."""
    for column in set(JOB_COLUMNS) - {"id", "dataset_id"}:  # these are always loaded
        others = [getattr(JobRow, name) for name in JOB_COLUMNS if name != column]
        query = select(JobRow, DatasetRow).join(DatasetRow, DatasetRow.id == JobRow.dataset_id)
        with database.read() as session:
            found = session.execute(query.options(load_only(*others, raiseload=True))).one()
            with pytest.raises(InvalidRequestError, match=column):
                build_job_view(*found)


def test_another_owners_job_is_not_found(work, database, key):
    job_id = work.submit(BOB)
    with database.read() as session:
        caller, found = sessions.find_with_key(session, key, job_id)
    assert (caller.owner, found) == (ALICE, None)


def test_an_unknown_key_finds_nothing(work, database):
    job_id = work.submit()
    with database.read() as session:
        for key in ("", "ho_a_b", "nonsense"):
            assert sessions.find_with_key(session, key, job_id) == (None, None)
