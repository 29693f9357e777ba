"""What a backup is: a folder with the database, the files that its rows name, and what is known of both."""

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from heldout.errors import OperatorError

FORMAT = 1
ABOUT, LISTED, BLOBS = "backup.json", "files.jsonl", "blobs"
DatabaseKind = Literal["sqlite", "postgresql"]
DATABASE_FILES: dict[DatabaseKind, str] = {"sqlite": "heldout.db", "postgresql": "database.dump"}


@dataclass(frozen=True)
class About:
    """What `backup.json` says. `missing`: keys of files that rows name and that were not there.

    secrets_key_sha256: None where the service takes that key from a setting, or had none.
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
    """A line of `files.jsonl`; sha256 is hexadecimal."""

    key: str
    size_bytes: int
    sha256: str


def kind_of(database_url: str) -> DatabaseKind:
    """Which database a URL leads to."""
    return "sqlite" if database_url.startswith("sqlite") else "postgresql"


def write_about(folder: Path, about: About) -> None:
    """Write `backup.json`: the last file of a backup."""
    text = json.dumps({"object": "backup", **asdict(about)}, indent=1)
    (folder / ABOUT).write_text(text + "\n", encoding="utf-8")


def read_about(folder: Path) -> About:
    """Raises OperatorError if the folder holds no backup, or one that this release cannot read."""
    try:
        read = json.loads((folder / ABOUT).read_text(encoding="utf-8"))
        found = read.pop("format")
        if found != FORMAT:
            raise OperatorError(
                f"The backup in {folder} has format {found}; this release reads {FORMAT}. Use the release that made it."
            )
        read.pop("object")
        return About(format=found, **{**read, "missing": tuple(read["missing"])})
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        raise OperatorError(f"{folder} holds no backup: it has no readable {ABOUT}.") from None


def write_listed(folder: Path, files: Iterable[BackedUpFile]) -> None:
    """Write `files.jsonl`."""
    with (folder / LISTED).open("w", encoding="utf-8") as lines:
        for one in sorted(files, key=lambda one: one.key):
            lines.write(json.dumps(asdict(one)) + "\n")


def read_listed(folder: Path) -> Iterator[BackedUpFile]:
    """Raises OperatorError if the list is not there or damaged."""
    try:
        with (folder / LISTED).open(encoding="utf-8") as lines:
            for line in lines:
                yield BackedUpFile(**json.loads(line))
    except (OSError, ValueError, TypeError) as error:
        raise OperatorError(f"The backup in {folder} is damaged: {LISTED} cannot be read.") from error


def sha256_of(file: Path) -> str:
    """Of a file's content, hexadecimal."""
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
