"""Networks of common kinds, images for them, and the Keras model that a user would write for each."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.bundled import BUNDLED

CLASSES = 10
HELD_OUT_SHARE = 6  # validation and test have a sixth of the training images each


@dataclass(frozen=True)
class Network:
    """A network as a spec describes it.

    image: (height, width, channels).
    count: training images.
    epochs: of a whole job, chosen so that Keras' `fit` takes about seven seconds on two cores.
    """

    network: dict[str, Any]
    image: tuple[int, int, int]
    count: int
    epochs: int
    batch_size: int = 32

    def images(self) -> dict[str, tuple[NDArray[np.uint8], NDArray[np.int32]]]:
        """Pixels and labels of each split: real digits, in the size that the network takes."""
        height, width, channels = self.image
        source = BUNDLED["mnist5k"].read(Path())
        held_out = self.count // HELD_OUT_SHARE
        order = np.random.default_rng(0).permutation(len(source.labels))[: self.count + 2 * held_out]
        taken = source.images[order, :, :, 0]
        rows, columns = (np.arange(size) * taken.shape[1] // size for size in (height, width))
        sized = taken[:, rows][:, :, columns]
        # The channels differ, as those of photos do.
        pixels = np.stack([(sized * (1.0 - 0.2 * channel)).astype(np.uint8) for channel in range(channels)], axis=-1)
        ends = {"train": (0, self.count), "val": (self.count, self.count + held_out), "test": (-held_out, None)}
        return {name: (pixels[slice(*end)], source.labels[order][slice(*end)]) for name, end in ends.items()}


def _blocks(*filters: int, **more: Any) -> list[dict[str, Any]]:
    return [{"filters": number, **more} for number in filters]


DIGIT, SMALL, PHOTO, LARGE = (28, 28, 1), (32, 32, 3), (64, 64, 3), (96, 96, 3)
NETWORKS: dict[str, Network] = {
    "A 32-64-128": Network({"blocks": _blocks(32, 64, 128)}, DIGIT, 3600, 7),
    "B 32-64, dropout": Network({"blocks": _blocks(32, 64, dropout=0.25), "l2": 0.01}, DIGIT, 3600, 7),
    "C 16": Network({"blocks": _blocks(16)}, DIGIT, 3600, 18),
    "A, batch 128": Network({"blocks": _blocks(32, 64, 128)}, DIGIT, 3600, 8, 128),
    "64-128-256 same": Network({"blocks": _blocks(64, 128, 256, padding="same")}, DIGIT, 1800, 5),
    "16-32 on 8×8": Network({"blocks": _blocks(16, 32, padding="same")}, (8, 8, 1), 3600, 16),
    "32-64-128 same, batch_norm": Network(
        {"blocks": _blocks(32, 64, 128, padding="same", batch_norm=True)}, PHOTO, 480, 5
    ),
    "32-64-128 same": Network({"blocks": _blocks(32, 64, 128, padding="same")}, PHOTO, 960, 5),
    "32-64 twice, batch_norm": Network(
        {"blocks": _blocks(32, 64, padding="same", batch_norm=True, repeat=2), "head": "global_average"}, SMALL, 960, 5
    ),
    "32-64 twice": Network(
        {"blocks": _blocks(32, 64, padding="same", repeat=2), "head": "global_average"}, SMALL, 960, 6
    ),
    "16-32-64-128 same, batch_norm, batch 16": Network(
        {"blocks": _blocks(16, 32, 64, 128, padding="same", batch_norm=True)}, LARGE, 240, 6, 16
    ),
    "32-64, batch_norm, batch 256": Network({"blocks": _blocks(32, 64, batch_norm=True)}, SMALL, 2560, 4, 256),
    "16-32, batch_norm": Network({"blocks": _blocks(16, 32, batch_norm=True)}, DIGIT, 2400, 10),
}


def keras_model(network: Network, *, mixed: bool) -> Any:
    """The compiled model; with `mixed` it computes in bfloat16 by Keras' policy for the whole process."""
    import keras
    from keras import layers

    keras.utils.set_random_seed(0)
    if mixed:
        keras.mixed_precision.set_global_policy("mixed_bfloat16")
    spec = network.network
    model = keras.Sequential([layers.Input(network.image)])
    for block in spec["blocks"]:
        for _ in range(block.get("repeat", 1)):
            penalty = keras.regularizers.L2(spec["l2"]) if spec.get("l2") else None
            padding = block.get("padding", "valid")
            model.add(layers.Conv2D(block["filters"], 3, padding=padding, kernel_regularizer=penalty))
            if block.get("batch_norm"):
                model.add(layers.BatchNormalization())
            model.add(layers.Activation("relu"))
        model.add(layers.MaxPooling2D(2))
        if block.get("dropout"):
            model.add(layers.Dropout(block["dropout"]))
    model.add(layers.GlobalAveragePooling2D() if spec.get("head") == "global_average" else layers.Flatten())
    model.add(layers.Dense(CLASSES, dtype="float32"))
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
    return model
