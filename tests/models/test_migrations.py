"""Migrations run up and down and without drift, with running jobs in the tables, and in several processes at once."""

import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path

import pytest
from alembic import command
from alembic.script import ScriptDirectory
from sqlalchemy import inspect, text
from sqlalchemy.exc import IntegrityError

from heldout.access.rights import Quota
from heldout.errors import DatabaseUnavailable, OperatorError
from heldout.lifecycle.job import JobStatus, StopReason
from heldout.spec.dataset import DatasetSpec
from heldout.views.job import JobView
from heldout.work.kinds import KINDS_BESIDE_SLOTS, IngestSpec
from models import migrations
from models.database import Database, Limits
from models.store import claims, events, models, new_jobs, owner_events, quotas, relations
from models.store.claims import Capacity, Result
from models.store.listing import Filters
from models.store.new_jobs import NewJob
from models.tables import Base, DatasetRow, DeliveryRow, JobRow, ModelRow, WebhookRow
from models.views.dataset import build_dataset_view
from tests.models.work import ALICE, Work, final_of, page_of_jobs, result, spec

# The revision before a job's files had their own rows.
BEFORE_ARTIFACTS = "0007"
# The revision before reads of held-out labels were counted.
BEFORE_LEDGER = "0010"

LONG_AGO = "2026-01-01T00:00:00.000Z"

# A later release that changes a column of `jobs`, for which SQLite recreates the table.
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
    """Adds a migration after the newest, as a later release would."""

    def add(migration: str) -> None:
        folder = shutil.copytree(migrations.FOLDER, tmp_path / "alembic")
        file = folder / "versions" / "later.py"
        file.write_text(migration.format(newest=migrations.get_newest()))
        monkeypatch.setattr(migrations, "FOLDER", folder)

    return add


def run(database: Database, act, *arguments: str) -> None:
    config = migrations.make_alembic_config()
    with migrations.migrating(database) as connection:
        config.attributes["connection"] = connection
        act(config, *arguments)


def insert_row(session, table: str, **row: object) -> None:
    values = ", ".join(f":{name}" for name in row)
    session.execute(text(f"INSERT INTO {table} ({', '.join(row)}) VALUES ({values})"), row)


def insert_job(session, **row: object) -> None:
    counts = dict.fromkeys(("priority", "failures", "runtime_s", "epoch"), 0)
    shared = {"name": "x", "version": 1, "metadata": "{}", "epochs": 1, "created_at": LONG_AGO, "queued_at": LONG_AGO}
    insert_row(session, "jobs", **shared, **counts, **row)


def insert_delivery(session, **row: object) -> None:
    insert_row(
        session, "webhook_deliveries", status="pending", attempts=0, fence=0, log="[]", created_at=LONG_AGO, **row
    )


def read_json(value):
    """Return the content of a JSON column, which SQLite returns as text in raw queries."""
    return json.loads(value) if isinstance(value, str) else value


def tables(database: Database) -> set[str]:
    return set(inspect(database.engine).get_table_names()) - {"alembic_version"}


def test_an_empty_database_is_brought_to_the_newest_revision(empty):
    assert migrations.get_current(empty) is None
    assert migrations.upgrade(empty) == migrations.get_newest()
    assert migrations.get_current(empty) == migrations.get_newest()
    assert tables(empty) == set(Base.metadata.tables)


def test_the_tables_match_the_migrations(empty):
    migrations.upgrade(empty)
    run(empty, command.check)


def test_every_revision_goes_down_and_up_again(empty):
    revisions = [script.revision for script in ScriptDirectory(str(migrations.FOLDER)).walk_revisions()]
    assert revisions[0] == migrations.get_newest()
    migrations.upgrade(empty)
    for revision in [*revisions[1:], "base"]:
        run(empty, command.downgrade, revision)
        assert migrations.get_current(empty) == (None if revision == "base" else revision)
    assert tables(empty) == set()
    migrations.upgrade(empty)
    assert tables(empty) == set(Base.metadata.tables)
    run(empty, command.check)


def test_upgrading_the_newest_revision_changes_nothing(work):
    held = work.running()
    work.epoch(held, 1, train_loss=0.5)
    with work.unchanged(held.job_id):
        assert migrations.upgrade(work.database) == migrations.get_newest()


def test_a_database_of_a_later_release_is_refused_and_not_changed(work):
    held = work.running()
    with work.database.write() as session:
        session.execute(text("UPDATE alembic_version SET version_num = 'later'"))
    with work.unchanged(held.job_id), pytest.raises(OperatorError, match="later than this release's"):
        migrations.upgrade(work.database)
    assert migrations.get_current(work.database) == "later"


def test_tables_of_another_release_are_refused(database):
    migrations.require_newest(database)
    with database.write() as session:
        session.execute(text("UPDATE alembic_version SET version_num = '0000'"))
    with pytest.raises(OperatorError, match=f"is at revision 0000, but this release needs {migrations.get_newest()}"):
        migrations.require_newest(database)


def test_concurrent_processes_migrate_once(empty_database_url):
    def upgrade(_: int) -> str:
        database = Database(empty_database_url, limits=Limits(sqlite_busy_ms=60_000))
        try:
            return migrations.upgrade(database)
        finally:
            database.dispose()

    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(upgrade, range(4))) == {migrations.get_newest()}


def test_a_database_with_running_jobs_is_upgraded_and_they_continue(work: Work, release):
    """A worker of the old release is still training. Rows that refer to the job's row must stay."""
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


def test_existing_large_rows_are_bounded_and_counted(work: Work):
    """These are an uploaded model with 21 MB of facts, a version with its changes, and a job's spec."""
    wide = {f"{number}": "é" * 512 for number in range(8)}
    large, small = work.submit(metadata=wide), work.submit()
    run(work.database, command.downgrade, "0029")
    layer = {"name": "é" * 200, "type": "initializer", "weights": [[3, 3]]}
    facts = {
        "format": "onnx",
        "channels_first": False,
        "input_shape": [8, 8, 1],
        "output_shape": [2],
        "parameters": 9,
        "trainable_parameters": None,
        "feature_map": None,
        "made_by": "",
        "layers": [layer] * 5000,
    }
    derived_from = {"dataset": {"id": "ds_0", "name": "pets", "version": 1}, "changes": {"drop_copies": True}}
    model = {"id": "mod_1", "owner": ALICE, "name": "m", "status": "ready", "key": "models/mod_1", "size_bytes": 1}
    version = {"id": "ds_1", "owner": ALICE, "name": "pets", "version": 2, "status": "checking"}
    with work.database.write() as session:
        stored = {"facts": json.dumps(facts), "created_at": LONG_AGO}
        insert_row(session, "models", **model, sha256="0", check_job="job_1", **stored)
        insert_row(session, "datasets", **version, created_at=LONG_AGO, derived_from=json.dumps(derived_from))
    migrations.upgrade(work.database)
    with work.database.read() as session:
        found = session.get_one(ModelRow, "mod_1")
        assert "layers" not in found.facts
        assert len(json.dumps(found.layers, ensure_ascii=False).encode()) < 150_000
        assert models.get_facts(found).layers[0].name == "é" * 200
        version = session.get_one(DatasetRow, "ds_1")
        assert build_dataset_view(version).derived_from.model_dump() == derived_from
        assert build_dataset_view(version, with_changes=False).derived_from.changes is None
        assert quotas.get_used(session, ALICE, Quota.SPEC_BYTES) == session.get_one(JobRow, large).spec_bytes > 4096
        assert session.get_one(JobRow, small).spec_bytes is None
    run(work.database, command.downgrade, "0029")
    with work.database.read() as session:
        stored = session.execute(text("SELECT derived_from FROM datasets WHERE id = 'ds_1'")).scalar_one()
    assert read_json(stored) == derived_from
    migrations.upgrade(work.database)


def test_existing_jobs_are_found_by_their_metadata(work: Work):
    """Earlier releases did not store the rows by which lists find jobs."""
    matching = work.submit(metadata={"team": "ключ", "run": "1"})
    work.submit(metadata={"team": "b"})
    run(work.database, command.downgrade, "0002")
    migrations.upgrade(work.database)
    with work.database.read() as session:
        filters = Filters(metadata={"team": "ключ", "run": "1"})
        found, _ = page_of_jobs(session, ALICE, filters, after=None, limit=10)
    assert [row.id for row in found] == [matching]


def _known_to_all_releases(work: Work, job_id: str) -> list[dict]:
    """Return the job's rows without the version of the spec and its unset fields."""
    rows = work.stored(job_id)["jobs"]
    spec = [{name: value for name, value in row["spec"].items() if value not in (None, "")} for row in rows]
    return [{**row, "spec": own, "spec_version": None} for row, own in zip(rows, spec, strict=True)]


def test_jobs_of_all_kinds_keep_their_specs(work: Work):
    """In earlier releases the check of an upload had a made-up training spec, and the number of GPUs was in JSON."""
    check = IngestSpec(dataset=DatasetSpec(name="pets"), upload="uploads/ds_1/pets.zip", max_runtime_s=60.5)
    with work.database.write() as session:
        new_job = NewJob(spec=check, owner=ALICE, name="pets@1", dataset_id=work.dataset.id)
        checking = new_jobs.add(session, new_job).id
    asked = [{"gpus": 3}, {"device": "gpu"}, {"device": "cpu"}, {"device": "auto"}]
    ids = [checking, *(work.submit(resources=resources) for resources in asked)]
    work.set(checking, memory_bytes=None)  # earlier releases do not store it
    before = {job_id: _known_to_all_releases(work, job_id) for job_id in ids}
    assert [work.row(job_id).gpus for job_id in ids] == [0, 3, 1, 0, 0]

    run(work.database, command.downgrade, "0006")
    with work.database.read() as session:
        old = session.execute(text("SELECT * FROM jobs WHERE kind = 'ingest'")).mappings().one()
    old_spec = read_json(old["spec"])
    assert "gpus" not in old
    assert (old["device"], old_spec["resources"]) == ("auto", {"device": "auto"})
    assert old_spec["limits"] == {"max_runtime_s": 60.5}
    assert old_spec["dataset"] == check.dataset.model_dump(mode="json")

    migrations.upgrade(work.database)
    assert {job_id: _known_to_all_releases(work, job_id) for job_id in ids} == before
    assert work.claim().spec == check


def test_files_of_earlier_results_become_artifacts_and_on_downgrade_columns(work: Work):
    """The jobs have results of one and of two attempts, and none."""
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


def test_existing_succeeded_jobs_get_a_summary_from_their_epochs_and_result(work: Work):
    held, failed = work.running(), work.running()
    for epoch, loss in ((1, 0.7), (2, 0.1), (3, 0.6)):
        work.epoch(held, epoch, validation_loss=loss, validation_accuracy=1 - loss)
    held = work.claimed_again(held)
    work.begin(held, start_epoch=1)
    for epoch, loss in ((2, 0.5), (3, 0.5), (4, None), (5, 0.9)):  # the earlier epochs 2 and 3 are hidden
        work.epoch(held, epoch, validation_loss=loss, validation_accuracy=0.5)
    gap = {"validation": {"accuracy": 0.25, "loss": 0.2}, "test": None}
    with work.database.write() as session:
        done = Result(final_of(2, with_test=False), result(held).artifacts)
        claims.succeed(session, held, result=done, stop_reason=StopReason.COMPLETED)
    work.fail(failed, "diverged")
    run(work.database, command.downgrade, BEFORE_ARTIFACTS)
    migrations.upgrade(work.database)
    best = {"epoch": 2, "validation_loss": 0.5, "validation_accuracy": 0.5}
    assert work.row(held.job_id).summary == {"best": best, "gap": gap, "verdict": None}
    # Lists are sorted by these. Without a figure they are below any other.
    assert (work.row(held.job_id).sort_best, work.row(held.job_id).sort_gap) == (0.5, 0.25)
    assert (work.row(failed.job_id).sort_best, work.row(failed.job_id).sort_gap) == (-1, -2)
    assert work.row(failed.job_id).summary is None


def test_the_ledger_begins_with_the_reads_of_existing_jobs(work: Work):
    """They are what a worker of this release would have noted, but without digests of splits."""
    work.forget_digests()
    early = {"seed": 1, "early_stopping": {"monitor": "validation_loss", "patience": 3}}
    asked = {"training": early, "evaluation": {"test": "every_epoch"}}
    held = work.running(**asked)
    other = work.running()
    for epoch in (1, 2):
        work.epoch(held, epoch, validation_loss=0.5, test_loss=0.5)
    held = work.claimed_again(held)
    with work.database.write() as session:
        claims.record_start(session, held, engine={}, spec=spec(**asked), start_epoch=1)
    for epoch in (2, 3):
        work.epoch(held, epoch, validation_loss=0.5, test_loss=0.5)
    work.epoch(other, 1, validation_loss=0.5)
    for attempt, epoch in ((held, 2), (other, 1)):
        with work.database.write() as session:
            done = Result(final_of(epoch), result(attempt).artifacts)
            claims.succeed(session, attempt, result=done, stop_reason=StopReason.COMPLETED)
    query = (
        "SELECT owner, digest, subject_object, subject_id, epoch, split, what, dataset_id FROM label_reads"
        " ORDER BY subject_id, split, epoch"
    )
    before = contents(work.database, query)
    assert [row[4:7] for row in before] == [
        *((epoch, "test", "measured") for epoch in (1, 2, 3)),
        *((epoch, "validation", "selected") for epoch in (1, 2, 3)),
        *((1, split, "measured") for split in ("test", "validation")),
    ]
    run(work.database, command.downgrade, BEFORE_LEDGER)
    migrations.upgrade(work.database)
    assert contents(work.database, query) == before
    ended = contents(work.database, "SELECT finished_at FROM jobs ORDER BY id")
    read = contents(work.database, "SELECT DISTINCT created_at, subject_id FROM label_reads ORDER BY subject_id")
    assert [row[:1] for row in read] == ended


def test_more_results_than_one_batch_are_migrated(work: Work):
    held = work.running()
    work.succeed(held)
    run(work.database, command.downgrade, BEFORE_ARTIFACTS)
    count = 1200
    with work.database.write() as session:
        for table in ("jobs", "results"):
            columns = [column["name"] for column in inspect(session.connection()).get_columns(table)]
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


def test_foreign_keys_are_enforced_again_after_a_migration(work: Work, release):
    release(LATER)
    migrations.upgrade(work.database)
    held = work.running()
    work.succeed(held)
    with work.database.write() as session:
        session.execute(text("DELETE FROM jobs"))
    left = {table for table, rows in work.stored(held.job_id).items() if rows}
    assert left <= {"events"}, "events belong to subjects of any kind, so they have no foreign key"


def test_a_failing_migration_leaves_the_database_unchanged(work: Work, release):
    held = work.running()
    work.epoch(held, 1, train_loss=0.5)
    newest = migrations.get_newest()
    release(BROKEN)
    with work.unchanged(held.job_id), pytest.raises(Exception, match=r"does not answer|no_such_table"):
        migrations.upgrade(work.database)
    assert migrations.get_current(work.database) == newest
    assert "note" not in {column["name"] for column in inspect(work.database.engine).get_columns("jobs")}
    assert work.succeed(held) is JobStatus.SUCCEEDED


def test_a_missing_database_is_unavailable(tmp_path: Path):
    database = Database(f"sqlite:///{tmp_path / 'missing' / 'x.db'}")
    with pytest.raises(DatabaseUnavailable):
        migrations.upgrade(database)
    with pytest.raises(DatabaseUnavailable):
        migrations.get_current(database)


EVENTS_BEFORE = [  # job, number, minute
    ("job_b", 1, 0),
    ("job_a", 1, 1),
    ("job_b", 2, 3),
    ("job_b", 3, 2),  # a clock was set back
    ("job_check", 1, 1),
    ("job_eve", 1, 0),
    ("job_a", 2, 2),
]


INGEST_SPEC_BEFORE = {
    "dataset": {"name": "pets"},
    "upload": "uploads/ds_1/1",
    "resources": {"device": "auto"},
    "limits": {"max_runtime_s": 60},
}


@pytest.fixture
def at_0006(empty):
    """A database of revision 0006, with jobs of two owners, a check, events, webhooks and deliveries."""
    run(empty, command.upgrade, "0006")
    owners = {"job_a": ("train", ALICE), "job_b": ("train", ALICE), "job_check": ("ingest", ALICE)}
    with empty.write() as session:
        for job_id, (kind, owner) in {**owners, "job_eve": ("train", "eve")}.items():
            spec_before = json.dumps(INGEST_SPEC_BEFORE if kind == "ingest" else {})
            row = {"id": job_id, "kind": kind, "owner": owner, "spec": spec_before}
            insert_job(session, **row, status="queued", device="auto", attempt=0, last_event=3)
        for job_id, number, minute in EVENTS_BEFORE:
            event = {"job_id": job_id, "id": number, "type": "job.warning", "level": "info", "message": "m"}
            at = f"2026-01-01T00:0{minute}:00.000Z"
            insert_row(session, "events", **event, data='{"a": 1}', created_at=at)
        for webhook_id, wanted in (("wh_1", '["job.failed", "study.finished"]'), ("wh_2", '["study.finished"]')):
            hook = {"id": webhook_id, "owner": ALICE, "url": "https://x", "events": wanted, "enabled": True}
            insert_row(session, "webhooks", **hook, secret="s", created_at=LONG_AGO)
        delivery = {"id": "msg_1", "webhook_id": "wh_1", "type": "job.failed", "subject": "job_a"}
        insert_delivery(session, **delivery, payload=json.dumps(PAYLOAD_BEFORE))
    return empty


PAYLOAD_BEFORE = {
    "job": {
        "id": "job_a",
        "name": "a job",
        "status": "running",
        "request": "cancel",
        "stop_reason": None,
        "error": None,
        "version": 3,
        "spec": spec().model_dump(mode="json"),
        "dataset_id": "ds_1",
        "parameters": 5,
        "attempt": 1,
        "failures": 0,
        "retry_of": None,
        "study_id": None,
        "engine": {
            "device": "cpu",
            "threads": 1,
            "towers": 1,
            "precision": "float32",
            "python": "3.11.2",
            "tensorflow": "2.20.0",
            "keras": "3.15.0",
            "host": "here",
        },
        "epoch": 2,
        "epochs": 10,
        "eta_s": 1.5,
        "created_at": "2026-01-01T00:00:00.123000+00:00",
        "queued_at": "2026-01-01T00:00:00+00:00",
        "started_at": "2026-01-01T00:00:01+00:00",
        "finished_at": None,
    },
    "dataset": {"id": "ds_1", "name": "dots", "version": 1},
}


def contents(database: Database, query: str) -> list[tuple]:
    with database.read() as session:
        return [tuple(row) for row in session.execute(text(query))]


def test_existing_events_get_their_subject_and_their_owners_numbers(at_0006):
    migrations.upgrade(at_0006)
    rows = contents(at_0006, "SELECT subject_object, subject_id, id, owner, owner_number FROM events ORDER BY position")
    assert {row[0] for row in rows} == {"job"}
    assert sorted((row[1], row[2]) for row in rows) == sorted((job, number) for job, number, _ in EVENTS_BEFORE)
    of_alice = [(row[4], row[1], row[2]) for row in rows if row[3] == ALICE]
    in_order = [("job_b", 1), ("job_a", 1), ("job_a", 2), ("job_b", 2), ("job_b", 3)]
    assert of_alice == [(place, *event) for place, event in enumerate(in_order, 1)]
    assert [row[4] for row in rows if row[3] == "eve"] == [1]
    assert [row[3:] for row in rows if row[1] == "job_check"] == [(None, None)]
    with at_0006.write() as session:
        events.add(session, "job_a", "job.warning", "The next one.")
    with at_0006.write() as session:
        owner_events.number(session, ALICE)
    assert contents(at_0006, "SELECT owner_number, id FROM events WHERE message = 'The next one.'") == [(6, 4)]


def test_existing_webhooks_and_deliveries_keep_working(at_0006):
    migrations.upgrade(at_0006)
    with at_0006.read() as session:
        assert {row.id: row.events for row in session.query(WebhookRow)} == {"wh_1": ["job.failed"], "wh_2": []}
        delivery = session.get_one(DeliveryRow, "msg_1")
        assert (delivery.subject_object, delivery.subject_id) == ("job", "job_a")
        # It equals the view of the row, except for fields that later releases have added.
        view = JobView.model_validate(delivery.payload)
        added = dict.fromkeys(("most_accurate", "test_accuracy", "headline"))
        summary = delivery.payload["summary"] | added
        engine = delivery.payload["engine"] | {"features": None}
        later = {"trainable_parameters": None, "summary": summary, "engine": engine}
        assert view.model_dump(mode="json") == delivery.payload | later
        assert (view.status, view.progress.epoch, view.dataset.name) == ("cancelling", 2, "dots")
        assert delivery.payload["created_at"] == "2026-01-01T00:00:00.123Z"


def test_events_and_deliveries_are_restored_on_downgrade(at_0006):
    former = "SELECT job_id, id, type, level, message, data, created_at FROM events ORDER BY job_id, id"
    before = contents(at_0006, former)
    migrations.upgrade(at_0006)
    with at_0006.write() as session:
        session.execute(text("UPDATE webhooks SET events = '[\"job.failed\", \"dataset.ready\"]' WHERE id = 'wh_2'"))
        subject = {"type": "dataset.ready", "subject_object": "dataset", "subject_id": "ds_1"}
        insert_delivery(session, id="msg_2", webhook_id="wh_2", **subject, payload="{}")
    run(at_0006, command.downgrade, "0006")
    assert contents(at_0006, former) == before
    [(id_, subject, payload)] = contents(at_0006, "SELECT id, subject, payload FROM webhook_deliveries")
    payload = read_json(payload)
    for name in ("created_at", "queued_at", "started_at"):
        payload["job"][name] = datetime.fromisoformat(payload["job"][name])
    expected = PAYLOAD_BEFORE["job"] | {
        name: datetime.fromisoformat(PAYLOAD_BEFORE["job"][name]) for name in ("created_at", "queued_at", "started_at")
    }
    assert (id_, subject, payload) == ("msg_1", "job_a", PAYLOAD_BEFORE | {"job": expected})
    wanted = dict(contents(at_0006, "SELECT id, events FROM webhooks"))
    assert [read_json(wanted[id_]) for id_ in ("wh_1", "wh_2")] == [["job.failed"]] * 2
    migrations.upgrade(at_0006)
    run(at_0006, command.check)


def test_a_downgrade_removes_webhooks_and_deliveries_of_models(at_0006):
    migrations.upgrade(at_0006)
    subject = {"type": "evaluation.failed", "subject_object": "evaluation", "subject_id": "evl_1"}
    with at_0006.write() as session:
        session.execute(text("UPDATE webhooks SET events = '[\"model.ready\", \"study.finished\"]' WHERE id = 'wh_2'"))
        insert_delivery(session, id="msg_3", webhook_id="wh_2", **subject, payload="{}")
    run(at_0006, command.downgrade, "0022")
    [(wanted,)] = contents(at_0006, "SELECT events FROM webhooks WHERE id = 'wh_2'")
    assert read_json(wanted) == ["study.finished"]
    assert contents(at_0006, "SELECT id FROM webhook_deliveries WHERE id = 'msg_3'") == []
    migrations.upgrade(at_0006)
    run(at_0006, command.check)


# --- the copies of datasets ------------------------------------------------------------------------


@pytest.fixture
def at_0009(empty):
    """A database of revision 0009, with a ready dataset, and an ingest and a training on it."""
    run(empty, command.upgrade, "0009")
    with empty.write() as session:
        dataset = {"id": "ds_1", "name": "dots", "version": 1, "status": "ready", "sha256": "abc"}
        insert_row(session, "datasets", **dataset, splits='{"test": {"count": 2}}', created_at=LONG_AGO)
        for kind in ("train", "ingest"):
            row = {"id": f"job_{kind}", "kind": kind, "owner": ALICE, "spec": "{}", "dataset_id": "ds_1"}
            insert_job(session, **row, status="succeeded", device="cpu", attempt=1, last_event=1)
            insert_row(session, "attempts", job_id=f"job_{kind}", attempt=1, worker="w", started_at=LONG_AGO)
            event = {"subject_object": "job", "subject_id": f"job_{kind}", "id": 1, "type": "job.queued"}
            insert_row(session, "events", **event, level="info", message="m", data="{}", created_at=LONG_AGO)
    return empty


ROWS_AT_0009 = {
    "SELECT id, name, status, sha256 FROM datasets": [("ds_1", "dots", "ready", "abc")],
    "SELECT id FROM jobs ORDER BY id": [("job_ingest",), ("job_train",)],
    "SELECT job_id FROM attempts ORDER BY job_id": [("job_ingest",), ("job_train",)],
    "SELECT subject_id FROM events ORDER BY subject_id": [("job_ingest",), ("job_train",)],
}


def test_existing_datasets_get_a_job_that_finds_their_copies(at_0009):
    migrations.upgrade(at_0009)
    assert contents(at_0009, "SELECT relations_status FROM datasets") == [(None,)]
    with at_0009.write() as session:
        job_id = relations.queue_missing(session)
    assert contents(at_0009, f"SELECT dataset_id FROM jobs WHERE id = '{job_id}'") == [("ds_1",)]
    assert contents(at_0009, "SELECT relations_status FROM datasets") == [("queued",)]


def test_a_downgrade_removes_jobs_of_unknown_kinds(at_0009):
    migrations.upgrade(at_0009)
    with at_0009.write() as session:
        relations.queue_missing(session)
        assert claims.claim(session, "worker", Capacity(("cpu",), 0, KINDS_BESIDE_SLOTS), 60) is not None
    run(at_0009, command.downgrade, "0009")
    for query, rows in ROWS_AT_0009.items():
        assert contents(at_0009, query) == rows
    migrations.upgrade(at_0009)
    assert contents(at_0009, "SELECT relations_status FROM datasets") == [(None,)]
    run(at_0009, command.check)
