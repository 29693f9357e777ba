"""Makes and locks the folder of a home, and opens the database, which normally is a SQLite file in it."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from heldout.errors import OperatorError
from heldout.service.database_urls import get_sqlite_file
from heldout.service.settings import Settings
from models.database import Database
from models.migrations import require_newest


def keep_private() -> None:
    """Make the files of this process, and of all that it starts, accessible only to their owner."""
    os.umask(0o077)


def make_home(home: Path) -> None:
    """Make the folder, accessible only to its owner. Raises OperatorError."""
    try:
        home.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise OperatorError(f"The home {home} cannot be made: {error.strerror}. Choose another with --home.") from error


@contextmanager
def lock_home(home: Path) -> Iterator[None]:
    """Lock the home during the block. The lock also ends if this process dies.

    Raises:
        OperatorError: if another service runs in this home.
    """
    lock = os.open(home / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise OperatorError(f"A service already runs in {home}. Stop it, or choose another --home.") from None
        yield
    finally:
        os.close(lock)


def is_of_home(settings: Settings) -> bool:
    """Return whether the database is the home's own, because the settings name no other."""
    return settings.database == f"sqlite:///{settings.home_path / 'heldout.db'}"


def require_file(settings: Settings) -> None:
    """Raise OperatorError if a SQLite database has no file yet, because opening it would make one."""
    file = get_sqlite_file(settings.database)
    if file is not None and not file.exists():
        raise OperatorError(f"There is no database at {file}. `heldout up` or `heldout migrate` makes one.")


@contextmanager
def open_database(settings: Settings, *, may_make: bool = False, any_revision: bool = False) -> Iterator[Database]:
    """Open the settings' database, and close it after the block.

    Args:
        may_make: accept any database, or none.
        any_revision: accept the tables of other releases, too.
    Raises:
        OperatorError: if there is no database yet, or its tables are of another release.
    """
    if not may_make:
        require_file(settings)
    database = Database(settings.database, bounds=settings.quotas)
    try:
        if not (may_make or any_revision):
            require_newest(database)
        yield database
    finally:
        database.dispose()
