"""Images that are read from their file give the same batches and training as images in memory, in little memory."""

import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from analysis.arrays.dataset import ImageSet, load, save, save_beside
from tests.worker.training.test_engine import compute_difference
from tests.worker.training.test_trainer import get_history
from tests.worker.training.trainings import Training, fewer, small_spec
from worker.machine.memory import get_memory_bytes
from worker.machine.shares import Shares
from worker.training.data.training_data import MappedImageFile, select
from worker.training.engine.checkpoint import FitSums
from worker.training.engine.order import draw_epoch_order

MIB = 1024**2
IMAGE = (128, 128, 3)


@pytest.fixture
def stored(digits: ImageSet, tmp_path: Path) -> ImageSet:
    save(fewer(digits, 200), tmp_path)
    return load(tmp_path)


def train(spec: Any, images: ImageSet, scratch: Path, resident: int | None, towers: int = 1) -> Training:
    training = Training(spec, images, scratch, towers=towers, resident_bytes=resident)
    training.trainer.train()
    return training


@pytest.mark.parametrize("towers", [2, pytest.param(1, marks=pytest.mark.proof)])
def test_streamed_images_give_the_same_bits_as_resident_ones(stored, tmp_path, towers):
    spec = small_spec(
        {"filters": 4, "dropout": 0.3},
        augmentation={"rotation_degrees": 20.0, "horizontal_flip": True, "erasing": 0.3},
        training={"train_limit": 150, "class_weights": "balanced", "cutmix": 1.0},
        evaluation={"test": "every_epoch"},
    )
    resident = train(spec, stored, tmp_path, None, towers)
    streamed = train(spec, stored, tmp_path, 0, towers)
    assert (resident.data.is_streamed, streamed.data.is_streamed) == (False, True)
    assert compute_difference(resident.network, streamed.network) == 0
    for split, source in resident.data.source.items():
        np.testing.assert_array_equal(streamed.data.source[split], source)
        rows = [training.data.rows[split] for training in (resident, streamed)]
        assert resident.evaluator.measure(rows[0]) == streamed.evaluator.measure(rows[1])
        pixels = [part.resident.batch(taken)[0].numpy() for part, taken in zip((resident, streamed), rows, strict=True)]
        np.testing.assert_array_equal(*pixels)


def test_floats_are_streamed_unchanged(digits, tmp_path):
    source = fewer(digits, 200)
    shifted = (source.images.astype(np.float32) - 8) / 3
    np.save(tmp_path / "images.npy", shifted)
    save_beside(tmp_path, source.labels, source.splits, source.classes, (-8 / 3, 8 / 3))
    spec = small_spec(training={"epochs": 1})
    resident, streamed = (train(spec, load(tmp_path), tmp_path, size) for size in (None, 0))
    assert compute_difference(resident.network, streamed.network) == 0


def test_only_images_that_do_not_fit_are_streamed(stored, tmp_path):
    spec = small_spec(evaluation={"test": "never"})
    size = 260 * 8 * 8  # of the training and validation splits
    assert not select(load(tmp_path), spec).is_streamed
    assert not select(load(tmp_path), spec, size).is_streamed
    assert select(load(tmp_path), spec, size - 1).is_streamed


def test_images_may_take_half_of_the_memory_of_a_slot():
    assert Shares(1000).resident_bytes() == 500
    assert Shares(1000, slots=4).resident_bytes() == 125
    assert get_memory_bytes() > 256 * MIB


@pytest.mark.parametrize("towers", [1, 2])
def test_each_batch_is_read_once_and_before_it_is_needed(stored, tmp_path, towers, monkeypatch):
    reads: list[tuple[str, np.ndarray]] = []
    read = MappedImageFile.read

    def record(self: MappedImageFile, rows: np.ndarray) -> np.ndarray:
        reads.append((threading.current_thread().name, rows))
        return read(self, rows)

    monkeypatch.setattr(MappedImageFile, "read", record)
    training = Training(small_spec(), stored, tmp_path, resident_bytes=0, towers=towers)
    training.engine.begin_epoch(1, np.full(7, 0.001, np.float32))
    training.engine.run(0, 7, FitSums())
    assert all(name.startswith("reader") for name, _ in reads)
    order = training.data.rows["train"][draw_epoch_order(7, 1, 200)]
    np.testing.assert_array_equal(np.concatenate([rows for _, rows in reads]), order)


def test_no_more_than_two_batches_are_read_ahead(stored, tmp_path):
    source = Training(small_spec(), stored, tmp_path, resident_bytes=0).resident
    order = np.arange(200, dtype=np.int32)[::-1].copy()
    source.expect(order, 32)
    source.pixels(tf.constant(order[64:96]))
    assert sorted(source._ahead) == [2, 3, 4]
    source.pixels(tf.constant(order[192:]))
    assert sorted(source._ahead) == [6]


@pytest.mark.parametrize(
    "rows", [[5, 4, 3], [0, 1, 2], [170, 169], [199, 150], [16, 15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1], []]
)
def test_the_requested_rows_are_returned_no_matter_which_were_expected(stored, tmp_path, rows):
    training = Training(small_spec(), stored, tmp_path, resident_bytes=0)
    training.resident.expect(np.arange(200, dtype=np.int32)[::-1].copy(), 10)
    taken = training.resident.pixels(tf.constant(rows, tf.int32)).numpy()
    np.testing.assert_array_equal(taken, np.asarray(stored.images[rows]))


@pytest.mark.proof
def test_large_color_images_train_the_same_streamed_and_resident(tmp_path):
    image, count = (512, 512, 3), 60
    pixels = np.random.default_rng(0).integers(0, 256, (count, *image), dtype=np.uint8)
    np.save(tmp_path / "images.npy", pixels)
    positions = np.arange(count)
    splits = {"train": positions[20:], "validation": positions[:10], "test": positions[10:20]}
    save_beside(tmp_path, (positions % 2).astype(np.int32), splits, ("even", "odd"), (0, 255))
    spec = small_spec(
        {"filters": 4, "pool": 4},
        {"filters": 4, "pool": 4, "batch_norm": True},
        augmentation={"rotation_degrees": 10.0, "brightness": 0.1},
        training={"epochs": 2, "batch_size": 12},
    )
    resident, streamed = (train(spec, load(tmp_path), tmp_path, bytes_) for bytes_ in (None, 0))
    assert (resident.data.is_streamed, streamed.data.is_streamed) == (False, True)
    assert compute_difference(resident.network, streamed.network) == 0
    assert get_history(resident) == get_history(streamed)
    assert all(np.isfinite(epoch["validation_loss"]) for epoch in get_history(streamed))


def test_a_truncated_file_is_an_error(stored, tmp_path):
    training = Training(small_spec(), stored, tmp_path, resident_bytes=0)
    whole = (tmp_path / "images.npy").read_bytes()
    (tmp_path / "images.npy").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(Exception, match="cut short"):
        training.evaluator.measure(training.data.rows["test"])


# It runs in its own process, whose peak memory counts.
TRAIN = """
import sys
from pathlib import Path
import worker.training.preload
from analysis.arrays.dataset import load
from tests.worker.training.trainings import Training, small_spec
import tensorflow as tf
spec = small_spec(
    {"filters": 1, "kernel_size": 1, "pool": 4}, network={"head": "global_average"}, training={"epochs": 1}
)
training = Training(spec, load(Path(sys.argv[1])), Path(sys.argv[1]), resident_bytes=int(sys.argv[2]))
training.trainer.train()
# getrusage would begin with the peak of the parent process.
print(next(line.split()[1] for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")))
"""


def measure_peak_bytes(folder: Path, resident: int) -> int:
    run = subprocess.run(
        [sys.executable, "-c", TRAIN, str(folder), str(resident)], capture_output=True, text=True, check=True
    )
    return int(run.stdout.splitlines()[-1]) * 1024


def save_large(folder: Path, size: int) -> Path:
    """Save a dataset whose images take this many bytes, most of them in the training split."""
    folder.mkdir()
    count = size // int(np.prod(IMAGE))
    images = np.lib.format.open_memmap(folder / "images.npy", "w+", np.uint8, (count, *IMAGE))
    for first in range(0, count, 64):
        images[first : first + 64] = first % 251
    labels = np.arange(count, dtype=np.int32) % 2
    positions = np.arange(count)
    splits = {"train": positions[64:], "validation": positions[:32], "test": positions[32:64]}
    save_beside(folder, labels, splits, ("even", "odd"), (0, 255))
    return folder


@pytest.mark.proof
def test_memory_does_not_grow_with_the_number_of_images(tmp_path):
    small, big = save_large(tmp_path / "small", 40 * MIB), save_large(tmp_path / "big", 440 * MIB)
    flat = measure_peak_bytes(big, 20 * MIB) - measure_peak_bytes(small, 20 * MIB)
    assert flat < 60 * MIB
    assert measure_peak_bytes(big, 2**62) - measure_peak_bytes(small, 2**62) > 300 * MIB
