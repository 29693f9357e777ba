"""The file of features: only complete blocks are read, no matter which job computed them."""

import multiprocessing
import os
import resource
import signal
from contextlib import ExitStack
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from analysis.arrays.dataset import ImageSet
from heldout.work.memory import FEATURE_BLOCK as BLOCK
from tests.damaged_files import flip
from worker.machine.held_folders import USE_LOCK, evict
from worker.messages import AssignedFeatures
from worker.training.data.training_data import make_source, take_images
from worker.training.features.feature_cache import (
    DIGEST_BYTES,
    DIGESTS_FILE,
    FEATURES_FILE,
    NotCached,
    compute_key,
    open_features,
)
from worker.training.networks.frozen import FrozenSplit

SHAPE = (5 * BLOCK + 9, 4)
SIZE_BYTES = 4 * SHAPE[0] * SHAPE[1]
EXPECTED = np.arange(SHAPE[0] * SHAPE[1], dtype=np.float32).reshape(SHAPE)


class Stopped(Exception):
    pass


class Computation:
    """Computes features and records the blocks. after: how many checks pass before `Stopped`."""

    def __init__(self, after: int = 10**9) -> None:
        self.blocks: list[int] = []
        self.left = after

    def __call__(self, rows: np.ndarray) -> np.ndarray:
        self.blocks += (rows[::BLOCK] // BLOCK).tolist()
        return EXPECTED[rows]

    def watch(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise Stopped


def read(folder: Path, key: str, computing: Computation, rows=None, cap_bytes: int = 10**6) -> np.ndarray:
    rows = np.arange(SHAPE[0]) if rows is None else rows
    cache = AssignedFeatures(folder, cap_bytes, "ann")
    with ExitStack() as in_use:
        features = open_features(cache, key, rows, SHAPE, computing, at_once=1, watch=computing.watch, in_use=in_use)
        return np.array(features)[rows]


def test_features_are_computed_once(tmp_path):
    first, second = Computation(), Computation()
    np.testing.assert_array_equal(read(tmp_path, "a", first), EXPECTED)
    np.testing.assert_array_equal(read(tmp_path, "a", second), EXPECTED)
    assert (first.blocks, second.blocks) == ([0, 1, 2, 3, 4, 5], [])


def test_only_blocks_with_needed_rows_are_computed(tmp_path):
    few, rest = Computation(), Computation()
    rows = np.array([SHAPE[0] - 1, 3])
    np.testing.assert_array_equal(read(tmp_path, "a", few, rows), EXPECTED[rows])
    np.testing.assert_array_equal(read(tmp_path, "a", rest), EXPECTED)
    assert (few.blocks, rest.blocks) == ([0, 5], [1, 2, 3, 4])


def test_blocks_computed_by_a_stopped_job_are_used_by_the_next_job(tmp_path):
    rest = Computation()
    with pytest.raises(Stopped):
        read(tmp_path, "a", Computation(after=2))
    np.testing.assert_array_equal(read(tmp_path, "a", rest), EXPECTED)
    assert rest.blocks == [2, 3, 4, 5]


def compute_until_killed(folder: Path, began) -> None:
    class Hanging(Computation):
        def watch(self) -> None:
            if len(self.blocks) == 3:
                began.set()
                signal.pause()

    read(folder, "a", Hanging())


def compute_in_process(folder: Path, results) -> None:
    computing = Computation()
    results.put((read(folder, "a", computing).tolist() == EXPECTED.tolist(), len(computing.blocks)))


@pytest.fixture
def forking_context():
    return multiprocessing.get_context("fork")


def test_blocks_of_a_killed_process_are_computed_again(tmp_path, forking_context):
    """Its lock is released at once, and blocks that it did not mark as complete are not read."""
    began, second = forking_context.Event(), Computation()
    killed = forking_context.Process(target=compute_until_killed, args=(tmp_path, began))
    killed.start()
    assert began.wait(240)
    with (tmp_path / "a" / FEATURES_FILE).open("r+b") as file:  # as if it were killed while writing
        file.seek(200)
        file.write(b"half")
    killed.kill()
    killed.join()
    np.testing.assert_array_equal(read(tmp_path, "a", second), EXPECTED)
    assert second.blocks == [0, 1, 2, 3, 4, 5]


BLOCK_BYTES = 4 * BLOCK * SHAPE[1]


@pytest.mark.parametrize(
    ("name", "harm", "computed"),
    [
        (FEATURES_FILE, lambda file: flip(file, 128 + BLOCK_BYTES + 5), [1]),
        (FEATURES_FILE, lambda file: flip(file, -1), [5]),
        (FEATURES_FILE, lambda file: flip(file, 60), [0, 1, 2, 3, 4, 5]),
        (FEATURES_FILE, lambda file: os.truncate(file, 128 + 3 * BLOCK_BYTES), [3, 4, 5]),
        (FEATURES_FILE, Path.unlink, [0, 1, 2, 3, 4, 5]),
        (DIGESTS_FILE, lambda file: flip(file, 2 * DIGEST_BYTES), [2]),
        (DIGESTS_FILE, lambda file: os.truncate(file, 7), [0, 1, 2, 3, 4, 5]),
    ],
    ids=["a row", "the last byte", "the header", "the end", "the file", "a digest", "the digests"],
)
def test_damaged_blocks_are_computed_again(tmp_path, name, harm, computed):
    read(tmp_path, "a", Computation())
    harm(tmp_path / "a" / name)
    again, after = Computation(), Computation()
    np.testing.assert_array_equal(read(tmp_path, "a", again), EXPECTED)
    np.testing.assert_array_equal(read(tmp_path, "a", after), EXPECTED)
    assert (again.blocks, after.blocks) == (computed, [])


def test_processes_that_need_the_same_features_compute_each_block_once(tmp_path, forking_context):
    results = forking_context.Queue()
    processes = [forking_context.Process(target=compute_in_process, args=(tmp_path, results)) for _ in range(4)]
    for process in processes:
        process.start()
    found = [results.get(timeout=240) for _ in processes]
    for process in processes:
        process.join()
    assert all(is_right for is_right, _ in found)
    assert sum(blocks for _, blocks in found) == 6


def test_the_least_recently_used_features_go_first(tmp_path):
    room_for_two = int(2.5 * SIZE_BYTES)
    for key in ("a", "b", "a"):
        read(tmp_path, key, Computation(), cap_bytes=room_for_two)
    os.utime(tmp_path / "b" / USE_LOCK, (1, 1))  # clocks of file systems are too coarse for this test
    read(tmp_path, "c", Computation(), cap_bytes=room_for_two)
    assert {folder.name for folder in tmp_path.iterdir() if folder.is_dir()} == {"a", "c"}
    assert evict(tmp_path, room_for_two) <= room_for_two


def test_features_in_use_are_not_evicted_and_others_are_then_not_cached(tmp_path):
    cache = AssignedFeatures(tmp_path, int(1.5 * SIZE_BYTES), "ann")
    with ExitStack() as in_use:
        computing, rows = Computation(), np.arange(SHAPE[0])
        kept = open_features(cache, "a", rows, SHAPE, computing, at_once=2, watch=computing.watch, in_use=in_use)
        with pytest.raises(NotCached, match="HELDOUT_FEATURE_CACHE_BYTES"):
            read(tmp_path, "b", Computation(), cap_bytes=cache.cap_bytes)
        np.testing.assert_array_equal(kept, EXPECTED)
    read(tmp_path, "b", Computation(), cap_bytes=cache.cap_bytes)


def test_features_larger_than_the_cap_evict_nothing(tmp_path):
    read(tmp_path, "a", Computation())
    with pytest.raises(NotCached):
        read(tmp_path, "b", Computation(), cap_bytes=SIZE_BYTES - 1)
    assert [folder.name for folder in tmp_path.iterdir() if folder.is_dir()] == ["a"]


def fill_a_small_disk(folder: Path, results) -> None:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (SIZE_BYTES // 2, SIZE_BYTES // 2))
    try:
        read(folder, "a", Computation())
    except NotCached as error:
        results.put(str(error))


def test_a_full_disk_leaves_nothing_behind(tmp_path, forking_context):
    """A limit on the size of files stands in for the disk: writing fails at the same place."""
    results = forking_context.Queue()
    process = forking_context.Process(target=fill_a_small_disk, args=(tmp_path, results))
    process.start()
    assert results.get(timeout=240) == "the file cannot be read or written"
    process.join()
    assert not [folder for folder in tmp_path.iterdir() if folder.is_dir()]


def make_frozen(seed: int = 1, filters: int = 3) -> keras.Model:
    images = keras.Input((8, 8, 3))
    maps = keras.layers.Conv2D(filters, 3, kernel_initializer=keras.initializers.GlorotUniform(seed))(images)
    return keras.Model(images, keras.ops.relu(keras.ops.take(maps, [1, 0], 1)), name="frozen")


def make_split(**frozen) -> FrozenSplit:
    network = make_frozen(**frozen)
    return FrozenSplit(network, lambda: network)


def test_the_key_depends_on_the_computation_and_on_the_owner():
    images, facts = {"dataset": "1"}, {"threads": 1}
    keys = [
        compute_key(make_split(), "ann", images, facts),
        compute_key(make_split(seed=2), "ann", images, facts),
        compute_key(make_split(filters=4), "ann", images, facts),
        compute_key(make_split(), "bob", images, facts),
        compute_key(make_split(), "ann", {"dataset": "2"}, facts),
        compute_key(make_split(), "ann", images, {"threads": 2}),
    ]
    assert len(set(keys)) == len(keys)
    # Keras numbers unnamed layers and operations.
    assert compute_key(make_split(), "ann", images, facts) == keys[0]


def test_features_in_their_file_give_the_same_batches_as_in_memory(tmp_path):
    read(tmp_path, "a", Computation())
    features = np.load(tmp_path / "a" / FEATURES_FILE, mmap_mode="r")
    labels = np.arange(SHAPE[0], dtype=np.int32) % 3
    known = ImageSet(features, labels, {}, ("a", "b", "c"), (0.0, 1.0))
    source = {"train": np.arange(7, 90), "test": np.arange(100, 110)}
    batches = []
    for resident_bytes in (None, 0):
        data = take_images(known, source, resident_bytes)
        found, labels_found = make_source(data).batch(tf.constant(data.rows["train"][[5, 0, 80]]))
        np.testing.assert_array_equal(labels_found, labels[[12, 7, 87]])
        batches.append(found.numpy())
    np.testing.assert_array_equal(batches[0], EXPECTED[[12, 7, 87]])
    np.testing.assert_array_equal(batches[0], batches[1])
