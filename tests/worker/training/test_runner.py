"""Training processes as the supervisor starts them: forked, controlled by messages, and checked by their files."""

import json
import os
import resource
import signal
import zipfile
from pathlib import Path

import keras
import numpy as np
import pytest

from analysis.arrays.dataset import load
from heldout.stored.artifacts import ArtifactName
from heldout.stored.gap import StoredGap
from tests.worker.training.processes import Process, get_path
from tests.worker.training.trainings import small_spec
from worker.messages import Alive, EpochDone, Failed, Finished, FirstStep, Started, StopCause, Stopped

pytestmark = pytest.mark.usefixtures("forking")


def test_a_model_trained_in_mixed_precision_is_plain_float32_with_the_served_figures(start, dataset):
    changes = {"label_smoothing": 0.1, "class_weights": "balanced", "mixup": 0.2, "ema_decay": 0.9}
    spec = small_spec({"filters": 8, "dropout": 0.1, "l2": 0.01}, training={"epochs": 2} | changes)
    process = start(spec, precision="mixed")
    finished = process.end()
    model = keras.saving.load_model(get_path(finished, ArtifactName.MODEL), safe_mode=True)
    assert {layer.compute_dtype for layer in model.layers} == {"float32"}
    images, gap = load(dataset), StoredGap.from_bytes(get_path(finished, ArtifactName.GAP).read_bytes())
    with zipfile.ZipFile(get_path(finished, ArtifactName.MODEL)) as archive:
        facts = json.loads(archive.read("heldout.json"))
    with np.load(get_path(finished, ArtifactName.PREDICTIONS)) as arrays:
        assert json.loads(str(arrays["about"])) == facts
    assert (facts["classes"], facts["range"]) == (list(images.classes), list(images.value_range))
    for split in ("train", "validation", "test"):
        rows = images.splits[split]
        loss, accuracy = model.evaluate(np.asarray(images.images[rows]), images.labels[rows], verbose=0)
        assert getattr(finished.final, split).loss == pytest.approx(loss, abs=1e-5)
        assert getattr(finished.final, split).accuracy == pytest.approx(accuracy, abs=1e-6)
        assert getattr(gap, split).loss == getattr(finished.final, split).loss
    for split in ("train", "validation"):
        assert process.history[-1][f"{split}_loss"] == pytest.approx(getattr(finished.final, split).loss, rel=1e-3)
        assert process.history[-1][f"{split}_accuracy"] == getattr(finished.final, split).accuracy


def test_a_process_sends_its_messages_in_order_and_ignores_the_terminals_interrupt(start):
    """Interrupts are handled by the supervisor."""
    process = start(small_spec(training={"epochs": 2}), towers=2)
    process.until(lambda message: isinstance(message, Started))
    os.kill(process.process.pid, signal.SIGINT)
    finished = process.end()
    kinds = [type(message) for message in process.messages]
    assert kinds == [Alive, Started, FirstStep, EpochDone, EpochDone, Finished]
    engine = process.messages[1].engine
    assert set(engine) == {"device", "threads", "towers", "precision", "python", "tensorflow", "keras", "host"}
    assert (engine["device"], engine["threads"], engine["towers"]) == ("cpu", 1, 2)
    assert finished.stop_reason == "completed"
    files = (get_path(finished, name) for name in (ArtifactName.MODEL, ArtifactName.PREDICTIONS))
    assert {Path(file).parent for file in files} == {process.scratch}
    json.dumps([finished.final.model_dump(mode="json"), process.history, engine], allow_nan=False)


def test_a_deadline_before_the_first_epoch_is_a_failure(start):
    process = start(small_spec({"filters": 64}, {"filters": 64}, training={"epochs": 1000}))
    process.pipe.send(StopCause.DEADLINE)
    assert process.end() == Failed("deadline", "limits.max_runtime_s passed before one epoch was complete.")


def test_a_stop_request_is_obeyed_after_the_first_step_and_keeps_the_state(start):
    process = start(small_spec(training={"epochs": 1000}))
    process.pipe.send(StopCause.RELEASE)
    stopped = process.end()
    assert isinstance(stopped, Stopped)
    assert (stopped.epoch, stopped.step, stopped.model) == (0, 1, None)
    assert stopped.checkpoint.is_file()


def test_a_diverging_training_reports_the_epoch_and_the_figures(start):
    optimizer = {"name": "sgd", "learning_rate": 1.0, "momentum": 0.99}
    blocks = [{"filters": 8, "l2": 1.0, "repeat": 3, "pool": 1, "activation": "elu"}]
    process = start(small_spec(*blocks, training={"epochs": 50, "optimizer": optimizer}))
    failed = process.end()
    assert failed.code == "diverged"
    broken = process.history[-1]
    assert broken["train_loss"] is None
    assert f"Epoch {broken['epoch']}: train_loss" in failed.detail
    json.dumps(process.history, allow_nan=False)


def test_a_damaged_checkpoint_is_named(start, tmp_path):
    damaged = tmp_path / "resume.ckpt"
    damaged.write_bytes(b"heldout checkpoint 1\n" + bytes(500))
    failed = start(small_spec(), checkpoint=damaged).end()
    assert failed.code == "checkpoint_damaged"
    assert "resume.ckpt" in failed.detail


def test_an_unexpected_error_gives_the_owner_one_sentence_and_the_operator_a_traceback(tmp_path):
    (tmp_path / "dataset").mkdir()
    process = Process(small_spec(), tmp_path / "dataset")
    failed = process.end()
    assert failed.code == "internal"
    assert failed.detail == "The worker had an internal error (FileNotFoundError); its log says where."
    assert "Traceback (most recent call last)" in process.log.read_text()


def test_weights_that_exceed_the_memory_are_reported_as_such(start):
    wide = {"filters": 1024, "padding": "same", "pool": 1}
    process = start(small_spec(wide, network={"dense": [{"units": 4096}]}))  # 13 GB of weights
    process.until(lambda message: isinstance(message, Alive))
    pages = int(Path(f"/proc/{process.process.pid}/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + 2 * 2**30
    resource.prlimit(process.process.pid, resource.RLIMIT_AS, (limit, limit))
    failed = process.end()
    assert failed.code == "out_of_memory"
    assert "Use a smaller batch_size or fewer filters." in failed.detail
