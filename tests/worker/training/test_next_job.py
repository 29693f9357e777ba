"""A process that has trained a job trains another that differs only in its seed, as a new process would."""

import json
import os
import re
import signal
import zipfile
from collections import deque
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras.src.applications.convnext import StochasticDepth

from heldout.spec.job import JobSpec
from heldout.stored.artifacts import ArtifactName
from tests.worker.training.backbones import small_backbone, taken_apart
from tests.worker.training.processes import TIMINGS, Process, get_path, wait_long
from tests.worker.training.trainings import small_spec
from worker.machine.enclosed_process import ProcessDied
from worker.messages import (
    Alive,
    AssignedDataset,
    AssignedFeatures,
    AssignedMachine,
    AssignedStart,
    Assignment,
    EpochDone,
    Failed,
    Finished,
    Started,
)
from worker.supervision import processes
from worker.supervision.processes import SpareProcesses, TrainingProcess
from worker.training.engine.checkpoint import read_checkpoint

pytestmark = pytest.mark.usefixtures("forking")

ON_FEATURES = small_spec(
    network={"backbone": {"model": "mod_1"}, "blocks": [], "dense": [{"units": 6, "dropout": 0.3}]},
    training={"ema_decay": 0.9, "schedule": {"name": "cosine"}},
)
BLOCKS = small_spec(
    {"filters": 4, "batch_norm": True, "dropout": 0.2},
    training={
        "epochs": 9,
        "early_stopping": {"monitor": "validation_loss", "patience": 1, "min_delta": 0.5},
        "schedule": {"name": "reduce_on_plateau", "patience": 1},
        "mixup": 0.2,
    },
    augmentation={"rotation_degrees": 15, "horizontal_flip": True},
)


def with_seed(spec: JobSpec, seed: int, **training: Any) -> JobSpec:
    return spec.model_copy(update={"training": spec.training.model_copy(update={"seed": seed, **training})})


def follow(process: Process) -> Finished:
    """Follow a job to its end, with the messages of this job only."""
    process.messages.clear()
    end = process.until(lambda message: isinstance(message, Finished | Failed))
    assert isinstance(end, Finished), process.log.read_text()
    return end


def give_next(process: Process, alone: Process, folder: Path) -> Finished:
    """Give the process the job of another, and follow it."""
    folder.mkdir()
    process.log = folder / "log.txt"
    process.pipe.send(replace(alone.assignment, job_id="job_2", scratch=folder))
    return follow(process)


def list_told(process: Process) -> list[Any]:
    """Return all that a process has reported of its job, except how long it took."""
    reported = list[Any]()
    for message in process.messages:
        if isinstance(message, EpochDone):
            assert message.checkpoint is not None
            values = {name: value for name, value in message.values.items() if name not in TIMINGS}
            reported.append((message.epoch, values, message.checkpoint.name))
        elif not isinstance(message, Finished | Alive):
            reported.append(message)
    return reported


def read_last_checkpoint(process: Process) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    file = [message.checkpoint for message in process.messages if isinstance(message, EpochDone)][-1]
    assert file is not None
    arrays, about = read_checkpoint(file)
    return arrays, {**about, "position": {**about["position"], "seconds": 0}}


def read_model(finished: Finished) -> tuple[str, list[np.ndarray]]:
    """Return the layers and weights of the exported model, without the addresses of Python's objects."""
    file = get_path(finished, ArtifactName.MODEL)
    with zipfile.ZipFile(file) as archive:
        config = re.sub(r'"shared_object_id": \d+', "", archive.read("config.json").decode())
    return config, keras.saving.load_model(file).get_weights()


def read_predictions(finished: Finished) -> dict[str, np.ndarray]:
    with np.load(get_path(finished, ArtifactName.PREDICTIONS)) as arrays:
        return {name: arrays[name] for name in arrays.files}


def assert_same(first: Finished, process: Process, second: Finished, alone: Process) -> None:
    """Check that both processes have reported and written the same, bit for bit."""
    assert list_told(process) == list_told(alone)
    assert (first.final, first.stop_reason, first.other_reads) == (second.final, second.stop_reason, second.other_reads)
    for name in (ArtifactName.EVALUATION, ArtifactName.GAP):
        assert get_path(first, name).read_bytes() == get_path(second, name).read_bytes()
    answers, expected = read_predictions(first), read_predictions(second)
    about = json.loads(str(answers.pop("about")))
    assert about.pop("job_id") == "job_2"
    assert about | {"job_id": "job_1"} == json.loads(str(expected.pop("about")))
    np.testing.assert_equal(answers, expected)
    np.testing.assert_equal(read_model(first), read_model(second))
    np.testing.assert_equal(read_last_checkpoint(process), read_last_checkpoint(alone))


def test_a_head_trained_second_on_features_equals_one_trained_alone(start, tmp_path):
    file = small_backbone(tmp_path)
    features = AssignedFeatures(tmp_path / "features", 2**30, "ann")
    options: dict[str, Any] = {"backbone": taken_apart(file), "features": features, "for_study": True}
    shared = start(with_seed(ON_FEATURES, 7), target=wait_long, **options)
    first = follow(shared)
    alone = start(with_seed(ON_FEATURES, 8), **options)
    expected = follow(alone)
    second = give_next(shared, alone, tmp_path / "second")
    assert first.final != second.final
    assert_same(second, shared, expected, alone)
    third = give_next(shared, alone, tmp_path / "third")
    assert_same(third, shared, expected, alone)


@pytest.mark.parametrize("towers", [2, pytest.param(1, marks=pytest.mark.proof)])
def test_a_network_trained_after_one_that_stopped_early_equals_one_trained_alone(start, tmp_path, towers):
    options: dict[str, Any] = {"for_study": True, "towers": towers, "features": AssignedFeatures(tmp_path, 0, "ann")}
    shared = start(with_seed(BLOCKS, 1), target=wait_long, **options)
    assert follow(shared).stop_reason == "early_stopped"
    alone = start(with_seed(BLOCKS, 2), **options)
    expected = follow(alone)
    assert_same(give_next(shared, alone, tmp_path / "second"), shared, expected, alone)
    assert (tmp_path / "second" / "log.txt").exists()


@pytest.fixture
def begin(dataset, tmp_path, monkeypatch):
    """Start processes as a supervisor does, and kill them when the test ends."""
    monkeypatch.setattr(processes.child, "main", wait_long)
    monkeypatch.setattr(processes, "FORK_READY_TIMEOUT_S", 100)
    begun = list[TrainingProcess]()

    def assign(seed: int, owner: str = "ann", **changes: Any) -> Assignment:
        scratch = tmp_path / str(len(list(tmp_path.iterdir())))
        scratch.mkdir()
        spec = with_seed(small_spec(), seed, epochs=2)
        features = AssignedFeatures(tmp_path, 0, owner)
        return Assignment(
            "job", spec, AssignedDataset(dataset), scratch, features=features, **{"for_study": True, **changes}
        )

    def begin(assignment: Assignment) -> TrainingProcess:
        begun.append(TrainingProcess(assignment, assignment.scratch))
        return begun[-1]

    yield assign, begin
    for process in begun:
        process.kill()


def finish(process: TrainingProcess) -> Finished:
    while not isinstance(said := process.receive(100), Finished):
        assert said is not None
        assert not isinstance(said, Failed), process.last_lines()
    return said


def test_only_a_job_of_the_same_owner_that_differs_by_its_seed_goes_to_a_spare_process(begin):
    assign, start = begin
    spares = SpareProcesses()
    for other in (assign(1, owner="bob"), None):
        spare = start(assign(0))
        finish(spare)
        spares.put(spare)
        assert spares.take(other) is None
        spare._process.join(100)
        assert spare._process.exitcode is not None
    spare = start(assign(0))
    finish(spare)
    spares.put(spare)
    taken = spares.take(assign(1))
    assert taken is spare
    assert finish(taken).final == finish(start(assign(1))).final


def test_jobs_that_differ_by_more_than_their_names_and_seeds_do_not_share_a_process(begin):
    assign, _ = begin
    first, named = assign(0), small_spec(name="another", metadata={"seed": "second"})
    assert first.differs_only_by_seed(replace(assign(1), spec=with_seed(named, 1, epochs=2)))
    others = [
        assign(1, owner="bob"),
        assign(1, machine=AssignedMachine(towers=2)),
        assign(1, start=AssignedStart(checkpoint=Path("resume.ckpt"))),
        replace(assign(1), spec=with_seed(small_spec(), 1, epochs=3)),
        replace(assign(1), dataset=AssignedDataset(Path("other"))),
    ]
    assert not any(first.differs_only_by_seed(other) for other in others)
    of_nobody = replace(first, features=None)
    assert not of_nobody.differs_only_by_seed(of_nobody)


def test_a_process_killed_in_its_second_job_fails_that_job_only_and_another_one_is_started(begin):
    assign, start = begin
    spares, spare = SpareProcesses(), start(assign(0))
    finish(spare)
    spares.put(spare)
    taken = spares.take(assign(1))
    assert taken is spare
    while not isinstance(taken.receive(100), Started):
        pass
    os.kill(taken.pid, signal.SIGKILL)
    with pytest.raises(ProcessDied):
        finish(taken)
    spares.put(taken)
    assert spares.take(assign(2)) is None


def test_draws_from_a_generator_of_the_whole_process_follow_the_seed_and_end_the_process(start, tmp_path):
    pixels = keras.Input((28, 28, 1))
    keras.Model(pixels, StochasticDepth(0.5)(keras.layers.Conv2D(4, 3)(pixels))).save(tmp_path / "mine.keras")
    backbone = taken_apart(tmp_path / "mine.keras")
    spec = small_spec(network={"backbone": {"model": "mod_1", "trainable": True}, "blocks": []}, training={"epochs": 2})
    options: dict[str, Any] = {"features": AssignedFeatures(tmp_path, 0, "ann"), "for_study": True, "target": wait_long}
    ended = [start(with_seed(spec, seed), backbone=backbone, **options).end() for seed in (1, 1, 2)]
    first, again, other = [end.final for end in ended if isinstance(end, Finished)]
    assert first == again
    assert first != other


@pytest.mark.parametrize("changes", [{"for_study": False}, {"start": AssignedStart(checkpoint=Path("missing"))}])
def test_a_process_ends_after_a_job_that_no_other_can_follow(begin, changes):
    assign, start = begin
    process = start(assign(0, **changes))
    with pytest.raises(ProcessDied):
        deque(iter(lambda: process.receive(100), None))
