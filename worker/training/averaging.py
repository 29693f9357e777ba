"""The moving average of a network's weights over the steps of its training."""

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf
from numpy.typing import NDArray


class WeightAverage:
    """Starts with the weights after the first step, then computes `decay * average + (1 - decay) * weights` after each.

    This equals `use_ema` of a Keras optimizer, bit for bit, except that the statistics of batch normalization, which
    belong to the weights, are averaged too. Weights of frozen layers do not change.
    """

    def __init__(self, network: keras.Model, decay: float) -> None:
        self._decay = decay
        self._weights: list[keras.Variable] = network.weights
        frozen = {id(weight) for layer in network.layers if not layer.trainable for weight in layer.weights}
        self._averages = {
            number: tf.Variable(weight.numpy(), trainable=False)
            for number, weight in enumerate(self._weights)
            if id(weight) not in frozen
        }

    @property
    def variables(self) -> list[tf.Variable]:
        return list(self._averages.values())

    def values(self) -> list[NDArray[Any]]:
        """Return the average, in the order of `network.get_weights()`."""
        return [self._averages.get(number, weight).numpy() for number, weight in enumerate(self._weights)]

    def set_last(self, values: Sequence[NDArray[Any]]) -> None:
        """Set the averages of the last weights of the network."""
        first = len(self._weights) - len(values)
        for number, value in enumerate(values, first):
            if number in self._averages:
                self._averages[number].assign(value)

    def take_in(self, steps: tf.Tensor) -> None:
        """In a graph: update the average with the current weights, those after this many steps."""
        decay = tf.where(steps > 1, tf.constant(self._decay, tf.float32), 0.0)
        for number, average in self._averages.items():
            average.assign(decay * average + (1.0 - decay) * self._weights[number].value)
