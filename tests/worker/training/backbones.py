"""Small uploaded backbones for tests, read as a worker reads them."""

from pathlib import Path

import keras

from heldout.spec.backbone import Backbone, make_backbone
from heldout.spec.network import BackboneSpec, Pixels
from worker.messages import AssignedBackbone
from worker.training.networks.backbone import UploadedBackbone
from worker.training.uploaded_models.child import read_facts
from worker.training.uploaded_models.keras_model import save_backbone


def small_backbone(folder: Path, *, scales: bool = True) -> Path:
    """Save a model as users may have trained it: another size, colors, a branch, penalties, dropout, averages."""
    keras.utils.set_random_seed(11)
    pixels = keras.Input((20, 18, 3))
    maps = pixels
    if scales:
        maps = keras.layers.Rescaling(1 / 127.5, -1)(pixels)
    maps = keras.layers.Conv2D(6, 3, strides=2, padding="same", use_bias=False, kernel_regularizer="l2")(maps)
    maps = keras.layers.ReLU(6.0)(keras.layers.BatchNormalization()(maps))
    deep = keras.layers.DepthwiseConv2D(3, padding="same")(maps)
    deep = keras.layers.Dropout(0.2)(keras.layers.Conv2D(6, 1)(deep))
    model = keras.Model(pixels, keras.layers.Add()([maps, deep]), name="mine")
    norm = next(layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization))
    norm.set_weights([weight + 0.1 * place for place, weight in enumerate(norm.get_weights())])
    file = folder / "mine.keras"
    model.save(file)
    return file


def taken_apart(file: Path, pixels: Pixels = "bytes") -> AssignedBackbone:
    """Write the folder that a bounded process writes, next to the file."""
    folder = file.with_suffix("")
    folder.mkdir(exist_ok=True)
    save_backbone(file, folder)
    return AssignedBackbone(folder, pixels)


def read_again(file: Path, pixels: Pixels = "bytes") -> UploadedBackbone:
    return UploadedBackbone.read(taken_apart(file, pixels))


def read_facts_of(file: Path, pixels: Pixels | None = None) -> Backbone:
    """Return the backbone as plans and costs use it."""
    made, _ = make_backbone(BackboneSpec(model="mod_1", pixels=pixels), read_facts(file), (28, 28, 1))
    return made
