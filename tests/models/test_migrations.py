"""Migrations: up, down and without drift, with running jobs in the tables, by several processes at once."""

import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from alembic import command
from alembic.script import ScriptDirectory
from sqlalchemy import inspect, text

from heldout.datasets import DatasetSpec
from heldout.errors import DatabaseUnavailable, OperatorError
from heldout.kinds import IngestSpec, JobKind
from heldout.lifecycle import JobStatus
from models import migrations
from models.database import Database
from models.ids import new_id
from models.store import claims, jobs, new_jobs
from models.store.narrowing import Filters
from models.tables import Base
from tests.models.work import ALICE, Work

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


def test_jobs_of_all_kinds_keep_what_they_are_asked_to_do(work: Work):
    """A check of an upload had a made-up training spec before, and GPUs were counted in a job's JSON."""
    check = IngestSpec(dataset=DatasetSpec(name="pets"), upload="uploads/ds_1/pets.zip", max_runtime_s=60.5)
    with work.database.write() as session:
        checking = new_jobs.add(
            session,
            job_id=new_id("job"),
            kind=JobKind.INGEST,
            owner=ALICE,
            name="pets@1",
            spec=check,
            dataset_id=work.dataset.id,
            priority=1000,
            device="cpu",
        ).id
    asked = [{"gpus": 3}, {"device": "gpu"}, {"device": "cpu"}, {"device": "auto"}]
    ids = [checking, *(work.submit(resources=resources) for resources in asked)]
    before = {job_id: work.stored(job_id) for job_id in ids}
    assert [work.row(job_id).gpus for job_id in ids] == [0, 3, 1, 0, 0]

    run(work.database, command.downgrade, "0006")
    with work.database.read() as session:
        old = session.execute(text("SELECT * FROM jobs WHERE kind = 'ingest'")).mappings().one()
    old_spec = json.loads(old["spec"]) if isinstance(old["spec"], str) else old["spec"]
    assert "gpus" not in old
    assert (old["device"], old_spec["resources"]) == ("auto", {"device": "auto"})
    assert old_spec["limits"] == {"max_runtime_s": 60.5}
    assert old_spec["dataset"] == check.dataset.model_dump(mode="json")

    migrations.upgrade(work.database)
    assert {job_id: work.stored(job_id) for job_id in ids} == before
    assert work.claim().spec == check


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
