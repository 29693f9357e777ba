"""A job trains on several devices as on one, except for rounding. Virtual devices of a processor stand in for GPUs."""

from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from analysis.arrays.dataset import ImageSet
from heldout.stored.artifacts import ArtifactName
from tests.worker.training.backbones import small_backbone, taken_apart
from tests.worker.training.processes import Process, folder_of, get_path
from tests.worker.training.trainings import fewer, small_spec
from worker.messages import Assignment, EpochDone, StopCause, Stopped
from worker.training import child
from worker.training.data.replicas import get_part

SPEC = small_spec(
    {"filters": 4, "l2": 0.01, "padding": "same"},
    {"filters": 6},
    network={"dense": [{"units": 12, "l2": 0.001}]},
    augmentation={"width_shift": 0.2, "rotation_degrees": 10},
    training={"epochs": 2, "class_weights": {"1": 3.0}, "label_smoothing": 0.1},
    evaluation={"test": "every_epoch"},
)


def run_on_two(pipe: Connection, assignment: Assignment, log: str) -> None:
    _run_on_virtual_devices(2, pipe, assignment, log)


def run_on_three(pipe: Connection, assignment: Assignment, log: str) -> None:
    _run_on_virtual_devices(3, pipe, assignment, log)


def _run_on_virtual_devices(count: int, pipe: Connection, assignment: Assignment, log: str) -> None:
    """Run the training process with parts of the processor in place of its GPUs."""
    import worker.training.training_setup

    parts = [tf.config.LogicalDeviceConfiguration() for _ in range(count)]
    tf.config.set_logical_device_configuration(tf.config.list_physical_devices("CPU")[0], parts)
    worker.training.training_setup.configure = lambda *_: tuple(f"CPU:{number}" for number in range(count))
    child.main(pipe, assignment, log)


REMEDIED = SPEC.model_validate(
    {
        **SPEC.model_dump(),
        "augmentation": {"width_shift": 0.2, "erasing": 0.4},
        "training": {**SPEC.training.model_dump(), "mixup": 0.4, "ema_decay": 0.8},
    }
)


@pytest.fixture(scope="module")
def dataset(mnist5k: ImageSet, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return folder_of(fewer(mnist5k, 193), tmp_path_factory)


def assert_alike(plain: Process, replicated: Process) -> None:
    """Check that history and final figures are equal except for rounding, which must occur."""
    first, second = plain.end(), replicated.end()
    assert len(plain.history) == len(replicated.history) == 2
    for epoch, other in zip(plain.history, replicated.history, strict=True):
        assert epoch == pytest.approx(other, rel=1e-4)
    for split in ("train", "validation", "test"):
        assert getattr(first.final, split).loss == pytest.approx(getattr(second.final, split).loss, rel=1e-4)
    predictions = ArtifactName.PREDICTIONS
    with np.load(get_path(first, predictions)) as a, np.load(get_path(second, predictions)) as b:
        difference = np.abs(a["test_probabilities"] - b["test_probabilities"]).max()
    assert 0 < difference < 1e-4


def test_two_devices_give_the_history_of_one_up_to_rounding(start):
    # 193 = 6 × 32 + 1: one of the devices is idle in the last step
    assert_alike(start(REMEDIED), start(REMEDIED, target=run_on_two))


@pytest.mark.proof
def test_parts_of_different_sizes_have_their_share_of_the_weight_also_with_streamed_images(start):
    # Three devices take 17, 17 and 18 of 52 images, and 12, 12 and 13 of the last 37.
    spec = SPEC.model_copy(update={"training": SPEC.training.model_copy(update={"batch_size": 52})})
    assert_alike(start(spec), start(spec, target=run_on_three, resident_bytes=0))


@pytest.mark.proof
def test_two_devices_train_a_head_of_a_fixed_backbone_as_one_does(start, tmp_path):
    backbone = taken_apart(small_backbone(tmp_path))
    network = {"backbone": {"model": "mod_1"}}
    spec = small_spec(network=network, training={"epochs": 2}, augmentation={"width_shift": 0.2})
    assert_alike(start(spec, backbone=backbone), start(spec, target=run_on_two, backbone=backbone))


@pytest.mark.proof
def test_a_training_on_two_devices_resumes_exactly(start):
    spec = small_spec({"filters": 4, "dropout": 0.3}, training={"epochs": 2})
    whole, first = start(spec, target=run_on_two), start(spec, target=run_on_two)
    first.until(lambda message: isinstance(message, EpochDone))
    first.pipe.send(StopCause.PAUSE)
    stopped, expected = first.end(), whole.end()
    assert isinstance(stopped, Stopped)
    second = start(spec, target=run_on_two, checkpoint=stopped.checkpoint)
    assert second.end().final == expected.final
    assert first.history + second.history == whole.history


@pytest.mark.parametrize("replicas", [1, 2, 3, 8])
@pytest.mark.parametrize("count", [1, 2, 5, 32])
def test_every_image_of_a_batch_is_in_one_part(replicas, count):
    parts = [get_part(replica, replicas, tf.constant(count)) for replica in range(replicas)]
    taken = [range(int(part.begin), int(part.end)) for part in parts]
    assert all(len(images) > 0 for images in taken)
    counted = [images for images, part in zip(taken, parts, strict=True) if part.share > 0]
    assert sorted(image for images in counted for image in images) == list(range(count))
    assert [float(part.share) for part in parts if part.share > 0] == pytest.approx([len(i) / count for i in counted])
