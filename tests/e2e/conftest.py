"""Services for tests: a fresh one for each test that damages it, and a shared one for all others."""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from heldout.client.client import Client
from heldout.errors import JobFinished
from tests.e2e.running import Service, wait_for_end
from tests.servers import find_free_port


@pytest.fixture
def temporary() -> Iterator[Path]:
    """A temporary directory for one service."""
    with tempfile.TemporaryDirectory(prefix="heldout-test-") as name:
        yield Path(name)


@pytest.fixture
def make_service(tmp_path: Path) -> Iterator[Callable[..., Service]]:
    made: list[Service] = []

    def make(name: str = "home", **environment: str) -> Service:
        service = Service(tmp_path / name, **environment)
        made.append(service)
        return service

    yield make
    for service in made:
        service.close()


@pytest.fixture(scope="session")
def running_service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """One service for all files whose tests leave it unchanged: it takes as long to start as several trainings."""
    # The reconciler removes the files of what was deleted, and some tests wait for that.
    environment = {"HELDOUT_RECONCILE_S": "1", "HELDOUT_METRICS_PORT": str(find_free_port())}
    running = Service(tmp_path_factory.mktemp("service") / "home", **environment).start()
    yield running
    running.close()


@pytest.fixture(scope="module")
def service(running_service: Service) -> Iterator[Service]:
    """The shared service, without jobs and datasets of other files. It is restarted if it has ended."""
    if not running_service.lives():
        running_service.close()
        running_service.start()
    yield running_service
    with running_service.client() as client:
        for job in [job for job in client.jobs.list() if not job.has_ended]:
            with suppress(JobFinished):  # since it was listed
                client.jobs.cancel(job.id)
            wait_for_end(client, job.id)
        for dataset in client.datasets.list():
            if not dataset.bundled:
                client.datasets.delete(dataset.id)


@pytest.fixture
def client(service: Service) -> Iterator[Client]:
    with service.client() as opened:
        yield opened
