"""What all tests share."""

import signal

pytest_plugins = ["tests.servers_fixtures"]


def pytest_configure() -> None:
    """Hear these signals, as the processes that tests start then do too: nohup and `&` leave them ignored."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
