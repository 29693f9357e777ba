"""Training processes for tests, which are killed when the test ends."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from analysis.arrays.dataset import ImageSet
from heldout.spec.job import JobSpec
from tests.worker.training.processes import Process, Start, folder_of


@pytest.fixture(scope="module")
def dataset(mnist5k: ImageSet, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a dataset with 372 training images: 11 full batches of 32, and one of 20."""
    from tests.worker.training.trainings import fewer  # imports TensorFlow, which some tests do not need

    return folder_of(fewer(mnist5k, 372), tmp_path_factory)


@pytest.fixture
def start(forking: None, dataset: Path) -> Iterator[Start]:
    """Start training processes on the module's dataset; kill those that still run when the test ends."""
    started: list[Process] = []

    def start(spec: JobSpec, **options: Any) -> Process:
        started.append(Process(spec, dataset, **options))
        return started[-1]

    yield start
    for process in started:
        process.process.kill()
        process.process.join()
