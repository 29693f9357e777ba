"""The server's commands: they live in `host` and `api`, which a client's install does not have."""

import os
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import heldout

COMMANDS = {
    "up": "Run the service on this machine. API, worker and database in one folder.",
    "migrate": "Bring the database's tables up to date.",
    "keys": "Create, list and revoke API keys.",
    "owners": "Say what owners use, limit, suspend and resume them, and cancel all that they have.",
    "check": "Say what works here and what does not.",
    "backup": "Write the database and the files that it names into a folder.",
    "restore": "Fill an empty database and blob store from a backup.",
}
_NEEDED = ("fastapi", "uvicorn", "sqlalchemy", "alembic", "obstore", "structlog")
_NEEDED_TO_TRAIN = ("numpy", "tensorflow", "keras")


def start(arguments: Sequence[str]) -> int:
    """Become `python -m api` with the same arguments; gives back 2 where the server is not installed."""
    needed = _NEEDED + (_NEEDED_TO_TRAIN if arguments[0] == "up" else ())
    return become("api", arguments, needed, f"heldout {arguments[0]}")


def become(module: str, arguments: Sequence[str], needed: Sequence[str], command: str) -> int:
    """Become `python -m <module>`, a program of the server; gives back 2 where the server is not installed.

    Args:
        needed: packages without which it does not start.
        command: what the user has typed, to be named in the message.
    """
    room = _find_room()
    lacking = [name for name in needed if find_spec(name) is None]
    if room is None or lacking:
        what = "the server" if room is None else ", ".join(lacking)
        print(
            f"heldout: `{command}` needs {what}, which is not installed here. In a checkout of the "
            "repository run `make setup`, or `pip install -e . --group cpu` (`--group gpu` with an NVIDIA GPU).",
            file=sys.stderr,
        )
        return 2
    # -P: a folder named `api` where the user happens to be is not ours.
    search = [str(room), *filter(None, [os.environ.get("PYTHONPATH")])]
    os.environ["PYTHONPATH"] = os.pathsep.join(search)
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, "-P", "-m", module, *arguments])


def _find_room() -> Path | None:
    """The folder that holds `heldout` and `api`; None if `api` is not there."""
    room = Path(heldout.__file__).resolve().parent.parent
    return room if (room / "api" / "__main__.py").is_file() else None
