"""Runs a network on the parts of a batch in parallel, with batch normalization over the whole batch."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import gcd, prod
from typing import Any

import keras
import tensorflow as tf

from worker.training.data.replicas import ReplicaPart, get_part
from worker.training.model_files.keras_parts import split

_ops = tf.raw_ops
_CHANNELS = 16  # TensorFlow's fused normalizations need a multiple of this many to be fast in bfloat16

# Layers that compute each image apart, whatever their arguments are, unless one of their axes is the batch's.
_LAYERS = split(
    """
    Activation Add AlphaDropout Average AveragePooling1D AveragePooling2D Concatenate Conv1D Conv2D Conv2DTranspose
    Cropping1D Cropping2D Dense DepthwiseConv1D DepthwiseConv2D Dropout ELU EinsumDense Embedding Flatten
    GaussianDropout GaussianNoise GlobalAveragePooling1D GlobalAveragePooling2D GlobalMaxPooling1D GlobalMaxPooling2D
    GroupNormalization GroupQueryAttention Identity LayerNormalization LayerScale LeakyReLU MaxPooling1D MaxPooling2D
    Maximum Minimum MultiHeadAttention Multiply Normalization PReLU Permute RMSNormalization ReLU RepeatVector Rescaling
    Reshape Resizing SeparableConv1D SeparableConv2D Softmax SpatialDropout1D SpatialDropout2D StochasticDepth Subtract
    UnitNormalization UpSampling1D UpSampling2D ZeroPadding1D ZeroPadding2D
    """
)
# Operations of `keras.ops` that do so, and those that do so along other axes than the batch's.
_ELEMENTWISE = split(
    """
    Abs Absolute Add AveragePool Cast Celu Clip Conv Divide DivideNoNan Elu Exp Expm1 Gelu HardSigmoid HardSilu HardTanh
    LeakyRelu Log Log1p Logaddexp MaxPool Maximum Minimum Multiply Negative OnesLike Power Reciprocal Relu Relu6 Rsqrt
    Selu Sigmoid Sign Silu Sin Softplus Softsign Sqrt Square Subtract Tanh TrueDivide Where ZerosLike
    """
)
_ALONG_AXES = split(
    "Amax Amin Concatenate Cumsum ExpandDims Flip Max Mean Min Normalize Prod Softmax Split Std Sum Take Var"
)


@dataclass(frozen=True)
class _Maps:
    """The value of a tensor of the network, for each part of a batch. To Keras it is one value, not a nest of them."""

    of_parts: list[tf.Tensor]


class Towers:
    """The parts of a batch that a graph can compute at the same time, one core for each.

    Each layer processes all parts before the next one starts: batch normalization needs the statistics of all of them.
    The last digits of results depend on the number of parts, but not on the number of cores.

    Args:
        network: a functional model, whose graph may branch and call a layer several times.
        count: how many parts each batch is split into.
    """

    def __init__(self, network: keras.Model, count: int) -> None:
        self.count = count
        self._network = network

    def divide(self, images: tf.Tensor) -> list[ReplicaPart]:
        """Return the parts of a batch of images. Some have no weight if there are fewer images than parts."""
        return [get_part(number, self.count, images) for number in range(self.count)]

    def compute_logits(self, images: Sequence[tf.Tensor], parts: Sequence[ReplicaPart]) -> list[tf.Tensor]:
        """Compute the logits of each part, in training mode."""
        logits: _Maps = _run_on_parts(self._network, _Maps(list(images)), parts)
        return logits.of_parts


def can_divide(steps: Iterable[keras.Operation]) -> bool:
    """Return whether parts of a batch can be computed apart, except for batch normalization, which has its own way.

    Args:
        steps: the layers and operations of a network, those of inner models included. Unknown ones need whole batches.
    """
    return all(_divides(step) for step in steps)


def _divides(step: keras.Operation) -> bool:
    name = type(step).__name__
    if isinstance(step, keras.layers.BatchNormalization):
        return step.axis in (-1, step.input_spec.ndim - 1) and not step.renorm
    if isinstance(step, keras.Layer):
        # An activity regularizer takes its mean over a whole batch.
        return name in _LAYERS and step.activity_regularizer is None and not _has_batch_axis(step)
    if name == "Reshape":
        return all(_keeps_images(node.input_tensors[0].shape, node.outputs[0].shape) for node in step._inbound_nodes)
    if name == "Transpose":
        return step.axes is not None and step.axes[0] == 0
    if name == "GetItem":
        return all(_takes_all_images(node.arguments.args[1]) for node in step._inbound_nodes)
    if name == "Matmul":
        return all(len(tensor.shape) > 2 for node in step._inbound_nodes for tensor in node.input_tensors)
    return name in _ELEMENTWISE or (name in _ALONG_AXES and step.axis is not None and not _has_batch_axis(step))


def _has_batch_axis(step: keras.Operation) -> bool:
    """Return whether a layer or operation works along the axis of the images of a batch."""
    axes = keras.tree.flatten([getattr(step, name, None) for name in ("axis", "_attention_axes")])
    tensors = (tensor for node in step._inbound_nodes for tensor in (*node.input_tensors, *node.outputs))
    batch_axes = {0, *(-len(tensor.shape) for tensor in tensors)}
    return any(axis in batch_axes for axis in axes)


def _keeps_images(before: Sequence[int | None], after: Sequence[int | None]) -> bool:
    """Return whether a change of shape leaves the values of each image together."""
    inside, outside = ([size for size in shape[1:] if size] for shape in (before, after))
    is_known = len(inside) + 1 == len(before) and len(outside) + 1 == len(after)
    return after[0] is None and is_known and prod(inside) == prod(outside)


def _takes_all_images(key: Any) -> bool:
    """Return whether an index into a batch with at least two axes leaves its images alone."""
    first = key[0] if isinstance(key, tuple) else key
    return first == slice(None) or (first is Ellipsis and len(key) == 2)


def _run_on_parts(model: keras.Model, inputs: Any, parts: Sequence[ReplicaPart]) -> Any:
    """Apply a functional model, or a chain of layers, to each part, layer by layer."""

    def apply(operation: keras.Operation, *args: Any, **kwargs: Any) -> Any:
        return _apply_to_parts(operation, parts, args, kwargs)

    graph = model._functional if isinstance(model, keras.Sequential) else model
    return graph._run_through_graph(inputs, call_fn=apply)


def _apply_to_parts(operation: keras.Operation, parts: Sequence[ReplicaPart], args: Any, kwargs: Any) -> Any:
    """Apply a layer, or an operation of `keras.ops`, to each part; return a `_Maps` for each tensor of its output."""
    if isinstance(operation, keras.Model):
        return _run_on_parts(operation, args[0], parts)
    if isinstance(operation, keras.layers.BatchNormalization) and operation.trainable:
        return _Maps(_normalize_parts(operation, args[0].of_parts, parts))
    if isinstance(operation, keras.Layer):
        kwargs = {**kwargs, "training": True}
    outputs = []
    for number in range(len(parts)):
        own_args, own_kwargs = keras.tree.map_structure(
            lambda value, number=number: value.of_parts[number] if isinstance(value, _Maps) else value, (args, kwargs)
        )
        outputs.append(operation(*own_args, **own_kwargs))
    return keras.tree.map_structure(lambda *of_parts: _Maps(list(of_parts)), *outputs)


def _normalize_parts(
    layer: keras.layers.BatchNormalization, maps: Sequence[tf.Tensor], parts: Sequence[ReplicaPart]
) -> list[tf.Tensor]:
    """Apply the layer to the whole batch, in parts; updates the layer's averages as Keras does."""
    counted = [tf.cast(part.share > 0, tf.float32) for part in parts]
    # An estimate of the mean. A sum of squares about it loses no digits to the distance from zero.
    near = tf.convert_to_tensor(layer.moving_mean)
    scale = tf.convert_to_tensor(layer.gamma) if layer.scale else tf.ones_like(near)
    offset = tf.convert_to_tensor(layer.beta) if layer.center else tf.zeros_like(near)
    maps = [tf.cast(of_part, layer.compute_dtype) for of_part in maps]
    shapes = [tf.shape(of_part) for of_part in maps]
    is_image = maps[0].shape.rank == 4
    given = maps if is_image else [tf.reshape(of_part, [-1, 1, 1, of_part.shape[-1]]) for of_part in maps]
    *normalised, mean, variance = normalise_together(given, counted, scale, offset, near, layer.epsilon)
    for average, value in ((layer.moving_mean, mean), (layer.moving_variance, variance)):
        average.assign(average * layer.momentum + tf.stop_gradient(value) * (1.0 - layer.momentum))
    if is_image:
        return normalised
    return [
        tf.ensure_shape(tf.reshape(of_part, shape), before.shape)
        for of_part, shape, before in zip(normalised, shapes, maps, strict=True)
    ]


def normalise_together(
    maps: Sequence[tf.Tensor],
    counted: Sequence[tf.Tensor],
    scale: tf.Tensor,
    offset: tf.Tensor,
    near: tf.Tensor,
    epsilon: float,
) -> list[tf.Tensor]:
    """Normalize all parts of a batch by their common mean and variance.

    It is computed by TensorFlow's fused operations for each part, which read the maps less often than Keras' own layer.
    Sums over a part are gradients of a normalization by given statistics.

    Args:
        maps: (images, height, width, channels) of each part.
        counted: 1.0 for each part, or 0.0 if it has no weight.
        scale, offset, near: (channels,) float32; `near` is any value close to the mean, which has no gradient.
    Returns:
        The maps of each part, then (channels,) the mean and the variance of the batch.
    """

    @tf.custom_gradient
    def normalize(scale: tf.Tensor, offset: tf.Tensor, *maps: tf.Tensor) -> tuple[tuple[tf.Tensor, ...], object]:
        sizes = [tf.cast(tf.size(of_part), tf.float32) * weight for of_part, weight in zip(maps, counted, strict=True)]
        count = tf.add_n(sizes) / tf.cast(tf.size(scale), tf.float32)
        sums = [_compute_sums(of_part, of_part, near) for of_part in maps]
        mean = _compute_total([plain for _, plain in sums], counted) / count
        squares = _compute_total([squared for squared, _ in sums], counted) / count
        variance = tf.maximum(squares - mean * (mean - near), 0.0)
        slope = scale * tf.math.rsqrt(variance + epsilon)

        def compute_gradients(*upstream: tf.Tensor) -> tuple[tf.Tensor, ...]:
            given = [
                _differentiate(of_part, map_, scale, mean, variance, epsilon)
                for of_part, map_ in zip(upstream, maps, strict=False)
            ]
            of_scale = _compute_total([of_slope for _, of_slope, _ in given], counted)
            of_offset = _compute_total([of_level for _, _, of_level in given], counted)
            # Return the gradient of each value through the mean and the variance, linear in the value itself.
            rise = slope * tf.math.rsqrt(variance + epsilon) * of_scale / count
            level = slope * of_offset / count - rise * mean
            of_maps = [
                direct - _apply_line(map_, rise * weight, level * weight)
                for (direct, _, _), map_, weight in zip(given, maps, counted, strict=True)
            ]
            return of_scale, of_offset, *of_maps

        return (
            *(_apply_line(of_part, slope, offset - mean * slope) for of_part in maps),
            mean,
            variance,
        ), compute_gradients

    return list(normalize(scale, offset, *maps))


def _apply_line(maps: tf.Tensor, slope: tf.Tensor, level: tf.Tensor) -> tf.Tensor:
    """Compute `maps * slope + level` by channel, in one pass."""
    (wide,), (slope, level) = _widen([maps], [slope, level])
    nothing, ones = tf.zeros_like(slope), tf.ones_like(slope)
    made = _ops.FusedBatchNormV3(
        x=wide, scale=slope, offset=level, mean=nothing, variance=ones, epsilon=0.0, is_training=False
    )[0]
    return made if wide is maps else tf.reshape(made, [-1, *maps.shape[1:]])


def _compute_sums(maps: tf.Tensor, factors: tf.Tensor, near: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Return (channels,) sums of `factors * (maps - near)` and of `factors` over images and positions, in one pass."""
    ones = tf.ones_like(near)
    return _differentiate(factors, maps, ones, near, ones, 0.0)[1:]


def _differentiate(
    upstream: tf.Tensor, maps: tf.Tensor, scale: tf.Tensor, mean: tf.Tensor, variance: tf.Tensor, epsilon: float
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Return the gradients of a normalization by given statistics: of its maps, its scale and its offset."""
    (wide, given), (scale, mean, variance) = _widen([maps, upstream], [scale, mean, variance])
    of_maps, of_scale, of_offset, *_ = _ops.FusedBatchNormGradV3(
        y_backprop=given,
        x=wide,
        scale=scale,
        reserve_space_1=mean,
        reserve_space_2=variance,
        reserve_space_3=variance,
        epsilon=epsilon,
        is_training=False,
    )
    if wide is maps:
        return of_maps, of_scale, of_offset
    of_scale, of_offset = (
        tf.reduce_sum(tf.reshape(sums, [-1, maps.shape[-1]]), axis=0) for sums in (of_scale, of_offset)
    )
    return tf.reshape(of_maps, [-1, *maps.shape[1:]]), of_scale, of_offset


def _widen(maps: list[tf.Tensor], vectors: list[tf.Tensor]) -> tuple[list[tf.Tensor], list[tf.Tensor]]:
    """Count the channels of neighboring pixels as channels of their own, and repeat (channels,) vectors for them.

    Otherwise TensorFlow's fused operations take five times as long in bfloat16.
    """
    _, height, width, channels = maps[0].shape
    times = _CHANNELS // gcd(channels, _CHANNELS)
    if maps[0].dtype == tf.float32 or times == 1 or not height or not width or height * width % times:
        return maps, vectors
    wide = [tf.reshape(each, [-1, height * width // times, 1, channels * times]) for each in maps]
    return wide, [tf.tile(vector, [times]) for vector in vectors]


def _compute_total(values: Sequence[tf.Tensor], counted: Sequence[tf.Tensor]) -> tf.Tensor:
    return tf.add_n([value * weight for value, weight in zip(values, counted, strict=True)])
