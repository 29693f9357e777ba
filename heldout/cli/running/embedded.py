"""Runs a service for the trainings of one command: its API, on a port of this machine, with its data in a folder."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from heldout.cli.host_commands import ServerMissing, find_program
from heldout.cli.outcome import Refused
from heldout.client.locate import locate, read_service_file
from heldout.service.parent_process import build_launch_command

if TYPE_CHECKING:
    from heldout.client.client import Client

START_S, STOP_S, LOOK_S = 120.0, 20.0, 0.05
# Settings of the caller's environment that may name another service's database.
_OF_SERVICES = ("HELDOUT_", "DATABASE_URL", "REDIS_URL", "PORT", "LOG_LEVEL")


@contextmanager
def run_service(home: Path) -> Iterator["Client"]:
    """Run the service of a folder while the block runs, and open a client of it. It ends with this process.

    Raises:
        Refused: the server is not installed, does not start, or runs in this folder already.
    """
    from heldout.client.client import Client

    try:
        program = find_program("api", command="heldout cure --embedded")
    except ServerMissing as missing:
        raise Refused(str(missing)) from None
    home.mkdir(parents=True, exist_ok=True)
    arguments = ["up", "--home", str(home.absolute()), "--port", "0", "--no-worker"]
    environment = {name: text for name, text in os.environ.items() if not name.startswith(_OF_SERVICES)}
    with (home / "service.log").open("ab") as log:
        process = subprocess.Popen(
            build_launch_command([*program, *arguments], signal.SIGTERM),
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,  # Ctrl-C ends the trainings first, whose leases are given back
        )
    try:
        _wait_until_ready(process, home)
        found = locate(home)
        with Client(found.url, found.api_key) as client:
            yield client
    finally:
        process.terminate()
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_until_ready(process: "subprocess.Popen[bytes]", home: Path) -> None:
    ends_s = time.monotonic() + START_S
    while (read_service_file(home) or ("", 0))[1] != process.pid:
        if process.poll() is not None or time.monotonic() > ends_s:
            lines = (home / "service.log").read_text(encoding="utf-8", errors="replace").strip().splitlines()
            why = lines[-1] if lines else "It gave no reason."
            raise Refused(f"The service in {home} did not start: {why}")
        time.sleep(LOOK_S)
