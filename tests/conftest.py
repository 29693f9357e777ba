"""What all tests share."""

import io
import signal

import pytest

from models import logs

pytest_plugins = ["tests.servers_fixtures"]


def pytest_configure() -> None:
    """Hear these signals, as the processes that tests start then do too: nohup and `&` leave them ignored."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.fixture(scope="session")
def log_lines() -> io.StringIO:
    """What the service logs in this run."""
    stream = io.StringIO()
    logs.configure("DEBUG", stream)
    return stream
