"""Fixtures: an app on a fresh database with bundled datasets, clients of two owners, and a simulated worker."""

import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx2
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from pydantic import SecretStr

from analysis.arrays.dataset import compute_content_address, save
from api.app import create_app
from heldout.service.settings import Settings
from models import bundled
from models.blobs import Blobs
from models.database import Database
from models.ids import make_id
from models.store import datasets
from tests.api.support import EXAMPLES, PlayedWorker, bearer, make_key, run_server
from tests.routes_once import routes_read_once


@pytest.fixture(scope="session", autouse=True)
def _logs_away_from_the_terminal(log_lines: io.StringIO) -> None:
    """Keep logs off the terminal, because the service runs in this process."""


@pytest.fixture(scope="session", autouse=True)
def _routes_read_once() -> Iterator[None]:
    with routes_read_once():
        yield


@pytest.fixture(scope="session")
def stored_sets(tmp_path_factory) -> tuple[str, Callable[[Database], None]]:
    """Return the URL of a blob store with the small bundled datasets, and what adds their rows to a database."""
    blobs = Blobs((tmp_path_factory.mktemp("api") / "blobs").as_uri())
    found = {}
    for name in ("digits", "mnist5k"):
        images = bundled.BUNDLED[name].read(Path("/nonexistent"))
        sha256 = compute_content_address(images)
        folder = tmp_path_factory.mktemp(name)
        save(images, folder)
        for file in folder.iterdir():
            blobs.put(f"datasets/{sha256}/{file.name}", file)
        found[name] = images, sha256, datasets.describe_splits(images)

    def add_rows(database: Database) -> None:
        with database.write() as session, pytest.MonkeyPatch.context() as patch:
            for name, (images, sha256, splits) in found.items():
                patch.setattr(datasets, "describe_splits", lambda _, splits=splits: splits)  # takes most of the time
                datasets.add_bundled(session, make_id("ds"), name, images, sha256, size_bytes=1)

    return f"file://{blobs.get_local_folder('')}", add_rows


@pytest.fixture(scope="session")
def shared_settings(stored_sets) -> Settings:
    """Read the environment once, because that takes longer than anything else of an app."""
    return Settings(redis_url=None, blobs=stored_sets[0], reconcile_s=3600)


@pytest.fixture
def settings(database_url: str, shared_settings: Settings, tmp_path: Path) -> Settings:
    return shared_settings.model_copy(update={"home": tmp_path, "database_url": SecretStr(database_url)})


@pytest.fixture
def app(settings: Settings, database: Database, stored_sets) -> FastAPI:
    """Return the app, whose database has `digits` and `mnist5k`."""
    stored_sets[1](database)
    return create_app(settings)


@pytest.fixture
def key(database: Database) -> str:
    return make_key(database, "ada")


@pytest.fixture
def client(app: FastAPI, key: str) -> Iterator[TestClient]:
    """Return a client of the owner `ada`."""
    with TestClient(app, headers=bearer(key)) as client:
        yield client


@pytest.fixture
def stranger(client: TestClient, app: FastAPI, database: Database) -> TestClient:
    """Return a client of another owner of the same service."""
    return TestClient(app, headers=bearer(make_key(database, "eve")))


@pytest.fixture
def service(app: FastAPI, key: str) -> Iterator[httpx2.Client]:
    """Return a client of `ada` for a real server."""
    with run_server(app) as (url, _), httpx2.Client(base_url=url, headers=bearer(key), timeout=90) as client:
        yield client


@pytest.fixture
def spec() -> dict:
    """Return the smallest complete spec, with 93,962 parameters on mnist5k."""
    return json.loads((EXAMPLES / "overfit.json").read_text())


@pytest.fixture
def worker(database: Database, settings: Settings) -> PlayedWorker:
    return PlayedWorker(database, Blobs(settings.blobs_url))
