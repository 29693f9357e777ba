"""Migrations of a database while a service uses it."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from alembic import command
from sqlalchemy import Connection, Engine, text

from models import migrations
from models.database import Database
from tests.e2e.running import until
from tests.servers_fixtures import empty_postgres

# Later revisions change `datasets`, then `jobs`, then `label_reads`.
BEFORE = "0011"


@pytest.fixture
def database(postgres_admin: Engine) -> Iterator[Database]:
    with empty_postgres(postgres_admin) as url:
        made = Database(url)
        config = migrations.make_alembic_config()
        with migrations.migrating(made) as connection:
            config.attributes["connection"] = connection
            command.upgrade(config, BEFORE)
        yield made
        made.dispose()


def read(connection: Connection, table: str) -> int:
    """Count rows in a transaction, which prevents changes of the table until it ends."""
    return int(connection.execute(text(f"SELECT count(*) FROM {table}")).scalar_one())


def until_it_waits_for(admin: Engine, table: str) -> None:
    query = text("SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = to_regclass(:name)")

    def waits() -> bool:
        with admin.connect() as connection:
            return bool(connection.execute(query, {"name": table}).scalar_one())

    until(waits, f"a transaction that waits for {table}")


def test_a_migration_that_is_in_a_deadlock_with_work_is_repeated(database: Database) -> None:
    engine = database.engine
    in_transactions = engine.execution_options(writes=True)
    with ThreadPoolExecutor(2) as pool, in_transactions.connect() as working, in_transactions.connect() as reading:
        working.execute(text("SET deadlock_timeout = '1min'"))  # so that PostgreSQL aborts the migration
        read(working, "label_reads")
        read(reading, "jobs")
        migrated = pool.submit(migrations.upgrade, database)
        until_it_waits_for(engine, "jobs")
        worked = pool.submit(read, working, "datasets")
        until_it_waits_for(engine, "datasets")
        reading.rollback()  # the migration continues with `label_reads`
        assert worked.result(240) == 0
        working.rollback()
        assert migrated.result(240) == migrations.get_newest()
    assert migrations.get_current(database) == migrations.get_newest()
