"""The PostgreSQL of a home that `heldout up --stack` made, for commands that need its database beside or without it."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from pydantic import SecretStr

from heldout.database_urls import driver_url
from heldout.errors import DatabaseUnavailable
from heldout.settings import Settings
from host.child_server import LOOPBACK
from host.postgres import DATABASE, USER, PostgresServer
from models.database import Database
from models.migrations import current

FOLDER = "postgres"
# The line of PostgreSQL's own pid file that has its port.
PORT_LINE = 3


def is_of_home(settings: Settings) -> bool:
    """Whether the settings name no database of their own, so that it is the home's."""
    return settings.database == f"sqlite:///{settings.home_path / 'heldout.db'}"


def is_stack_home(settings: Settings) -> bool:
    """Whether the settings' database is that of a home which `heldout up --stack` has made."""
    home = settings.home_path
    has_server = (home / FOLDER / "data" / "PG_VERSION").exists()
    return is_of_home(settings) and has_server and not (home / "heldout.db").exists()


@contextmanager
def with_own_database(settings: Settings) -> Iterator[Settings]:
    """The settings, with the home's own PostgreSQL where it is a stack's: the one that runs, or one for this block."""
    if not is_stack_home(settings):
        yield settings
        return
    folder = settings.home_path / FOLDER
    running = _running(folder)
    if running is not None:
        yield on_database(settings, running)
        return
    with PostgresServer(folder) as server:
        yield on_database(settings, server.url)


def on_database(settings: Settings, url: str) -> Settings:
    """The settings with another database."""
    return settings.model_copy(update={"database_url": SecretStr(driver_url(url))})


def _running(folder: Path) -> str | None:
    """The URL of the server that runs in the folder; None if none answers."""
    with suppress(OSError, ValueError, IndexError):
        port = int((folder / "data" / "postmaster.pid").read_text().splitlines()[PORT_LINE])
        password = (folder / "password").read_text().strip()
        url = f"postgresql+psycopg://{USER}:{password}@{LOOPBACK}:{port}/{DATABASE}"
        database = Database(url)
        try:
            current(database)
        except DatabaseUnavailable:
            return None
        finally:
            database.dispose()
        return url
    return None
