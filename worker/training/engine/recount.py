"""Recomputes the averages of batch normalization, over all training images."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from worker.training.data.training_data import BatchSource
from worker.training.networks.network import list_batch_norms
from worker.training.networks.watching import normalize_by_batch, replace_calls


class Recount:
    """Recomputes the averages of a network's batch normalization: means over batches, each as its images count.

    Every batch is normalized by itself, as in a training step, but without dropout and without changes of images.

    Args:
        apply: computes the network's logits in inference mode, from what `source` returns.
        batch_size: as in training, because batches decide the variances.

    Source: Izmailov et al. 2018, arXiv:1803.05407, section 3.2; `update_bn` of PyTorch.
    """

    def __init__(self, network: keras.Model, source: BatchSource, apply: Callable[[Any], Any], batch_size: int) -> None:
        self._source = source
        self._apply = apply
        self._batch_size = batch_size
        self.layers = [layer for layer in list_batch_norms(network) if layer.trainable]
        self._call = tf.function(
            self._compute_statistics, autograph=False, input_signature=[tf.TensorSpec([None], tf.int32)]
        )

    def count(self, order: NDArray[np.int32], between_calls: Callable[[], None]) -> None:
        """Set the averages. They are left as they were if `between_calls` raises.

        Args:
            order: (images,) rows in an order that mixes classes.
        """
        if not self.layers:
            return
        self._source.expect(order, self._batch_size)
        sums: list[NDArray[np.float64]] = []
        for first in range(0, len(order), self._batch_size):
            rows = order[first : first + self._batch_size]
            found = [len(rows) * value.numpy().astype(np.float64) for value in self._call(tf.constant(rows))]
            sums = [total + value for total, value in zip(sums, found, strict=True)] if sums else found
            between_calls()
        means = [(total / len(order)).astype(np.float32) for total in sums]
        for layer, mean, variance in zip(self.layers, means[::2], means[1::2], strict=True):
            layer.moving_mean.assign(mean)
            layer.moving_variance.assign(variance)

    def _compute_statistics(self, rows: tf.Tensor) -> list[tf.Tensor]:
        """Return mean and variance of each layer in this batch; their means, if it is called several times."""
        images, _ = self._source.batch(rows)
        found: dict[int, list[tuple[Any, Any]]] = {id(layer): [] for layer in self.layers}

        def note_for(layer: keras.layers.BatchNormalization) -> Callable[[Any, Any], None]:
            return lambda mean, variance: found[id(layer)].append((mean, variance))

        with replace_calls({layer: normalize_by_batch(layer, note_for(layer)) for layer in self.layers}):
            self._apply(images)
        return [
            tf.add_n(list(values)) / len(values)
            for layer in self.layers
            for values in zip(*found[id(layer)], strict=True)
        ]
