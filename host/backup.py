"""`heldout backup`: copies the database as it is at one moment, with its files, while the service keeps running."""

import hashlib
import os
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from heldout import __version__
from heldout.errors import OperatorError
from heldout.service.database_urls import get_sqlite_file
from heldout.service.settings import Settings
from host.backup_files import (
    BLOBS,
    DATABASE_FILES,
    FORMAT,
    About,
    BackedUpFile,
    dump_postgres,
    hash_file,
    read_kind,
    write_about,
    write_listed,
)
from host.homes import require_file
from models.blob_check import is_orphan
from models.blobs import BlobMissing, Blobs, StoredBlob
from models.database import Database, Session
from models.migrations import copy_sqlite, get_current, get_newest, open_postgresql_snapshot
from models.secret_box import KEY_FILE
from models.store import named_blobs

COPIES_AT_ONCE = 4
# How often the database is dumped again if files disappeared before they could be copied, such as a deleted job's.
MAX_DUMPS = 3


def back_up(settings: Settings, folder: Path) -> About:
    """Write a backup into `folder`, which must not exist yet. If this fails, nothing remains.

    Files are copied before the database is dumped and again afterwards, because the service deletes files that it no
    longer needs. A file of the first round stays in the backup even if it is deleted meanwhile. A file may also be
    created after the first round and deleted before the second, such as when its job ends. Then the database is dumped
    again.

    Raises:
        OperatorError, DatabaseUnavailable, StorageUnavailable.
    """
    if folder.exists():
        raise OperatorError(f"{folder} exists already. Choose a folder that does not exist.")
    require_file(settings)
    kind = read_kind(settings.database)
    blobs = Blobs(settings.blobs_url)
    with _make_partial(folder) as made:
        database = Database(settings.database)
        try:
            revision = get_current(database)
            if revision is None:
                raise OperatorError("The database has no tables, so there is nothing to back up.")
            if revision != get_newest():
                raise OperatorError(
                    f"The database is at revision {revision}, but this release needs {get_newest()}. "
                    "Back up with the release that runs the service."
                )
            files = _Files(blobs, made / BLOBS)
            with database.read() as session:
                files.copy(_Wanted(session))
            database_file = made / DATABASE_FILES[kind]
            for _ in range(MAX_DUMPS):
                database_file.unlink(missing_ok=True)
                with _dump_at_one_moment(settings, database, database_file) as session:
                    wanted = _Wanted(session)
                missing = files.copy(wanted)
                with database.read() as session:
                    if missing <= named_blobs.list_keys(session):
                        break  # none is missing, or the missing ones are lost: today's rows still name them
        finally:
            database.dispose()
        write_listed(made, files.copied.values())
        about = About(
            format=FORMAT,
            release=__version__,
            revision=revision,
            database=kind,
            database_sha256=hash_file(database_file),
            made_at=datetime.now(UTC).isoformat(timespec="seconds"),
            files=len(files.copied),
            bytes=sum(file.size_bytes for file in files.copied.values()),
            missing=tuple(sorted(missing)),
            secrets_key_sha256=_copy_secrets_key(settings, made),
        )
        write_about(made, about)
    return about


def _copy_secrets_key(settings: Settings, folder: Path) -> str | None:
    """Copy the key that encrypts webhooks' secrets. Returns its SHA-256, or None if a setting holds the key."""
    file = settings.home_path / KEY_FILE
    if settings.secrets_key is not None or not file.exists():
        return None
    copy = folder / KEY_FILE
    shutil.copyfile(file, copy)
    copy.chmod(0o600)
    return hash_file(copy)


@contextmanager
def _make_partial(folder: Path) -> Iterator[Path]:
    """Make a folder next to `folder`. It is renamed to `folder` at the end of the block, or removed if that fails."""
    partial = folder.with_name(f"{folder.name}.partial")
    try:
        partial.mkdir(mode=0o700, parents=True)
        (partial / BLOBS).mkdir(mode=0o700)
    except FileExistsError:
        raise OperatorError(
            f"{partial} exists: another backup is running, or was interrupted. In that case, remove the folder."
        ) from None
    except OSError as error:
        raise OperatorError(f"{partial} cannot be made: {error.strerror}.") from error
    try:
        yield partial
        os.sync()  # so that a power cut leaves either a complete backup or none
        partial.rename(folder)
    except OSError as error:
        shutil.rmtree(partial, ignore_errors=True)
        raise OperatorError(f"The backup could not be written to {folder}: {error.strerror}.") from error
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise


@contextmanager
def _dump_at_one_moment(settings: Settings, database: Database, file: Path) -> Iterator[Session]:
    """Write the database into `file`, and yield a session that sees exactly what the file contains."""
    source = get_sqlite_file(settings.database)
    if source is not None:
        copy_sqlite(source, file)
        copy = Database(f"sqlite:///{file}")
        try:
            with copy.read() as session:
                yield session
        finally:
            copy.dispose()
    else:
        with open_postgresql_snapshot(database) as (session, snapshot):
            dump_postgres(settings.database, file, snapshot)
            yield session


class _Wanted:
    """The files that belong to the rows that a session sees."""

    def __init__(self, session: Session) -> None:
        self._places = named_blobs.get_places(session)
        self.named = named_blobs.list_keys(session)

    def __contains__(self, key: str) -> bool:
        # A job's other files are not needed: no one reads them again.
        return key in self.named or ("/" in key and not key.startswith("jobs/") and not is_orphan(key, self._places))


class _Files:
    """The files that the backup has copied so far."""

    def __init__(self, blobs: Blobs, folder: Path) -> None:
        self._blobs = blobs
        self._folder = folder
        self._as_listed: dict[str, StoredBlob] = {}
        self.copied: dict[str, BackedUpFile] = {}

    def copy(self, wanted: _Wanted) -> set[str]:
        """Copy all wanted files, and drop others. Returns the keys that rows name but the store does not have."""
        listed = {blob.key: blob for blob in self._blobs.stored() if blob.key in wanted}
        for key in [key for key in self.copied if key not in wanted]:
            del self.copied[key]
            (self._folder / key).unlink()
        changed = [blob for key, blob in listed.items() if self._as_listed.get(key) != blob]
        with ThreadPoolExecutor(COPIES_AT_ONCE) as pool:
            for blob, copied in zip(changed, pool.map(self._copy, changed), strict=True):
                if copied is not None:
                    self._as_listed[blob.key] = blob
                    self.copied[blob.key] = copied
        return wanted.named - self.copied.keys()

    def _copy(self, blob: StoredBlob) -> BackedUpFile | None:
        target = self._folder / blob.key
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        digest, size = hashlib.sha256(), 0
        # A separate file, because an existing copy must stay if the original was deleted meanwhile.
        part = target.with_name(f"{target.name}.part")
        try:
            with part.open("wb") as file:
                for chunk in self._blobs.chunks(blob.key):
                    digest.update(chunk)
                    size += len(chunk)
                    file.write(chunk)
        except BlobMissing:
            with suppress(FileNotFoundError):
                part.unlink()
            return None
        part.replace(target)
        return BackedUpFile(blob.key, size, digest.hexdigest())
