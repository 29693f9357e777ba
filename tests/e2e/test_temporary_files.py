"""What a service leaves in the temporary directory: nothing, however it ended."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.running import Service, until


@pytest.fixture
def service(tmp_path: Path, temporary: Path) -> Iterator[Service]:
    made = Service(tmp_path / "home", TMPDIR=str(temporary))
    yield made
    made.close()


def started_with_workers(service: Service, workers: int) -> None:
    """Start the service and wait until so many of its workers, over all starts, have been ready."""
    service.start()
    log = service.home / "logs" / "worker.log"
    until(lambda: log.exists() and log.read_text().count('"worker_ready"') >= workers, f"{workers} ready workers")


# tests/e2e/test_supervision.py stops a service by SIGTERM.
def test_a_service_that_is_stopped_leaves_nothing_and_a_start_after_a_kill_removes_what_was_left(
    service: Service, temporary: Path
) -> None:
    started_with_workers(service, 1)
    service.kill()
    left = set(temporary.iterdir())
    started_with_workers(service, 2)
    assert left & set(temporary.iterdir()) == set()
    service.stop(signal.SIGINT)
    assert list(temporary.iterdir()) == []
    assert list((service.home / "scratch").iterdir()) == []
