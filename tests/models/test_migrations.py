"""Migrations: up, down and without drift, with running jobs in the tables, by several processes at once."""

import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from alembic import command
from alembic.script import ScriptDirectory
from sqlalchemy import inspect, text
from sqlalchemy.exc import IntegrityError

from heldout.errors import DatabaseUnavailable, OperatorError
from heldout.lifecycle import JobStatus, StopReason
from models import migrations
from models.database import Database
from models.store import claims, jobs
from models.store.claims import Result
from models.store.narrowing import Filters
from models.tables import Base
from tests.models.work import ALICE, Work, result

# The revision before a job's files had rows of their own.
BEFORE_ARTIFACTS = "0006"

# A later release that changes a column of `jobs`, which SQLite does by making the table anew.
LATER = """
import sqlalchemy as sa
from alembic import op

revision = "later"
down_revision = "{newest}"


def upgrade():
    with op.batch_alter_table("jobs") as jobs:
        jobs.alter_column("worker", existing_type=sa.String(128), type_=sa.String(200))
        jobs.add_column(sa.Column("note", sa.String(20), nullable=False, server_default="unread"))


def downgrade():
    with op.batch_alter_table("jobs") as jobs:
        jobs.drop_column("note")
        jobs.alter_column("worker", existing_type=sa.String(200), type_=sa.String(128))
"""
BROKEN = LATER.replace('unread"))\n', 'unread"))\n    op.execute("INSERT INTO no_such_table VALUES (1)")\n')


@pytest.fixture
def empty(empty_database_url):
    database = Database(empty_database_url)
    yield database
    database.dispose()


@pytest.fixture
def release(monkeypatch, tmp_path):
    """Adds a migration after the newest one, as a later release would."""

    def add(migration: str) -> None:
        folder = shutil.copytree(migrations.FOLDER, tmp_path / "alembic")
        file = folder / "versions" / "later.py"
        file.write_text(migration.format(newest=migrations.newest()))
        monkeypatch.setattr(migrations, "FOLDER", folder)

    return add


def run(database: Database, act, *arguments: str) -> None:
    config = migrations._config()
    with migrations.migrating(database) as connection:
        config.attributes["connection"] = connection
        act(config, *arguments)


def tables(database: Database) -> set[str]:
    return set(inspect(database.engine).get_table_names()) - {"alembic_version"}


def test_an_empty_database_is_brought_to_the_newest_revision(empty):
    assert migrations.current(empty) is None
    assert migrations.upgrade(empty) == migrations.newest()
    assert migrations.current(empty) == migrations.newest()
    assert tables(empty) == set(Base.metadata.tables)


def test_the_tables_and_the_migrations_say_the_same(empty):
    migrations.upgrade(empty)
    run(empty, command.check)


def test_every_revision_goes_down_and_up_again(empty):
    revisions = [script.revision for script in ScriptDirectory(str(migrations.FOLDER)).walk_revisions()]
    assert revisions[0] == migrations.newest()
    migrations.upgrade(empty)
    for revision in [*revisions[1:], "base"]:
        run(empty, command.downgrade, revision)
        assert migrations.current(empty) == (None if revision == "base" else revision)
    assert tables(empty) == set()
    migrations.upgrade(empty)
    assert tables(empty) == set(Base.metadata.tables)
    run(empty, command.check)


def test_upgrading_what_is_newest_changes_nothing(work):
    held = work.running()
    work.epoch(held, 1, train_loss=0.5)
    with work.unchanged(held.job_id):
        assert migrations.upgrade(work.database) == migrations.newest()


def test_a_database_of_a_later_release_is_refused_and_left_as_it_is(work):
    held = work.running()
    with work.database.write() as session:
        session.execute(text("UPDATE alembic_version SET version_num = 'later'"))
    with work.unchanged(held.job_id), pytest.raises(OperatorError, match="later than this release's"):
        migrations.upgrade(work.database)
    assert migrations.current(work.database) == "later"


def test_processes_that_migrate_at_once_do_it_once(empty_database_url):
    def upgrade(_: int) -> str:
        database = Database(empty_database_url)
        try:
            return migrations.upgrade(database)
        finally:
            database.dispose()

    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(upgrade, range(4))) == {migrations.newest()}


def test_a_database_with_running_jobs_is_upgraded_and_they_go_on(work: Work, release):
    """The worker of the old release is still training; what hangs off the job's row stays."""
    held = work.running()
    work.begin(held)
    work.epoch(held, 1, train_loss=0.5)
    work.checkpoint(held, 1)
    queued = work.submit()
    before = {job_id: work.stored(job_id) for job_id in (held.job_id, queued)}
    release(LATER)
    assert migrations.upgrade(work.database) == "later"
    assert {job_id: work.stored(job_id) for job_id in before} == before
    with work.database.read() as session:
        assert session.scalars(text("SELECT note FROM jobs")).all() == ["unread", "unread"]
    with work.database.write() as session:
        assert claims.renew(session, "worker", [held], 60) == {held}
    work.epoch(held, 2, train_loss=0.4)
    assert work.succeed(held) is JobStatus.SUCCEEDED
    assert work.claim().held.job_id == queued
    run(work.database, command.downgrade, "-1")
    assert work.row(held.job_id).status is JobStatus.SUCCEEDED
    assert len(work.stored(held.job_id)["epochs"]) == 2


def test_jobs_that_were_there_are_found_by_their_metadata(work: Work):
    """They had no rows by which lists find them."""
    bearing = work.submit(metadata={"team": "ключ", "run": "1"})
    work.submit(metadata={"team": "b"})
    run(work.database, command.downgrade, "0002")
    migrations.upgrade(work.database)
    with work.database.read() as session:
        filters = Filters(metadata={"team": "ключ", "run": "1"})
        found, _ = jobs.page(session, ALICE, filters, after=None, limit=10)
    assert [row.id for row in found] == [bearing]


def test_files_of_earlier_results_become_artifacts_and_columns_again(work: Work):
    """Up and down with a result of each, beside a job that has none."""
    first, second, running = work.running(), work.running(), work.running()
    second = work.claimed_again(second)
    for held in (first, second):
        work.succeed(held)
    before = {held: work.stored(held.job_id) for held in (first, second, running)}
    run(work.database, command.downgrade, BEFORE_ARTIFACTS)
    with work.database.read() as session:
        columns = session.execute(text("SELECT job_id, model_key, predictions_key FROM results")).all()
    assert {tuple(row) for row in columns} == {
        (held.job_id, *(f"jobs/{held.job_id}/{held.attempt}/{name}" for name in ("model.keras", "predictions.npz")))
        for held in (first, second)
    }
    with pytest.raises(IntegrityError), work.database.write() as session:
        session.execute(text("UPDATE results SET model_key = NULL"))
    migrations.upgrade(work.database)
    for held, rows in before.items():
        unmeasured = [{**row, "size_bytes": None, "sha256": None} for row in rows["artifacts"]]
        assert work.stored(held.job_id)["artifacts"] == unmeasured
    assert len(before[first]["artifacts"]) == 3
    assert before[running]["artifacts"] == []


def test_jobs_that_had_succeeded_get_a_summary_from_their_epochs_and_result(work: Work):
    held, failed = work.running(), work.running()
    for epoch, loss in ((1, 0.7), (2, 0.1), (3, 0.6)):
        work.epoch(held, epoch, validation_loss=loss, validation_accuracy=1 - loss)
    held = work.claimed_again(held)
    work.begin(held, start_epoch=1)
    for epoch, loss in ((2, 0.5), (3, 0.5), (4, None), (5, 0.9)):  # the epochs 2 and 3 of before are hidden
        work.epoch(held, epoch, validation_loss=loss, validation_accuracy=0.5)
    gap = {"validation": {"accuracy": 0.1, "loss": 0.2}, "test": None}
    with work.database.write() as session:
        done = Result({"gap": gap}, result(held).artifacts)
        claims.succeed(session, held, result=done, stop_reason=StopReason.COMPLETED)
    work.fail(failed, "diverged")
    run(work.database, command.downgrade, BEFORE_ARTIFACTS)
    migrations.upgrade(work.database)
    best = {"epoch": 2, "validation_loss": 0.5, "validation_accuracy": 0.5}
    assert work.row(held.job_id).summary == {"best": best, "gap": gap, "verdict": None}
    assert work.row(failed.job_id).summary is None


def test_more_results_than_are_read_at_once_are_migrated(work: Work):
    held = work.running()
    work.succeed(held)
    run(work.database, command.downgrade, BEFORE_ARTIFACTS)
    count = 1200
    with work.database.write() as session:
        for table in ("jobs", "results"):
            columns = [one["name"] for one in inspect(session.connection()).get_columns(table)]
            key = "id" if table == "jobs" else "job_id"
            chosen = ", ".join(f"{key} || :suffix" if name == key else f'"{name}"' for name in columns)
            quoted = ", ".join(f'"{name}"' for name in columns)
            session.execute(
                text(f"INSERT INTO {table} ({quoted}) SELECT {chosen} FROM {table} WHERE {key} = :id"),
                [{"suffix": f"-{number}", "id": held.job_id} for number in range(count)],
            )
    migrations.upgrade(work.database)
    with work.database.read() as session:
        found = session.execute(text("SELECT count(*), count(DISTINCT job_id) FROM artifacts")).one()
        summed = session.scalar(text("SELECT count(*) FROM jobs WHERE summary IS NOT NULL"))
    assert tuple(found) == (3 * (count + 1), count + 1)
    assert summed == count + 1


def test_foreign_keys_hold_again_after_a_migration(work: Work, release):
    release(LATER)
    migrations.upgrade(work.database)
    held = work.running()
    work.succeed(held)
    with work.database.write() as session:
        session.execute(text("DELETE FROM jobs"))
    assert not any(work.stored(held.job_id).values())


def test_a_migration_that_breaks_leaves_the_database_as_it_was(work: Work, release):
    held = work.running()
    work.epoch(held, 1, train_loss=0.5)
    newest = migrations.newest()
    release(BROKEN)
    with work.unchanged(held.job_id), pytest.raises(Exception, match=r"does not answer|no_such_table"):
        migrations.upgrade(work.database)
    assert migrations.current(work.database) == newest
    assert "note" not in {column["name"] for column in inspect(work.database.engine).get_columns("jobs")}
    assert work.succeed(held) is JobStatus.SUCCEEDED


def test_a_database_that_is_not_there_is_unavailable(tmp_path: Path):
    database = Database(f"sqlite:///{tmp_path / 'missing' / 'x.db'}")
    with pytest.raises(DatabaseUnavailable):
        migrations.upgrade(database)
    with pytest.raises(DatabaseUnavailable):
        migrations.current(database)
