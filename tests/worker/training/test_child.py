"""The folder in which a training process creates its temporary files."""

import os
import tempfile
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

import worker.training.runner
from tests.worker.training.processes import Process
from tests.worker.training.trainings import small_spec
from worker.messages import Assignment
from worker.training import child


def make_temporary_folder(pipe: Connection, assignment: Assignment, log: str) -> None:
    worker.training.runner.run = lambda _, pipe: pipe.send((tempfile.mkdtemp(), os.environ["TMPDIR"]))
    child.main(pipe, assignment, log)


@pytest.mark.usefixtures("forking")
def test_a_training_and_its_processes_create_temporary_files_in_the_folder_of_the_attempt(tmp_path: Path):
    process = Process(small_spec(), tmp_path / "dataset", target=make_temporary_folder)
    own, inherited = process.until(lambda message: isinstance(message, tuple))
    assert Path(own).parent == Path(inherited) == process.scratch
