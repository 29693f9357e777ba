"""The uploaded network before the blocks, rebuilt from layers and weights that a sandboxed process has written."""

import json
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from heldout.spec.layers import BACKBONE
from heldout.spec.network import BackboneSpec, Pixels
from worker.messages import AssignedBackbone
from worker.training.model_files.keras_config import read_network
from worker.training.model_files.keras_file import build_model
from worker.training.model_files.keras_parts import iterate_parts
from worker.training.networks.frozen import NOISE

CONFIG, WEIGHTS = "layers.json", "weights.npz"
GIVES_MAP, GIVES = "gives_map", "gives"
# ImageNet's colors: red, green, blue, as shares of white; and Caffe's means of bytes, in the order blue, green, red.
IMAGENET_MEAN, IMAGENET_SPREAD = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
CAFFE_MEANS = np.array([103.939, 116.779, 123.68])


@dataclass(frozen=True)
class UploadedBackbone:
    """Layers as JSON, weights in Keras' order, the range of its input pixels, and whether it gives a feature map.

    gives: the shape of what it gives for an image; None if an earlier release has read the model.
    """

    config: dict[str, Any]
    weights: list[NDArray[Any]]
    pixels: Pixels
    gives_map: bool = True
    gives: tuple[int | None, ...] | None = None

    @classmethod
    def read(cls, assigned: AssignedBackbone) -> "UploadedBackbone":
        """Read the files that the sandboxed process has written.

        Raises:
            ModelRefused: it has parts that `keras_parts` does not list.
        """
        # That process has read an untrusted file, so its output is checked again.
        found = json.loads((assigned.folder / CONFIG).read_text(encoding="utf-8"))
        config = read_network(found)
        with np.load(assigned.folder / WEIGHTS, allow_pickle=False) as arrays:
            weights = [arrays[str(place)] for place in range(len(arrays.files))]
        gives = tuple(found[GIVES]) if GIVES in found else None
        return cls(config, weights, assigned.pixels, bool(found[GIVES_MAP]), gives)

    def make_maps(self, images: keras.KerasTensor, spec: BackboneSpec, seeds: Iterator[int]) -> keras.KerasTensor:
        """Return the feature maps of `images`, (batch, height, width, channels) in [0, 1], all in float32.

        The layers are those of `heldout.spec.layers.plan_network`; random layers take the next of `seeds`.
        """
        if self.stays_fixed(spec):
            self.skip_seeds(seeds)
            network = self._fixed
        else:
            network = self._build_model(seeds)
            set_trainable(network, spec.trainable)
        return network(prepare_images(images, network.input_shape[1:], self.pixels))

    @property
    def identity(self) -> tuple[Any, list[NDArray[Any]]]:
        """What decides the feature map of an image: a description as JSON, and weights."""
        unnamed = self.config | {"config": self.config["config"] | {"name": BACKBONE}}  # Keras counts names up
        return [unnamed, self.pixels], self.weights

    def stays_fixed(self, spec: BackboneSpec) -> bool:
        """Return whether it gives the same output for an image in all steps."""
        return not (spec.trainable or spec.unfreeze_at is not None or self.is_noisy)

    def skip_seeds(self, seeds: Iterator[int]) -> None:
        """Take its seeds, so that the other layers draw the same numbers whether these are built or not."""
        deque(islice(seeds, self._count_seeds()), maxlen=0)

    @cached_property
    def _fixed(self) -> keras.Model:
        """The layers, built once for all networks of a process, because neither steps nor seeds change them."""
        network = self._build_model(iter(lambda: 0, None))
        set_trainable(network, False)
        return network

    @property
    def is_noisy(self) -> bool:
        """Whether it changes images at random in each step."""
        return any(part["class_name"].startswith(NOISE) for part in iterate_parts(self.config))

    def _count_seeds(self) -> int:
        return sum("seed" in part["config"] for part in iterate_parts(self.config) if isinstance(part["config"], dict))

    def _build_model(self, seeds: Iterator[int]) -> keras.Model:
        config = prepare_config(self.config, seeds, "float32", penalties=False)
        config["config"]["name"] = BACKBONE
        network = build_model(config)
        network.set_weights(self.weights)
        return network


def prepare_config(config: dict[str, Any], seeds: Iterator[int], policy: str, *, penalties: bool) -> dict[str, Any]:
    """Return a copy of a config for Keras to build. Penalties that the spec has instead would be part of `evaluate`."""
    config = json.loads(json.dumps(config))
    for part in iterate_parts(config):
        settings = part.get("config")
        if not isinstance(settings, dict):
            continue
        if part["class_name"].endswith("DTypePolicy"):
            settings["name"] = policy
            continue
        # A seed in the file would give every job the same weights, and no seed each process other numbers.
        if "seed" in settings:
            settings["seed"] = next(seeds)
        if not penalties:
            settings |= {name: None for name in settings if name.endswith("_regularizer")}
    return config


def set_trainable(model: keras.Model, trainable: bool) -> None:
    """Freeze all layers, or none. Keras itself skips a model that is already set so, whatever its layers say."""
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            set_trainable(layer, trainable)
        layer.trainable = trainable
    model.trainable = trainable


def prepare_images(images: keras.KerasTensor, takes: tuple[int, int, int], pixels: Pixels) -> keras.KerasTensor:
    """Convert images in [0, 1] to the size, channels and pixel range of a backbone."""
    height, width, channels = takes
    images = resize(resize(images, 2, width), 1, height)  # columns first, because whole rows are copied fast
    if images.shape[-1] != channels:
        repeated = keras.layers.Concatenate(dtype="float32", name=f"{BACKBONE}_channels")
        images = repeated([images] * channels)
    return images if pixels == "unit" else scale_pixels(images, pixels)


def scale_pixels(images: keras.KerasTensor, pixels: Pixels, white: float = 1.0) -> keras.KerasTensor:
    """Convert pixels in [0, `white`] to those that a network was trained with."""
    if pixels == "caffe":
        images = keras.ops.flip(images, axis=-1)
    scale, offset = _FACTORS[pixels]
    scale = (np.asarray(scale) / white).tolist()
    return keras.layers.Rescaling(scale, offset, dtype="float32", name=f"{BACKBONE}_pixels")(images)


def resize(images: keras.KerasTensor, axis: int, size: int) -> keras.KerasTensor:
    """Resize images to this many rows (`axis` 1) or columns (2): bilinear, like `keras.ops.image.resize`.

    Every runtime's own operation rounds pixel positions differently, and answers of LiteRT differed from Keras' by more
    than an export may. A gather and a mean are the same in all of them.
    """
    given = images.shape[axis]
    if given == size:
        return images
    places = np.clip((np.arange(size) + 0.5) * given / size - 0.5, 0, given - 1)
    before = np.floor(places).astype(int)
    after = np.minimum(before + 1, given - 1)
    share = (places - before).astype(np.float32).reshape(-1, *[1] * (3 - axis))
    lower, upper = (keras.ops.take(images, places.tolist(), axis) for places in (before, after))
    return lower + (upper - lower) * share


# Return a factor and an offset for pixels in [0, 1], one for all channels or one for each.
_FACTORS: dict[Pixels, tuple[Any, Any]] = {
    "bytes": (255.0, 0.0),
    "symmetric": (2.0, -1.0),
    "imagenet": ((1 / IMAGENET_SPREAD).tolist(), (-IMAGENET_MEAN / IMAGENET_SPREAD).tolist()),
    "caffe": (255.0, (-CAFFE_MEANS).tolist()),
}
