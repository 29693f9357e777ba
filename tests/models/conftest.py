"""The fixture `work`: what clients and workers do, on a fresh database."""

import pytest

from models.database import Database
from tests.models.work import Work


@pytest.fixture
def work(database: Database) -> Work:
    return Work(database)
