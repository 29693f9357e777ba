"""The command `heldout`: the client's commands speak HTTP, the server's start `python -m api`."""

import sys


def main() -> None:
    """Run the command line; ends the process with the exit code of the outcome."""
    try:
        from heldout.cli import server

        if sys.argv[1:2] and sys.argv[1] in server.COMMANDS:
            sys.exit(server.start(sys.argv[1:]))
        from heldout.cli.app import app
        from heldout.cli.screen import prepare

        prepare()
        app(prog_name="heldout")
    except KeyboardInterrupt:
        sys.exit(130)
