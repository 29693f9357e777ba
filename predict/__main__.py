"""`python -m predict`: serves predictions, with the database and blob store that the environment names."""

import argparse
import socket
from collections.abc import Sequence

from heldout.errors import OperatorError
from heldout.service.collection import pause_collection
from heldout.service.start import bind_socket, read_settings_or_exit
from models import logs


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve until SIGTERM."""
    parser = argparse.ArgumentParser("python -m predict", description=__doc__)
    parser.add_argument("--fd", type=int, help="Answer in this process, on the socket with this file descriptor.")
    parser.add_argument("--idle", type=float, metavar="S", help="End after this many seconds without a request.")
    asked = parser.parse_args(arguments)
    settings = read_settings_or_exit()
    logs.configure(settings.log_level)
    with pause_collection():
        from predict.server import BACKLOG, serve, serve_by_processes

    try:
        listener = bind_socket(settings, "Set HELDOUT_PORT.") if asked.fd is None else socket.socket(fileno=asked.fd)
    except OperatorError as error:
        raise SystemExit(f"heldout: {error.detail}") from error
    listener.listen(BACKLOG)
    if asked.fd is None and settings.predict_processes > 1:
        serve_by_processes(listener, settings.predict_processes)
    else:
        serve(settings, listener, idle_s=asked.idle)


if __name__ == "__main__":
    main()
