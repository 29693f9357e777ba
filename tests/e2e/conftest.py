"""Services for the tests: one for each that harms it, one a file for the others."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from heldout.client import Client
from tests.e2e.running import Service


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


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """One service for the tests of a file that leave it as it was."""
    running = Service(tmp_path_factory.mktemp("service") / "home").start()
    yield running
    running.close()


@pytest.fixture
def client(service: Service) -> Iterator[Client]:
    with service.client() as opened:
        yield opened
