"""Services for the tests: one for each that harms it, and one for all others."""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from heldout.client.client import Client
from heldout.errors import JobFinished
from tests.e2e.running import Service, ended
from tests.servers import find_free_port


@pytest.fixture
def temporary() -> Iterator[Path]:
    """A temporary directory of a service's own."""
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
    """One service for the tests of all files that leave it as it was: its start takes as long as some trainings."""
    # Files of what was deleted go with a round of the reconciler, which some tests wait for.
    environment = {"HELDOUT_RECONCILE_S": "1", "HELDOUT_METRICS_PORT": str(find_free_port())}
    running = Service(tmp_path_factory.mktemp("service") / "home", **environment).start()
    yield running
    running.close()


@pytest.fixture(scope="module")
def service(running_service: Service) -> Iterator[Service]:
    """The shared service, without the jobs and datasets of other files; started again where one has ended it."""
    if not running_service.lives():
        running_service.close()
        running_service.start()
    yield running_service
    with running_service.client() as client:
        for job in [job for job in client.jobs.list() if not job.has_ended]:
            with suppress(JobFinished):  # since it was listed
                client.jobs.cancel(job.id)
            ended(client, job.id)
        for dataset in client.datasets.list():
            if not dataset.bundled:
                client.datasets.delete(dataset.id)


@pytest.fixture
def client(service: Service) -> Iterator[Client]:
    with service.client() as opened:
        yield opened
