"""`heldout restore`: copies a backup into an empty database and a blob store."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from heldout.errors import OperatorError
from heldout.service.database_urls import get_sqlite_file
from heldout.service.settings import Settings
from host.backup import BLOBS, DATABASE_FILES, About, hash_file, read_about, read_kind, read_listed, restore_postgres
from host.homes import is_of_home, lock_home, make_home, open_database
from models.blobs import Blobs
from models.migrations import get_current, require_known, upgrade
from models.secret_box import KEY_FILE
from models.store import claims


def restore(settings: Settings, folder: Path) -> About:
    """Restore a backup. Jobs that were running continue from their last checkpoint, without counting a failure.

    If the settings name no database, the home's own is made. An interrupted restore can be repeated, because the
    database has no tables until its end.

    Raises:
        OperatorError: if the backup is incomplete, or the target is not empty or of another kind.
        DatabaseUnavailable, StorageUnavailable.
    """
    about = read_about(folder)
    require_known(about.revision)
    if read_kind(settings.database) != about.database:
        wanted = "a new home with --home" if about.database == "sqlite" else "an empty one by HELDOUT_DATABASE_URL"
        raise OperatorError(
            f"The backup is of {about.database}, but the settings name another kind of database. Choose {wanted}."
        )
    with _lock_target(settings):
        if _has_tables(settings):
            raise OperatorError("The database is not empty. Restore into a new home, or into an empty database.")
        _require_whole(folder, about)
        _require_no_other_key(settings, folder, about)
        # Files come first, so that a service that sees the rows finds the files that they name.
        blobs = Blobs(settings.blobs_url)
        for listed in read_listed(folder):
            blobs.put(listed.key, folder / BLOBS / listed.key)
        if settings.secrets_key is None and about.secrets_key_sha256 is not None:
            make_home(settings.home_path)
            _copy_durably(folder / KEY_FILE, settings.home_path / KEY_FILE)
        file, target = folder / DATABASE_FILES[about.database], get_sqlite_file(settings.database)
        if target is None:
            restore_postgres(settings.database, file)
        else:
            make_home(target.parent)
            _copy_durably(file, target)
        # Not opened earlier, because it would keep the SQLite file open that the restored one replaces.
        with open_database(settings, may_make=True) as database:
            upgrade(database)
            with database.write() as session:
                claims.forget_checkpoints(session, about.missing)
                claims.recover_from_dead_workers(session, "")
    return about


@contextmanager
def _lock_target(settings: Settings) -> Iterator[None]:
    """Lock the home that is restored into, so that no service can run in it."""
    if not is_of_home(settings):
        yield
        return
    make_home(settings.home_path)
    with lock_home(settings.home_path):
        yield


def _has_tables(settings: Settings) -> bool:
    file = get_sqlite_file(settings.database)
    # Opening a SQLite database would make its file.
    if file is not None and not file.exists():
        return False
    with open_database(settings, may_make=True) as database:
        return get_current(database) is not None


def _require_whole(folder: Path, about: About) -> None:
    """Check every file before anything is written. Raises OperatorError."""
    file = DATABASE_FILES[about.database]
    damaged = [] if _is_whole(folder / file, about.database_sha256) else [file]
    if about.secrets_key_sha256 is not None and not _is_whole(folder / KEY_FILE, about.secrets_key_sha256):
        damaged.append(KEY_FILE)
    count = 0
    for listed in read_listed(folder):
        count += 1
        if not _is_whole(folder / BLOBS / listed.key, listed.sha256):
            damaged.append(listed.key)
    if damaged or count != about.files:
        shown = ", ".join(damaged[:5]) or "files.jsonl"
        raise OperatorError(f"The backup in {folder} is damaged or incomplete: {shown}. Nothing was restored.")


def _require_no_other_key(settings: Settings, folder: Path, about: About) -> None:
    """Make sure that no existing key would be replaced by a different one. Raises OperatorError."""
    there = settings.home_path / KEY_FILE
    if settings.secrets_key is not None or about.secrets_key_sha256 is None or not there.exists():
        return
    if hash_file(there) != about.secrets_key_sha256:
        raise OperatorError(
            f"{there} is not the key that encrypts the secrets of the backup's webhooks. "
            "Choose another home, or move that file to another folder. Nothing was restored."
        )


def _is_whole(file: Path, sha256: str) -> bool:
    try:
        return hash_file(file) == sha256
    except OSError:
        return False


def _copy_durably(file: Path, target: Path) -> None:
    """Copy a file completely or not at all, readable only by its owner. Raises OperatorError."""
    part = target.with_name(f"{target.name}.part")
    try:
        with file.open("rb") as source, part.open("wb") as copy:
            os.chmod(part, 0o600)
            shutil.copyfileobj(source, copy)
            copy.flush()
            os.fsync(copy.fileno())
        part.replace(target)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise OperatorError(f"{target} cannot be written: {error.strerror}. Fix this, then restore again.") from error
