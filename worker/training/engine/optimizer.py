"""Builds optimizers and losses, applies an optimizer to weights (singly or as one vector), and averages weights."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from heldout.spec.optimization import LossSpec, OptimizerSpec

# Copying more weights than this into a vector costs more than it saves.
MAX_IN_VECTOR = 250_000


def build_optimizer(spec: OptimizerSpec, *, scaled: bool = False) -> keras.optimizers.Optimizer:
    """Return Keras' own optimizer; the engine sets its learning rate before every step.

    `scaled` multiplies the loss, because float16 could not hold its gradients otherwise, and divides the gradients
    again. A step with gradients that are not finite is skipped.
    """
    if scaled:
        return keras.optimizers.LossScaleOptimizer(build_optimizer(spec))
    return getattr(keras.optimizers, spec.keras_class)(spec.learning_rate, **spec.keras_arguments)


def build_loss(label_smoothing: float, *, shares: bool = False, spec: LossSpec | None = None) -> keras.losses.Loss:
    """Build the mean loss of logits. With smoothing, `shares` or a focal loss, targets are shares of classes."""
    if spec is not None and spec.name == "focal":
        return keras.losses.CategoricalFocalCrossentropy(
            alpha=spec.alpha, gamma=spec.gamma, from_logits=True, label_smoothing=label_smoothing
        )
    if label_smoothing or shares:
        return keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=label_smoothing)
    return keras.losses.SparseCategoricalCrossentropy(from_logits=True)


class Descent:
    """Changes the weights of a network by their gradients.

    An optimizer takes about forty operations per weight, which cost more to trace than to compute. So if there are few
    enough weights, it changes one vector of them all. Each number changes independently, and the bits are the same.
    RMSprop is an exception: TensorFlow turns its division by a root into a product with a reciprocal root, which on
    some processors rounds differently at the end of a tensor. So is a limit for the length of the gradient: the sum of
    squares over a vector rounds differently from that over its parts.

    Args:
        optimizer: not built yet.
        weights: the trainable weights of a network.
        in_vector: whether they may be changed as one vector; they must be on one device.
    """

    def __init__(
        self, optimizer: keras.optimizers.Optimizer, weights: Sequence[keras.Variable], *, in_vector: bool
    ) -> None:
        self.optimizer = optimizer
        self.count = len(weights)
        self._weights = list(weights)
        self._shapes = [tuple(weight.shape) for weight in weights]
        self._sizes = [int(np.prod(shape)) for shape in self._shapes]
        self._vector: keras.Variable | None = None
        own = getattr(optimizer, "inner_optimizer", optimizer)  # of what scales the loss
        is_same = not isinstance(own, keras.optimizers.RMSprop) and own.global_clipnorm is None
        if in_vector and is_same and sum(self._sizes) <= MAX_IN_VECTOR:
            self._vector = keras.Variable(np.zeros(sum(self._sizes), np.float32), name="weights")
        optimizer.build(self._weights if self._vector is None else [self._vector])

    def begin(self) -> None:
        """Read the weights before a graph's first step. They may have been changed elsewhere."""
        if self._vector is not None:
            self._vector.assign(_join([weight.value for weight in self._weights]))

    def step(self, gradients: Sequence[tf.Tensor]) -> None:
        """Change the weights by their gradients, in a graph."""
        if self._vector is None:
            self.optimizer.apply(gradients, self._weights)
            return
        self.optimizer.apply([_join(gradients)], [self._vector])
        parts = tf.split(self._vector.value, self._sizes)
        for weight, shape, part in zip(self._weights, self._shapes, parts, strict=True):
            weight.assign(tf.reshape(part, shape))

    def state(self) -> list[NDArray[Any]]:
        """Return the optimizer's variables, in the order and shapes that they have without a vector."""
        values = [np.asarray(variable.numpy()) for variable in self.optimizer.variables]
        if self._vector is None:
            return values
        of_weights = zip(*(self._iterate_parts(value) for value in values if value.ndim), strict=True)
        return [*(value for value in values if not value.ndim), *(part for parts in of_weights for part in parts)]

    def restore(self, state: Iterator[NDArray[Any]]) -> None:
        """Restore the result of `state` from the front of `state`."""
        variables = self.optimizer.variables
        single = variables if self._vector is None else [variable for variable in variables if not variable.ndim]
        for variable in single:
            variable.assign(next(state))
        if self._vector is not None:
            vectors = [variable for variable in variables if variable.ndim]
            parts = [[next(state).ravel() for _ in vectors] for _ in self._weights]
            for number, vector in enumerate(vectors):
                vector.assign(np.concatenate([of_weight[number] for of_weight in parts]))

    def _iterate_parts(self, vector: NDArray[Any]) -> Iterator[NDArray[Any]]:
        parts = np.split(vector, np.cumsum(self._sizes)[:-1])
        return (part.reshape(shape) for part, shape in zip(parts, self._shapes, strict=True))


def _join(values: Sequence[tf.Tensor]) -> tf.Tensor:
    return tf.concat([tf.reshape(value, [-1]) for value in values], axis=0)


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

    def read(self, variables: Iterable[keras.Variable]) -> None:
        """Set the averages of some of the network's variables to their values."""
        places = {id(weight): number for number, weight in enumerate(self._weights)}
        for variable in variables:
            self._averages[places[id(variable)]].assign(variable.value)

    def take_in(self, steps: tf.Tensor) -> None:
        """Update the average, within a graph, with the weights after this many steps."""
        decay = tf.where(steps > 1, tf.constant(self._decay, tf.float32), 0.0)
        for number, average in self._averages.items():
            average.assign(decay * average + (1.0 - decay) * self._weights[number].value)
