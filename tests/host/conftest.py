"""The server's commands in this process: a process of their own takes a hundred times as long to begin."""

import io
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import structlog

import api.__main__  # noqa: F401 - adds `up` and `serve` to the commands
from host.commands import main
from models import logs

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run_on_home(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, log_lines: io.StringIO) -> Command:
    """Runs a command on a home: its status, its standard output, its standard error."""
    for name in os.environ:
        if name.startswith("HELDOUT_"):
            monkeypatch.delenv(name)

    def run_command(home: Path, *words: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["heldout", *words, "--home", str(home)])
        structlog.reset_defaults()  # as in a process of its own
        with pytest.raises(SystemExit) as ended:
            main()
        logs.configure("DEBUG", log_lines)
        said = capsys.readouterr()
        return int(ended.value.code or 0), said.out, said.err

    return run_command
