"""Run the server's commands in this process, because starting another takes a hundred times as long."""

import io
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import structlog

import api.__main__  # noqa: F401 - adds `up` and `serve` to the commands
from host.commands import main
from models import logs

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run_on_home(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, log_lines: io.StringIO
) -> Iterator[Command]:
    """Return what runs a command on a home and returns its status, standard output and standard error."""
    for name in os.environ:
        if name.startswith("HELDOUT_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HELDOUT_PRETRAINED", "none")

    def run_command(home: Path, *words: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["heldout", *words, "--home", str(home)])
        structlog.reset_defaults()  # as in a new process
        with pytest.raises(SystemExit) as exit_info:
            main()
        logs.configure("DEBUG", log_lines)
        captured = capsys.readouterr()
        return int(exit_info.value.code or 0), captured.out, captured.err

    umask = os.umask(0o022)
    yield run_command
    os.umask(umask)
