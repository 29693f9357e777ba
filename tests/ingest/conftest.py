"""Real digits, read once."""

from pathlib import Path

import pytest

from models.bundled import BUNDLED


@pytest.fixture(scope="session")
def mnist5k():
    """5,000 digits of MNIST in the contract's splits."""
    return BUNDLED["mnist5k"].read(Path("unused"))


@pytest.fixture(scope="session")
def digits():
    """1,797 digits of 8×8 pixels."""
    return BUNDLED["digits"].read(Path("unused"))
