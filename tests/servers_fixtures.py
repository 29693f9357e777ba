"""Databases, brokers and an object store for tests: real servers, started once a run, and a fresh database for each."""

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import Engine, create_engine, make_url, text

from heldout.service.database_urls import make_driver_url
from models import migrations
from models.database import Database, Limits
from tests.fast_databases import fast_databases
from tests.object_store import S3Server
from tests.servers import PostgresServer, RedisServer

TEMPLATE = "heldout_template"


@pytest.fixture(scope="session", autouse=True)
def _fast_databases() -> Iterator[None]:
    with fast_databases():
        yield


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """A PostgreSQL server of this run, not durable. A test that stops it starts it again."""
    with PostgresServer(durable=False) as server:
        yield server


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    """A Redis-protocol server of this run, not durable. A test that stops it starts it again."""
    with RedisServer(durable=False) as server:
        yield server


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """An S3-protocol server of this run. A test that freezes it lets it continue; stopping it loses its content."""
    with S3Server(tmp_path_factory.mktemp("s3") / "server.log") as server:
        yield server


@pytest.fixture
def s3_url(s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Yield an empty place in the object store, which our code finds by the environment."""
    for name, value in s3_server.environment.items():
        monkeypatch.setenv(name, value)
    yield s3_server.bucket()
    s3_server.resume()


@pytest.fixture(scope="session")
def postgres_url(request: pytest.FixtureRequest) -> str:
    """A PostgreSQL database whose user may create others: TEST_DATABASE_URL, or that of this run's own server."""
    given = os.environ.get("TEST_DATABASE_URL")
    return make_driver_url(given) if given else request.getfixturevalue("postgres_server").url


@pytest.fixture(scope="session")
def redis_url(request: pytest.FixtureRequest) -> str:
    """A broker: TEST_REDIS_URL, or this run's own server."""
    return os.environ.get("TEST_REDIS_URL") or request.getfixturevalue("redis_server").url


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated SQLite file to copy."""
    file = tmp_path_factory.mktemp("template") / "heldout.db"
    _migrate(f"sqlite:///{file}")
    return file


@pytest.fixture(scope="session")
def postgres_admin(postgres_url: str) -> Iterator[Engine]:
    """An engine that creates and drops databases, outside of transactions."""
    engine = create_engine(postgres_url, isolation_level="AUTOCOMMIT", pool_pre_ping=True)
    yield engine
    engine.dispose()


@pytest.fixture(scope="session")
def postgres_template(postgres_admin: Engine) -> Iterator[str]:
    """A migrated PostgreSQL database to copy."""
    with empty_postgres(postgres_admin, f"{TEMPLATE}_{secrets.token_hex(4)}") as url:
        _migrate(url)
        yield make_url(url).database or ""


@contextmanager
def empty_postgres(admin: Engine, name: str | None = None, template: str = "template1") -> Iterator[str]:
    """Create a database on `admin`'s server, yield its URL, and drop it at the end."""
    name = name or f"heldout_test_{secrets.token_hex(6)}"
    with admin.connect() as connection:
        connection.execute(text(f'CREATE DATABASE "{name}" TEMPLATE "{template}" STRATEGY file_copy'))
    try:
        yield admin.url.set(database=name).render_as_string(hide_password=False)
    finally:
        with admin.connect() as connection:
            connection.execute(text(f'DROP DATABASE "{name}" WITH (FORCE)'))


@pytest.fixture
def sqlite_url(sqlite_template: Path, tmp_path: Path) -> str:
    """A fresh migrated SQLite database."""
    return f"sqlite:///{shutil.copyfile(sqlite_template, tmp_path / 'heldout.db')}"


@pytest.fixture
def fresh_postgres_url(postgres_admin: Engine, postgres_template: str) -> Iterator[str]:
    """A fresh migrated PostgreSQL database."""
    with empty_postgres(postgres_admin, template=postgres_template) as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> str:
    """A fresh migrated database, once on SQLite and once on PostgreSQL."""
    url: str = request.getfixturevalue("sqlite_url" if request.param == "sqlite" else "fresh_postgres_url")
    return url


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A database without any table, once on SQLite and once on PostgreSQL."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'empty.db'}"
    else:
        with empty_postgres(request.getfixturevalue("postgres_admin")) as url:
            yield url


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """Sessions on a fresh migrated database. On a busy machine, writers to SQLite may wait long for their turn."""
    opened = Database(database_url, limits=Limits(sqlite_busy_ms=60_000))
    yield opened
    opened.dispose()


def _migrate(url: str) -> None:
    database = Database(url)
    migrations.upgrade(database)
    database.dispose()
