"""Datasets for the tests of the worker: real digits, small."""

from pathlib import Path

import pytest

from models.arrays import ImageSet
from models.bundled import BUNDLED


@pytest.fixture(scope="session")
def mnist5k() -> ImageSet:
    """5,000 real MNIST digits, 28×28."""
    return BUNDLED["mnist5k"].read(Path())


@pytest.fixture(scope="session")
def digits() -> ImageSet:
    """1,797 real digits, 8×8, pixels in 0–16."""
    return BUNDLED["digits"].read(Path())
