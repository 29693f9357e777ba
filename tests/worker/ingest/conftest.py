"""Fixtures for tests of the ingest."""

import zlib
from collections.abc import Iterator

import pytest
from threadpoolctl import threadpool_limits


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    """Matrices are multiplied by one thread, as in the process that checks uploads."""
    with threadpool_limits(1):
        yield


@pytest.fixture(scope="session")
def bomb() -> bytes:
    """200 MiB of zeros, compressed."""
    return zlib.compress(bytes(200 * 1024**2), 9)
