"""Training processes as the supervisor starts them: forked, told by messages, and judged by what they leave behind."""

import json
import multiprocessing
import os
import resource
import signal
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from analysis.arrays.dataset import ImageSet, load
from heldout.stored.artifacts import ArtifactName
from tests.worker.training.processes import Process, folder_of
from tests.worker.training.trainings import example, fewer, small_spec
from worker.messages import (
    Alive,
    EpochDone,
    Failed,
    Finished,
    FirstStep,
    Progress,
    Started,
    Stop,
    StopCause,
    Stopped,
)

pytestmark = pytest.mark.usefixtures("forking")


@pytest.fixture(scope="module")
def dataset(mnist5k: ImageSet, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return folder_of(fewer(mnist5k, 372), tmp_path_factory)


FRESH_KERAS = """
import json, sys, warnings
import keras, numpy as np
warnings.simplefilter("error")
warnings.filterwarnings("ignore", "__array__ implementation doesn't accept a copy keyword")
images, predictions = np.load(sys.argv[1] + "/images.npy"), np.load(sys.argv[2] + "/predictions.npz")
model = keras.saving.load_model(sys.argv[2] + "/model.keras", safe_mode=True)
report = {"parameters": model.count_params(), "layers": [type(layer).__name__ for layer in model.layers]}
for split in ("train", "validation", "test"):
    raw, labels = images[predictions[split + "_indices"]], predictions[split + "_labels"]
    loss, _ = model.evaluate(raw, labels, verbose=0)
    answers = model.predict(raw, verbose=0)
    report[split] = {
        "loss": loss,
        "accuracy": float((answers.argmax(1) == labels).mean()),
        "apart": float(np.abs(answers - predictions[split + "_probabilities"]).max()),
    }
print(json.dumps(report))
"""


def in_fresh_keras(process: Process) -> dict[str, Any]:
    """What plain Keras, with nothing of ours, makes of the files that a training left."""
    run = subprocess.run(
        [sys.executable, "-c", FRESH_KERAS, process.assignment.dataset, str(process.scratch)],
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout.splitlines()[-1])


def test_a_downloaded_model_gives_the_served_figures_in_plain_keras(start):
    changes = {"label_smoothing": 0.1, "class_weights": "balanced", "mixup": 0.2, "ema_decay": 0.9}
    spec = example("regularized", epochs=2, **changes)
    process = start(spec.model_copy(update={"augmentation": example("augmented").augmentation}))
    final = process.end().final
    report = in_fresh_keras(process)
    for split in ("train", "validation", "test"):
        assert report[split]["accuracy"] == getattr(final, split).accuracy
        assert report[split]["loss"] == pytest.approx(getattr(final, split).loss, abs=1e-5)
        assert report[split]["apart"] < 1e-5
    assert report["parameters"] == 34_826
    assert report["layers"][:2] == ["InputLayer", "Rescaling"]
    assert report["layers"][-1] == "Softmax"
    last = process.history[-1]
    assert final.epoch == 2
    for split in ("train", "validation"):
        assert getattr(final, split).loss == pytest.approx(last[f"{split}_loss"], abs=1e-5)
        assert getattr(final, split).accuracy == last[f"{split}_accuracy"]


def test_a_model_that_was_trained_in_mixed_precision_is_a_plain_one_with_the_served_figures(start, dataset):
    process = start(small_spec({"filters": 8, "dropout": 0.1}, training={"epochs": 2}), precision="mixed")
    finished = process.end()
    model = keras.saving.load_model(finished.path_of(ArtifactName.MODEL), safe_mode=True)
    assert {layer.compute_dtype for layer in model.layers} == {"float32"}
    images = load(dataset)
    with zipfile.ZipFile(finished.path_of(ArtifactName.MODEL)) as archive:
        facts = json.loads(archive.read("heldout.json"))
    with np.load(finished.path_of(ArtifactName.PREDICTIONS)) as arrays:
        assert json.loads(str(arrays["about"])) == facts
    assert (facts["classes"], facts["range"]) == (list(images.classes), list(images.value_range))
    for split in ("train", "validation", "test"):
        rows = images.splits[split]
        loss, accuracy = model.evaluate(np.asarray(images.images[rows]), images.labels[rows], verbose=0)
        assert getattr(finished.final, split).loss == pytest.approx(loss, abs=1e-5)
        assert getattr(finished.final, split).accuracy == pytest.approx(accuracy, abs=1e-6)
    for split in ("train", "validation"):
        assert process.history[-1][f"{split}_loss"] == pytest.approx(getattr(finished.final, split).loss, rel=1e-3)
        assert process.history[-1][f"{split}_accuracy"] == getattr(finished.final, split).accuracy


def test_a_process_says_what_it_does_in_the_agreed_order(start):
    process = start(small_spec(training={"epochs": 2}), towers=2)
    finished = process.end()
    kinds = [type(message) for message in process.said if not isinstance(message, Progress)]
    assert kinds == [Alive, Started, FirstStep, EpochDone, EpochDone, Finished]
    engine = process.said[1].engine
    assert set(engine) == {"device", "threads", "towers", "precision", "python", "tensorflow", "keras", "host"}
    assert (engine["device"], engine["threads"], engine["towers"]) == ("cpu", 1, 2)
    assert finished.stop_reason == "completed"
    assert (
        Path(finished.path_of(ArtifactName.MODEL)).parent
        == Path(finished.path_of(ArtifactName.PREDICTIONS)).parent
        == process.scratch
    )
    json.dumps([finished.final.model_dump(mode="json"), process.history, engine], allow_nan=False)


def test_a_training_paused_and_resumed_in_a_new_process_equals_an_uninterrupted_one(start):
    """With dropout, penalties and augmentation; test_trainer.py resumes each reference spec."""
    spec = example("regularized", epochs=3).model_copy(update={"augmentation": example("augmented").augmentation})
    whole = start(spec)
    first = start(spec)
    first.until(lambda message: isinstance(message, Progress) and message.epoch == 2)
    first.pipe.send(Stop(StopCause.PAUSE))
    stopped = first.end()
    expected = whole.end()
    assert isinstance(stopped, Stopped)
    assert stopped.epoch in (1, 2)
    second = start(spec, checkpoint=stopped.checkpoint)
    finished = second.end()
    assert finished.final == expected.final
    # The pause may have been heard after its epoch was told.
    assert first.history + second.history == whole.history
    with (
        np.load(expected.path_of(ArtifactName.PREDICTIONS)) as one,
        np.load(finished.path_of(ArtifactName.PREDICTIONS)) as two,
    ):
        for entry in one:
            np.testing.assert_array_equal(one[entry], two[entry])


def test_a_lost_process_is_continued_from_its_last_epochs_checkpoint(start):
    spec = small_spec(
        {"filters": 4, "dropout": 0.2},
        training={"epochs": 4, "early_stopping": {"patience": 4}},
        evaluation={"test": "every_epoch"},
    )
    whole = start(spec)
    expected = whole.end()
    lost = start(spec)
    done = lost.until(lambda message: isinstance(message, EpochDone) and message.epoch == 2)
    lost.process.kill()
    second = start(spec, checkpoint=done.checkpoint)
    assert second.end().final == expected.final
    assert second.history == whole.history[2:]


def test_a_deadline_keeps_the_whole_epochs(start):
    process = start(small_spec(training={"epochs": 1000}))
    process.until(lambda message: isinstance(message, EpochDone) and message.epoch == 2)
    process.pipe.send(Stop(StopCause.DEADLINE))
    finished = process.end()
    assert finished.stop_reason == "deadline"
    kept = finished.final.epoch
    assert kept == len(process.history)
    assert finished.final.validation.accuracy == process.history[kept - 1]["validation_accuracy"]


def test_a_deadline_before_the_first_epoch_is_a_failure(start):
    process = start(small_spec({"filters": 64}, {"filters": 64}, training={"epochs": 1000}))
    process.pipe.send(Stop(StopCause.DEADLINE))
    assert process.end() == Failed("deadline", "limits.max_runtime_s has passed before one epoch was whole.")


def test_a_stop_keeps_what_was_trained_whenever_it_comes(start):
    process = start(small_spec(training={"epochs": 1000}))
    process.pipe.send(Stop(StopCause.RELEASE))
    stopped = process.end()
    assert isinstance(stopped, Stopped)
    assert (stopped.epoch, stopped.step) == (0, 1)
    assert Path(stopped.checkpoint).is_file()


def test_early_stopping_is_said_and_the_best_epoch_kept(start):
    spec = example("augmented", epochs=30, early_stopping={"patience": 1, "min_delta": 0.05})
    process = start(spec.model_copy(update={"augmentation": None}))
    finished = process.end()
    assert finished.stop_reason == "early_stopped"
    assert finished.final.epoch == len(process.history) - 1
    best = process.history[-2]
    assert finished.final.validation.loss == pytest.approx(best["validation_loss"], abs=1e-5)


def test_what_the_last_epoch_costs_is_measured_on_the_images_that_chose_nothing(start):
    """The same training without early stopping ends with the weights that are compared with the kept ones."""
    spec = example("overfit", epochs=30, early_stopping={"patience": 1, "min_delta": 0.05})
    stopping = start(spec)
    kept = stopping.end()
    epochs = len(stopping.history)
    going_on = start(example("overfit", epochs=epochs))
    last = going_on.end()
    said = json.loads(kept.path_of(ArtifactName.EVALUATION).read_text())["last_epoch"]
    assert json.loads(last.path_of(ArtifactName.EVALUATION).read_text())["last_epoch"] is None
    assert (said["split"], said["count"]) == ("test", kept.final.test.count)
    assert (said["kept_epoch"], said["epoch"]) == (epochs - 1, epochs)
    assert (kept.other_reads, last.other_reads) == ((("test", epochs),), ())
    for figure, sign in (("accuracy", -1), ("loss", 1)):
        difference = sign * (getattr(last.final.test, figure) - getattr(kept.final.test, figure))
        assert said[figure]["difference"] == pytest.approx(difference, abs=1e-6)
        low, high = said[figure]["interval"]
        assert low <= difference <= high
        assert low < high


def test_a_test_split_that_is_never_measured_appears_nowhere(start):
    process = start(small_spec(training={"epochs": 1}, evaluation={"test": "never"}))
    finished = process.end()
    assert finished.final.test is None
    assert finished.final.gap.test is None
    with np.load(finished.path_of(ArtifactName.PREDICTIONS)) as stored:
        assert not [entry for entry in stored if entry.startswith("test")]


def test_a_training_that_diverges_says_in_which_epoch_and_by_which_figures(start):
    optimizer = {"name": "sgd", "learning_rate": 1.0, "momentum": 0.99}
    blocks = [{"filters": 8, "l2": 1.0, "repeat": 3, "pool": 1, "activation": "elu"}]
    process = start(small_spec(*blocks, training={"epochs": 50, "optimizer": optimizer}))
    failed = process.end()
    assert failed.code == "diverged"
    broken = process.history[-1]
    assert broken["train_loss"] is None
    assert f"Epoch {broken['epoch']}: train_loss" in failed.detail
    json.dumps(process.history, allow_nan=False)


def test_a_damaged_checkpoint_is_named_so_that_an_older_one_can_be_tried(start, tmp_path):
    damaged = tmp_path / "resume.ckpt"
    damaged.write_bytes(b"heldout checkpoint 1\n" + bytes(500))
    failed = start(small_spec(), checkpoint=str(damaged)).end()
    assert failed.code == "checkpoint_damaged"
    assert "resume.ckpt" in failed.detail


def test_anything_unforeseen_is_a_sentence_of_ours_for_the_owner_and_a_traceback_for_the_operator(tmp_path):
    (tmp_path / "dataset").mkdir()
    process = Process(small_spec(), tmp_path / "dataset")
    failed = process.end()
    assert failed.code == "internal"
    assert failed.detail == "The worker had an internal error (FileNotFoundError); its log says where."
    assert "Traceback (most recent call last)" in process.log.read_text()


def test_weights_that_do_not_fit_into_memory_are_reported_as_such(start):
    wide = {"filters": 1024, "padding": "same", "pool": 1}
    process = start(small_spec(wide, network={"dense": [{"units": 4096}]}))  # 13 GB of weights
    process.until(lambda message: isinstance(message, Alive))
    pages = int(Path(f"/proc/{process.process.pid}/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + 2 * 2**30
    resource.prlimit(process.process.pid, resource.RLIMIT_AS, (limit, limit))
    failed = process.end()
    assert failed.code == "out_of_memory"
    assert "Use a smaller batch_size or fewer filters." in failed.detail


# Like a worker it has no TensorFlow of its own.
SUPERVISOR = """
import multiprocessing, sys
from pathlib import Path
from heldout.spec.job import JobSpec
from tests.worker.training.processes import Process
from worker.messages import Started

if __name__ == "__main__":
    multiprocessing.get_context("forkserver").set_forkserver_preload(["worker.training.preload"])
    process = Process(JobSpec.model_validate_json(sys.argv[2]), Path(sys.argv[1]))
    process.until(lambda message: isinstance(message, Started))
    print(process.process.pid, flush=True)
    sys.stdin.read()
"""


def test_a_process_dies_with_its_supervisor_even_in_the_middle_of_a_step(dataset, tmp_path):
    script = tmp_path / "supervisor.py"
    script.write_text(SUPERVISOR)
    slow = {"filters": 512, "kernel_size": 11, "padding": "same", "repeat": 2}  # its first step takes minutes
    spec = small_spec(slow, training={"batch_size": 372})
    root = Path(__file__).parents[3]
    with (
        tempfile.TemporaryDirectory() as left_behind,  # by a process that is killed
        subprocess.Popen(
            [sys.executable, str(script), str(dataset), spec.model_dump_json()],
            cwd=root,
            env=os.environ | {"PYTHONPATH": str(root), "TMPDIR": left_behind},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        ) as supervisor,
    ):
        pid = int(supervisor.stdout.readline())
        handle = os.pidfd_open(pid)
        supervisor.send_signal(signal.SIGKILL)
    ended = multiprocessing.connection.wait([handle], timeout=10)
    os.close(handle)
    assert ended


def test_the_terminals_interrupt_is_left_to_the_supervisor(start):
    process = start(small_spec(training={"epochs": 2}))
    process.until(lambda message: isinstance(message, Started))
    os.kill(process.process.pid, signal.SIGINT)
    assert isinstance(process.end(), Finished)
