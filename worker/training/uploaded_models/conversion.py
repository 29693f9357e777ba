"""Converts pretrained weights to a Keras model and to ONNX. Runs in a sandboxed process."""

from pathlib import Path

import keras
import numpy as np

from heldout.lifecycle.resources import ModelRejectionCode
from heldout.spec.model_facts import ModelFacts
from heldout.spec.pretrained import KerasNetwork
from heldout.stored.artifacts import CONVERTED_KERAS, CONVERTED_ONNX
from worker.training.model_files.refusal import ModelRefused
from worker.training.networks.backbone import scale_pixels
from worker.training.pretrained import efficientnet_lite
from worker.training.pretrained.torch_file import NotTensors, read_tensors
from worker.training.uploaded_models.keras_model import read_keras_facts

_TRIED_SIZE = 64


def convert(file: Path, target: Path) -> ModelFacts:
    """Write the network of a PyTorch file into the folder `target`, as Keras and as ONNX, and describe it.

    Without the packages that write ONNX, there is no ONNX file.

    Raises:
        ModelRefused: the file is not what it should be.
    """
    try:
        model = efficientnet_lite.build_with(read_tensors(file))
    except NotTensors as error:
        detail = f"The file of pretrained weights cannot be read: {error}. Install its package again."
        raise ModelRefused(ModelRejectionCode.MODEL_DAMAGED, detail) from error
    try:
        _write_onnx(model, target / CONVERTED_ONNX)
    except ImportError as error:
        print(f"no ONNX file: {error}")
    return _save(model, target)


def convert_keras(file: Path, network: KerasNetwork, target: Path) -> ModelFacts:
    """Write a network with the weights of Keras' store into the folder `target`, as Keras, and describe it.

    Raises:
        ModelRefused: the file has other weights, or none.
    """
    try:
        model = build_keras_network(network, file)
    except (OSError, ValueError, KeyError) as error:
        detail = f"Keras cannot read the fetched file as weights of {network.builder}: {str(error)[:200]}"
        raise ModelRefused(ModelRejectionCode.MODEL_DAMAGED, detail) from error
    return _save(model, target)


def build_keras_network(network: KerasNetwork, weights: Path | None) -> keras.Model:
    """Build a network of `keras.applications` without its head, as if after its own `preprocess_input`.

    It takes images of any size with pixels from 0 to 255, and returns feature maps.

    Args:
        weights: a file of Keras' store; None for random weights.
    Raises:
        OSError, ValueError, KeyError: the file has other weights, or none.
    """
    images = keras.Input((None, None, 3), name="images")
    pixels = images if network.pixels == "bytes" else scale_pixels(images, network.pixels, 255)
    build = getattr(keras.applications, network.builder)
    built = build(include_top=False, weights=weights and str(weights), input_tensor=pixels)
    return keras.Model(images, built.outputs[0], name=network.builder)  # which takes a tensor, and not a list of one


def _save(model: keras.Model, target: Path) -> ModelFacts:
    model.save(target / CONVERTED_KERAS)
    return read_keras_facts(target / CONVERTED_KERAS, None, lambda _: None).limit_layers()


def _write_onnx(model: keras.Model, file: Path) -> None:
    model(np.zeros((1, _TRIED_SIZE, _TRIED_SIZE, 3), np.float32))  # Keras only exports models that were called
    model.export(str(file), format="onnx", verbose=False)
