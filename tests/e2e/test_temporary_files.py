"""What a service leaves in the temporary directory: nothing, however it ended."""

import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.running import Service, until

MODES = [pytest.param((), id="local"), pytest.param(("--stack",), id="stack", marks=pytest.mark.proof)]


@pytest.fixture
def temporary() -> Iterator[Path]:
    """A temporary directory of the service's own, with a path that is short enough for sockets."""
    with tempfile.TemporaryDirectory(prefix="heldout-test-") as name:
        folder = Path(name)
        folder.chmod(0o755)  # servers of the stack run as another user where the tests are root
        yield folder


@pytest.fixture
def service(tmp_path: Path, temporary: Path, arguments: tuple[str, ...]) -> Iterator[Service]:
    made = Service(tmp_path / "home", *arguments, TMPDIR=str(temporary))
    yield made
    made.close()


def started_with_workers(service: Service, workers: int) -> None:
    """Start the service and wait until so many of its workers, over all starts, have been ready."""
    service.start()
    log = service.home / "logs" / "worker.log"
    until(lambda: log.exists() and log.read_text().count('"worker_ready"') >= workers, f"{workers} ready workers")


@pytest.mark.parametrize("arguments", MODES)
def test_a_service_that_is_stopped_leaves_nothing_and_a_start_after_a_kill_removes_what_was_left(
    service: Service, temporary: Path, arguments: tuple[str, ...]
) -> None:
    workers = 2 if arguments else 1
    started_with_workers(service, workers)
    service.kill()
    left = set(temporary.iterdir())
    started_with_workers(service, 2 * workers)
    assert left & set(temporary.iterdir()) == set()
    for number in (signal.SIGTERM, signal.SIGINT):
        service.stop(number)
        assert list(temporary.iterdir()) == [], number.name
        assert list((service.home / "scratch").iterdir()) == [], number.name
        if number is signal.SIGTERM:
            started_with_workers(service, 2 * workers + 1)  # a second worker of the stack may still be starting
