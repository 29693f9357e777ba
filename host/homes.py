"""Makes and locks the folder of a home, and opens the database, which normally is a SQLite file in it."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from heldout.errors import OperatorError
from heldout.service.database_urls import get_sqlite_file
from heldout.service.settings import Settings
from models.blobs import Blobs
from models.database import Database
from models.migrations import copy_sqlite, require_newest

# Where earlier releases kept studies, in the folder of the file that keeps them today.
OLD_STUDIES = Path("heldout-runs", "service")


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
    """Whether the database is the home's own, because the settings name no other."""
    return settings.database == f"sqlite:///{settings.home_path / 'heldout.db'}"


def move_into_file(file: Path) -> None:
    """Fill a new file of studies from the folder that earlier releases kept them in. The folder stays.

    Raises:
        OperatorError: if another service uses that folder.
    """
    old, partial = file.parent / OLD_STUDIES, file.with_name(f"{file.name}.partial")
    if file.exists() or not (old / "heldout.db").exists():
        return
    with lock_home(old):
        partial.unlink(missing_ok=True)
        copy_sqlite(old / "heldout.db", partial)
        source, target = Blobs((old / "blobs").as_uri()), Blobs(f"sqlite:///{partial}")
        for blob in source.stored():
            target.put_stream(blob.key, source.chunks(blob.key))
        partial.replace(file)


def refuse_stack(settings: Settings) -> None:
    """Raise OperatorError if the home has a PostgreSQL database from an earlier release's `heldout up --stack`."""
    folder = settings.home_path / "postgres"
    if is_of_home(settings) and (folder / "data" / "PG_VERSION").exists():
        raise OperatorError(
            f"{folder} is a database of `heldout up --stack`, which this release no longer supports. Back it up with "
            "the release that made it, and restore it into the database of Docker Compose. Or choose another home with "
            "--home."
        )


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
