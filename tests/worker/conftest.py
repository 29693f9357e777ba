"""Fixtures for tests of the worker: small sets of real digits, and the server that forks training processes."""

import multiprocessing
from collections.abc import Iterator
from multiprocessing import forkserver
from pathlib import Path

import pytest

from analysis.arrays.dataset import ImageSet
from models.bundled import BUNDLED


@pytest.fixture(scope="session")
def mnist5k() -> ImageSet:
    """5,000 real MNIST digits, 28×28."""
    return BUNDLED["mnist5k"].read(Path())


@pytest.fixture(scope="session")
def digits() -> ImageSet:
    """1,797 real digits, 8×8, pixels in 0–16."""
    return BUNDLED["digits"].read(Path())


@pytest.fixture(scope="session", autouse=True)
def forking() -> Iterator[None]:
    """Configure the server that forks as the supervisor does. It starts with the first process."""
    multiprocessing.get_context("forkserver").set_forkserver_preload(["worker.training.preload"])
    yield
    forkserver._forkserver._stop()  # type: ignore[attr-defined]
