"""Real digits, read once, and what would fill a memory."""

import zlib
from pathlib import Path

import pytest
from threadpoolctl import threadpool_limits

from models.bundled import BUNDLED


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    """Matrices are multiplied by one thread, as in the process that checks uploads."""
    with threadpool_limits(1):
        yield


@pytest.fixture(scope="session")
def mnist5k():
    """5,000 digits of MNIST in the contract's splits."""
    return BUNDLED["mnist5k"].read(Path("unused"))


@pytest.fixture(scope="session")
def digits():
    """1,797 digits of 8×8 pixels."""
    return BUNDLED["digits"].read(Path("unused"))


@pytest.fixture(scope="session")
def bomb() -> bytes:
    """200 MiB of zeros, compressed."""
    return zlib.compress(bytes(200 * 1024**2), 9)
