"""A home's folder, and which database it has: the SQLite file of `heldout up`, or the PostgreSQL of a stack."""

from pathlib import Path

from heldout.errors import OperatorError
from host.backup_files import DatabaseKind

POSTGRES_FOLDER = "postgres"
_SQLITE_FILE = "heldout.db"
_STARTED_BY = {"sqlite": "`heldout up`", "postgresql": "`heldout up --stack`"}


def make_home(home: Path) -> None:
    """Make the folder, which its owner alone may enter. Raises OperatorError."""
    try:
        home.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise OperatorError(f"The home {home} cannot be made: {error.strerror}. Choose another with --home.") from error


def database_in(home: Path) -> DatabaseKind | None:
    """Which database the home has; None if it has none yet.

    Raises:
        OperatorError: it has both, so nobody knows which one is meant.
    """
    has_file = (home / _SQLITE_FILE).exists()
    has_server = (home / POSTGRES_FOLDER / "data" / "PG_VERSION").exists()
    if has_file and has_server:
        raise OperatorError(
            f"{home} has two databases: {_SQLITE_FILE} of `heldout up`, and the folder {POSTGRES_FOLDER} of "
            "`heldout up --stack`. Move the one that you do not use to another folder."
        )
    if has_server:
        return "postgresql"
    return "sqlite" if has_file else None


def require_database_of(home: Path, kind: DatabaseKind) -> None:
    """Let no home get a second database beside one of another kind: its files would belong to both.

    Raises:
        OperatorError.
    """
    found = database_in(home)
    if found not in {None, kind}:
        raise OperatorError(
            f"The database in {home} is that of {_STARTED_BY[found]}; this needs one of {_STARTED_BY[kind]}. "
            "Choose another home with --home."
        )
