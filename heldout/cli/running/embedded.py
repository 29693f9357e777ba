"""Runs a service for the trainings of one command: its API, on a port of this machine, with its data in one file."""

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING

from heldout.cli.host_commands import ServerMissing, find_program
from heldout.cli.outcome import Refused
from heldout.cli.running.memory import lock
from heldout.cli.screen import say
from heldout.client.locate import locate, read_service_file
from heldout.parent_process import build_launch_command

if TYPE_CHECKING:
    from heldout.client.client import Client

START_S, STOP_S, LOOK_S = 120.0, 20.0, 0.05
# The service of a command that was killed needs a moment to end.
PATIENCE_S = 5.0
_SQLITE = b"SQLite format 3\0"  # how such a file begins
# Settings of the caller's environment that may name another service's database.
_OF_SERVICES = ("HELDOUT_", "DATABASE_URL", "REDIS_URL", "PORT", "LOG_LEVEL")


@contextmanager
def run_service(file: Path, folder: Path) -> Iterator["Client"]:
    """Run a service while the block runs, and open a client of it. It ends with this process.

    Args:
        file: keeps its data: studies and their answers.
        folder: of the trainings; its log is there.
    Raises:
        Refused: the server is not installed or does not start, the file is not one of this command, or another
            command uses it.
    """
    from heldout.client.client import Client

    try:
        program = find_program("api", command="heldout cure --embedded")
    except ServerMissing as missing:
        raise Refused(str(missing)) from None
    _refuse_other_file(file)
    folder.mkdir(parents=True, exist_ok=True)
    home = folder.absolute() / ".service"  # its address and key, while it runs
    with _open_log(folder / "service.log", file) as log:
        shutil.rmtree(home, ignore_errors=True)  # of a command that was killed
        arguments = ["up", "--home", str(home), "--file", str(file.absolute()), "--port", "0", "--no-worker"]
        process = subprocess.Popen(
            build_launch_command([*program, *arguments], signal.SIGTERM),
            env={name: text for name, text in os.environ.items() if not name.startswith(_OF_SERVICES)},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,  # Ctrl-C ends the trainings first, whose leases are given back
        )
        is_ending = threading.Event()
        try:
            _wait_until_ready(process, home, Path(log.name))
            threading.Thread(target=_watch, args=(process, is_ending, log.name), daemon=True).start()
            found = locate(home)
            with Client(found.url, found.api_key) as client:
                yield client
        finally:
            is_ending.set()
            process.terminate()
            try:
                process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            shutil.rmtree(home, ignore_errors=True)


def _refuse_other_file(file: Path) -> None:
    """Refuse a file that is not a database, before the service reports that its server does not answer."""
    if file.is_file():
        with file.open("rb") as opened:
            start = opened.read(len(_SQLITE))
        if start not in (b"", _SQLITE):
            raise Refused(
                f"{file} is damaged, or was not written by this command. Put a copy of it back, or move it away to "
                "begin with new studies."
            )


def _open_log(log: Path, file: Path) -> IO[bytes]:
    """Open and lock the log. The service inherits the lock, as it may end later than a command that is killed."""
    ends_s = time.monotonic() + PATIENCE_S
    while (opened := lock(log)) is None:
        if time.monotonic() > ends_s:
            raise Refused(f"Another command uses {file} now. Run this one when it has ended, or in another folder.")
        time.sleep(LOOK_S)
    return opened


def _watch(process: "subprocess.Popen[bytes]", is_ending: threading.Event, log: str) -> None:
    """Interrupt this command if its service ends before it does, because its results could never be sent."""
    process.wait()
    if not is_ending.is_set():
        say(f"heldout: the service of this command has ended. Its log: {log}", file=sys.stderr)
        os.kill(os.getpid(), signal.SIGINT)


def _wait_until_ready(process: "subprocess.Popen[bytes]", home: Path, log: Path) -> None:
    ends_s = time.monotonic() + START_S
    while (read_service_file(home) or ("", 0))[1] != process.pid:
        if process.poll() is not None or time.monotonic() > ends_s:
            lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
            why = lines[-1] if lines else "It gave no reason."
            raise Refused(f"The service of this command did not start: {why} Its log: {log}")
        time.sleep(LOOK_S)
