"""Computes a network as it is, except for some of its layers: what a batch makes of them, or what they output."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import keras

Call = Callable[..., Any]


@contextmanager
def replace_calls(calls: Mapping[Any, Call]) -> Iterator[None]:
    """Let steps of a network compute something else. Meanwhile, no other thread may use the network."""
    for step, call in calls.items():
        step.__dict__["call"] = call
    try:
        yield
    finally:
        for step in calls:
            del step.__dict__["call"]


def normalize_by_batch(layer: keras.layers.BatchNormalization, note: Callable[[Any, Any], None]) -> Call:
    """Return a call that normalizes by the batch, as in a training step, but leaves the layer's averages alone.

    Args:
        note: takes the mean and the variance of a batch, (channels,) float32.
    """

    def call(inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        wide = keras.ops.cast(inputs, "float32")
        mean, variance = layer._moments(wide, mask)
        note(mean, variance)
        normalized = keras.ops.batch_normalization(
            wide, mean, variance, layer.axis, offset=layer.beta, scale=layer.gamma, epsilon=layer.epsilon
        )
        return keras.ops.cast(normalized, layer.compute_dtype)

    return call
