"""A checkpoint is read exactly as it was written, or refused; a failed write harms nothing."""

import errno
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from worker.training.engine.checkpoint import CheckpointDamaged, read_checkpoint, write_checkpoint

ARRAYS = {
    "weights": np.random.default_rng(0).normal(size=(3, 5)).astype(np.float32),
    "seed": np.array([2**32 - 1, 0], np.uint32),
    "iterations": np.array(7, np.int64),
    "empty": np.empty((0, 2), np.float32),
    "odd": np.array([np.nan, np.inf, -0.0], np.float32),
}
ABOUT = {"epoch": 3, "loss": 0.1, "best": None, "name": "Größe"}


def test_a_checkpoint_is_read_as_it_was_written_bit_for_bit(tmp_path):
    write_checkpoint(tmp_path / "a.ckpt", ARRAYS, ABOUT)
    arrays, about = read_checkpoint(tmp_path / "a.ckpt")
    assert about == ABOUT
    assert set(arrays) == set(ARRAYS)
    for name, array in ARRAYS.items():
        assert (arrays[name].dtype, arrays[name].shape) == (array.dtype, array.shape)
        assert arrays[name].tobytes() == array.tobytes()
    assert os.listdir(tmp_path) == ["a.ckpt"]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=100)
@given(st.data())
def test_any_changed_byte_is_detected(tmp_path, data):
    path = tmp_path / "a.ckpt"
    write_checkpoint(path, ARRAYS, ABOUT)
    content = bytearray(path.read_bytes())
    content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    path.write_bytes(content)
    with pytest.raises(CheckpointDamaged, match=r"a\.ckpt") as damaged:
        read_checkpoint(path)
    assert damaged.value.code == "checkpoint_damaged"


@pytest.mark.parametrize("length", [0, 5, 21, 40, 60, 500, -1])
def test_a_truncated_file_is_detected(tmp_path, length):
    path = tmp_path / "a.ckpt"
    write_checkpoint(path, ARRAYS, ABOUT)
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(CheckpointDamaged):
        read_checkpoint(path)


def test_a_missing_file_is_a_damaged_checkpoint(tmp_path):
    with pytest.raises(CheckpointDamaged, match="cannot be opened"):
        read_checkpoint(tmp_path / "none.ckpt")


def fail_with_full_disk(*_: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("name", ["write_bytes", "replace"])
def test_a_failed_write_leaves_the_previous_checkpoint_intact(tmp_path, monkeypatch, name):
    path = tmp_path / "a.ckpt"
    write_checkpoint(path, ARRAYS, ABOUT)
    with monkeypatch.context() as patched:
        patched.setattr(Path, name, fail_with_full_disk)
        with pytest.raises(OSError, match="No space left"):
            write_checkpoint(path, ARRAYS, ABOUT | {"epoch": 4})
    assert read_checkpoint(path)[1] == ABOUT
    assert os.listdir(tmp_path) == ["a.ckpt"]
