"""What a service leaves in the temporary directory: nothing, however it ended."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.running import Service, until

# tests/e2e/test_supervision.py stops a local service by SIGTERM.
CASES = [
    pytest.param((), signal.SIGINT, id="local"),
    pytest.param(("--stack",), signal.SIGINT, id="stack-SIGINT", marks=pytest.mark.proof),
    pytest.param(("--stack",), signal.SIGTERM, id="stack-SIGTERM", marks=pytest.mark.proof),
]


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


@pytest.mark.parametrize(("arguments", "number"), CASES)
def test_a_service_that_is_stopped_leaves_nothing_and_a_start_after_a_kill_removes_what_was_left(
    service: Service, temporary: Path, arguments: tuple[str, ...], number: signal.Signals
) -> None:
    workers = 2 if arguments else 1
    started_with_workers(service, workers)
    service.kill()
    left = set(temporary.iterdir())
    started_with_workers(service, 2 * workers)
    assert left & set(temporary.iterdir()) == set()
    service.stop(number)
    assert list(temporary.iterdir()) == []
    assert list((service.home / "scratch").iterdir()) == []
