"""Training processes for tests, and what ends those that a test left."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from heldout.spec.job import JobSpec
from tests.worker.training.processes import Process, Start


@pytest.fixture
def start(forking: None, dataset: Path) -> Iterator[Start]:
    """Starts training processes on the module's dataset and ends those that a test left."""
    started: list[Process] = []

    def start(spec: JobSpec, **options: Any) -> Process:
        started.append(Process(spec, dataset, **options))
        return started[-1]

    yield start
    for process in started:
        process.process.kill()
        process.process.join()
