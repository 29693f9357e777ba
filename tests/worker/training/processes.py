"""Training processes as the supervisor starts them, for tests of their messages and files."""

import multiprocessing
import tempfile
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Literal

import pytest

from analysis.arrays.columns import COLUMNS_FILE, Columns, write_columns
from analysis.arrays.dataset import ImageSet, save
from analysis.arrays.relations import FILE_NAME, Relations, save_relations
from heldout.spec.job import JobSpec
from heldout.stored.artifacts import ArtifactName
from heldout.stored.looks import StoredLooks
from worker.messages import (
    AssignedBackbone,
    AssignedDataset,
    AssignedFeatures,
    AssignedMachine,
    AssignedStart,
    Assignment,
    EpochDone,
    Finished,
    FromTraining,
)
from worker.training import child

TIMINGS = {"seconds", "evaluation_seconds", "images_per_second"}
# A test fails if its process sends nothing for this long.
SILENCE_S = 60


class Process:
    """A training process and all messages that it has sent."""

    def __init__(
        self,
        spec: JobSpec,
        dataset: Path,
        *,
        checkpoint: Path | None = None,
        towers: int = 1,
        precision: Literal["auto", "float32", "mixed"] = "float32",
        resident_bytes: int | None = None,
        relations: Relations | None = None,
        looks: StoredLooks | None = None,
        columns: Columns | None = None,
        initial: Path | None = None,
        initial_layers: tuple[str, ...] = (),
        backbone: AssignedBackbone | None = None,
        features: AssignedFeatures | None = None,
        for_study: bool = False,
        cores: int = 2,
        target: Callable[..., None] = child.main,
    ) -> None:
        self.scratch = Path(tempfile.mkdtemp(dir=dataset.parent))
        if relations is not None:
            save_relations(relations, self.scratch / FILE_NAME)
        if looks is not None:
            (self.scratch / looks.file_name).write_bytes(looks.to_bytes())
        if columns is not None:
            write_columns(columns, self.scratch / COLUMNS_FILE)
        self.assignment = Assignment(
            job_id="job_1",
            spec=spec,
            dataset=AssignedDataset(
                dataset,
                "sha256",
                relations=None if relations is None else self.scratch / FILE_NAME,
                looks=None if looks is None else self.scratch / looks.file_name,
                columns=None if columns is None else self.scratch / COLUMNS_FILE,
            ),
            scratch=self.scratch,
            machine=AssignedMachine(towers=towers, cores=cores, precision=precision, resident_bytes=resident_bytes),
            start=AssignedStart(checkpoint, initial, initial_layers, backbone),
            features=features,
            for_study=for_study,
        )
        forking = multiprocessing.get_context("forkserver")
        self.pipe, theirs = forking.Pipe()
        self.log = self.scratch / "log.txt"
        self.process = forking.Process(target=target, args=(theirs, self.assignment, str(self.log)), daemon=True)
        self.process.start()
        theirs.close()
        self.messages: list[FromTraining] = []

    def next(self) -> FromTraining | None:
        """Return the next message, or None after the last."""
        assert self.pipe.poll(SILENCE_S), self.log.read_text()
        try:
            self.messages.append(self.pipe.recv())
        except EOFError:
            self.process.join(SILENCE_S)
            return None
        return self.messages[-1]

    def until(self, wanted: Callable[[FromTraining], bool]) -> FromTraining:
        while (message := self.next()) is not None:
            if wanted(message):
                return message
        raise AssertionError(f"The process ended with {self.messages[-1]}: {self.log.read_text()}")

    def end(self) -> FromTraining:
        """Wait until the process has ended, and return its last message."""
        while self.next() is not None:
            pass
        assert self.process.exitcode == 0
        return self.messages[-1]

    @property
    def history(self) -> list[dict[str, Any]]:
        return [
            {"epoch": done.epoch} | {name: value for name, value in done.values.items() if name not in TIMINGS}
            for done in self.messages
            if isinstance(done, EpochDone)
        ]


Start = Callable[..., Process]


def wait_long(pipe: Connection, assignment: Assignment, log: str) -> None:
    """Run a training process that waits for its next job even on a busy machine."""
    import worker.training.supervisor_pipe

    worker.training.supervisor_pipe.NEXT_JOB_WITHIN_S = 100.0
    child.main(pipe, assignment, log)


def get_path(finished: Finished, name: ArtifactName) -> Path:
    """Return the path of the file of that name."""
    return next(file.path for file in finished.files if file.name is name)


def assert_resumes_exactly(start: Start, spec: JobSpec, backbone: AssignedBackbone) -> None:
    """Check that a training killed after its first epoch and resumed ends with the same bits as one that was not."""
    whole = start(spec, backbone=backbone)
    expected = whole.end()
    assert isinstance(expected, Finished)
    lost = start(spec, backbone=backbone)
    done = lost.until(lambda message: isinstance(message, EpochDone) and message.epoch == 1)
    assert isinstance(done, EpochDone)
    lost.process.kill()
    second = start(spec, backbone=backbone, checkpoint=done.checkpoint)
    continued = second.end()
    assert isinstance(continued, Finished)
    assert continued.final == expected.final
    assert lost.history[:1] + second.history == whole.history


def folder_of(images: ImageSet, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Save a dataset in the internal format; the scratch folders of its jobs are created next to it."""
    folder = tmp_path_factory.mktemp("job") / "dataset"
    folder.mkdir()
    save(images, folder)
    return folder
