"""The command `heldout`: the client's commands speak HTTP, the server's start `python -m api`."""

import sys


def main() -> None:
    """Run the command line; ends the process with the exit code of the outcome."""
    try:
        from heldout.cli import host_commands

        if host_commands.is_of_server(sys.argv[1:]):
            sys.exit(host_commands.start(sys.argv[1:]))
        from heldout.cli.app import app
        from heldout.cli.screen import prepare

        prepare()
        app(prog_name="heldout")
    except KeyboardInterrupt:
        sys.exit(130)
