"""The PostgreSQL of a home that `heldout up --stack` made, for commands that need its database beside or without it."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from pydantic import SecretStr

from heldout.errors import DatabaseUnavailable, OperatorError
from heldout.service.database_urls import driver_url, sqlite_file
from heldout.service.settings import Settings
from host.child_server import LOOPBACK
from host.homes import POSTGRES_FOLDER, database_in
from host.postgres import DATABASE, USER, PostgresServer
from models.database import Database
from models.migrations import current

# The line of PostgreSQL's own pid file that has its port.
PORT_LINE = 3


def is_of_home(settings: Settings) -> bool:
    """Whether the settings name no database of their own, so that it is the home's."""
    return settings.database == f"sqlite:///{settings.home_path / 'heldout.db'}"


def require_file(settings: Settings) -> None:
    """Raises OperatorError where a SQLite database has no file yet: to look into it would make one."""
    file = sqlite_file(settings.database)
    if file is not None and not file.exists():
        raise OperatorError(f"There is no database at {file}. `heldout up` or `heldout migrate` makes one.")


@contextmanager
def with_own_database(settings: Settings) -> Iterator[Settings]:
    """The settings, with the home's own PostgreSQL where it is a stack's: the one that runs, or one for this block.

    Raises:
        OperatorError: the home has two databases, or its server does not start.
    """
    if not is_of_home(settings) or database_in(settings.home_path) != "postgresql":
        yield settings
        return
    folder = settings.home_path / POSTGRES_FOLDER
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
