"""The server's commands: they are in `host` and `api`, which a client's install does not have."""

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
    "models add": "Share a model with all owners.",
    "models withdraw": "Stop sharing a model, and delete its file.",
    "owners": "Show what owners use, and limit or suspend them.",
    "check": "Say what works here and what does not.",
    "backup": "Write the database and the files that it names into a folder.",
    "restore": "Fill an empty database and blob store from a backup.",
}
# No index has the package: the page says how to install it from files.
INSTALL_PAGE = "docs/how-to/install.md"
INSTALL_DATA = f"install the extra `data` ({INSTALL_PAGE})"
_NEEDED = ("fastapi", "uvicorn", "sqlalchemy", "alembic", "obstore", "structlog")
_NEEDED_TO_TRAIN = ("numpy", "tensorflow", "keras")


def is_of_server(arguments: Sequence[str]) -> bool:
    """Whether the first words of a command line are a command of the server."""
    return bool({" ".join(arguments[:1]), " ".join(arguments[:2])} & COMMANDS.keys())


def start(arguments: Sequence[str]) -> int:
    """Become `python -m api` with the same arguments; returns 2 if the server is not installed."""
    needed = _NEEDED + (_NEEDED_TO_TRAIN if arguments[0] == "up" else ())
    return exec_server_module("api", arguments, needed, f"heldout {arguments[0]}")


def exec_server_module(module: str, arguments: Sequence[str], needed: Sequence[str], command: str) -> int:
    """Become `python -m <module>`, a program of the server; returns 2 if the server is not installed.

    Args:
        needed: packages that it needs to start.
        command: the user's command, for the message.
    """
    try:
        program = find_program(module, needed, command)
    except ServerMissing as missing:
        print(f"heldout: {missing}", file=sys.stderr)
        return 2
    sys.stdout.flush()
    os.execv(sys.executable, [*program, *arguments])


class ServerMissing(Exception):
    """The server is not installed here. The text says what to do."""


def find_program(module: str, needed: Sequence[str] = _NEEDED, command: str = "heldout up") -> list[str]:
    """Return the command of a program of the server, and let Python find its modules. Raises ServerMissing."""
    room = _find_room()
    lacking = [name for name in needed if find_spec(name) is None]
    if room is None or lacking:
        what = "the server" if room is None else ", ".join(lacking)
        raise ServerMissing(
            f"`{command}` needs {what}, which is not installed here. Install the extra `service`, or `data` for files "
            f"alone ({INSTALL_PAGE}). In a checkout of the repository run `make setup`, or `pip install -e . --group "
            "cpu` (`--group gpu` with an NVIDIA GPU)."
        )
    search = [str(room), *filter(None, [os.environ.get("PYTHONPATH")])]
    os.environ["PYTHONPATH"] = os.pathsep.join(search)
    # -P, because a folder named `api` in the current directory is not ours.
    return [sys.executable, "-P", "-m", module]


def _find_room() -> Path | None:
    """Return the folder with `heldout` and `api`: a checkout, or the folder of the wheel `heldout-service`.

    Only the server's own processes have it on their path, so that its packages take no names from a user's.
    """
    places = [Path(heldout.__file__).resolve().parent.parent]
    found = find_spec("heldout_service")
    if found is not None:
        places += [Path(folder) / "rooms" for folder in found.submodule_search_locations or ()]
    return next((place for place in places if (place / "api" / "__main__.py").is_file()), None)
