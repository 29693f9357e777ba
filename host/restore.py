"""`heldout restore`: a backup into an empty database and a blob store."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from heldout.errors import OperatorError
from heldout.settings import Settings
from host import postgres_tools
from host.backup_files import BLOBS, DATABASE_FILES, About, kind_of, read_about, read_listed, sha256_of
from host.home_lock import locked_home
from host.own_servers import FOLDER, is_of_home, is_stack_home, on_database
from host.postgres import PostgresServer
from models.blobs import Blobs
from models.database import Database
from models.migrations import current, require_known, upgrade
from models.store import claims


def restore(settings: Settings, folder: Path) -> About:
    """Bring back what a backup holds; what ran goes on from its last state, without counting a failure.

    Settings that name no database are those of a home, whose own is made: a file, or a PostgreSQL server.

    Raises:
        OperatorError: the folder holds no whole backup, the target is not empty, or it does not fit.
        DatabaseUnavailable, StorageUnavailable.
    """
    about = read_about(folder)
    require_known(about.revision)
    with _target(settings, about) as target:
        if kind_of(target.database) != about.database:
            raise OperatorError(
                f"The backup is of {about.database}, and the database that the settings name is not. "
                "Name one of the same kind, or a new home with --home."
            )
        if _has_tables(target):
            raise OperatorError("The database is not empty. Restore into a new home, or into an empty database.")
        _require_whole(folder, about)
        # Files first: a service that sees the rows finds what they name.
        blobs = Blobs(target.blobs_url)
        for one in read_listed(folder):
            blobs.put(one.key, folder / BLOBS / one.key)
        _fill(target, folder / DATABASE_FILES[about.database])
        # Not before: it would hold the SQLite file that the restored one replaces.
        database = Database(target.database)
        try:
            upgrade(database)
            with database.write() as session:
                claims.forget_checkpoints(session, about.missing)
                claims.recover_from_dead_workers(session, "")
        finally:
            database.dispose()
    return about


@contextmanager
def _target(settings: Settings, about: About) -> Iterator[Settings]:
    """The settings with the database to be filled. A home is locked meanwhile: no service may run in it."""
    if not is_of_home(settings):
        yield settings
        return
    home = settings.home_path
    home.mkdir(parents=True, exist_ok=True, mode=0o700)
    with locked_home(home):
        if (home / "heldout.db").exists() or is_stack_home(settings):
            raise OperatorError(f"{home} has a database. Restore into a new home.")
        if about.database == "sqlite":
            yield settings
        else:
            with PostgresServer(home / FOLDER) as server:
                yield on_database(settings, server.url)


def _has_tables(settings: Settings) -> bool:
    file = settings.database.partition("///")[2]
    # Looking into a SQLite file makes it.
    if kind_of(settings.database) == "sqlite" and not Path(file).exists():
        return False
    database = Database(settings.database)
    try:
        return current(database) is not None
    finally:
        database.dispose()


def _require_whole(folder: Path, about: About) -> None:
    """Read everything once before anything is written. Raises OperatorError."""
    file = DATABASE_FILES[about.database]
    damaged = [] if _is_whole(folder / file, about.database_sha256) else [file]
    count = 0
    for one in read_listed(folder):
        count += 1
        if not _is_whole(folder / BLOBS / one.key, one.sha256):
            damaged.append(one.key)
    if damaged or count != about.files:
        shown = ", ".join(damaged[:5]) or "files.jsonl"
        raise OperatorError(f"The backup in {folder} is damaged or not whole: {shown}. Nothing was restored.")


def _is_whole(file: Path, sha256: str) -> bool:
    try:
        return sha256_of(file) == sha256
    except OSError:
        return False


def _fill(settings: Settings, file: Path) -> None:
    if kind_of(settings.database) == "postgresql":
        postgres_tools.restore(settings.database, file)
        return
    target = Path(settings.database.partition("///")[2])
    target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    part = target.with_name(f"{target.name}.part")
    with file.open("rb") as source, part.open("wb") as copy:
        os.chmod(part, 0o600)
        shutil.copyfileobj(source, copy)
        copy.flush()
        os.fsync(copy.fileno())
    part.replace(target)
