"""Looks inside a network with a few training images, without changing a bit of it."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from heldout.spec.job import JobSpec
from heldout.stored.results import drop_not_finite
from worker.training.engine.order import draw_epoch_order
from worker.training.networks.network import list_batch_norms
from worker.training.networks.own_network import list_steps
from worker.training.networks.watching import normalize_by_batch, replace_calls

# A look costs as much as some dozens of images in a gradient step, most of it for single operations outside of a graph.
# At most one look is taken for this many images that are trained on (`python -m benchmarks.inside.overhead`).
TRAINED_IMAGES_A_LOOK = 15_000
MIN_IMAGES, MAX_IMAGES = 16, 64
MAX_LAYERS = 24
# Units whose outputs differ by less, as a share of the largest, give the same for every image.
SMALLEST_DIFFERENCE = 1e-6


def count_images(batch_size: int, train_images: int) -> int:
    """Return how many images a look takes: those of a batch, for which kernels are compiled anyway, within bounds."""
    return min(train_images, MAX_IMAGES, max(MIN_IMAGES, batch_size))


def is_looked_at(epoch: int, train_images: int, epochs: int) -> bool:
    """Return whether there is a look after an epoch: the last, and every one that it is cheap enough for."""
    every = -(-TRAINED_IMAGES_A_LOOK // max(1, train_images))
    return epoch == epochs or epoch % every == 0


class Looks:
    """The looks of one training, and when they are taken.

    Args:
        looker: None if there are none.
        rows: of the training images. Those that are looked at are drawn by the job's seed.
    """

    def __init__(self, looker: "Looker | None", spec: JobSpec, rows: NDArray[np.int32]) -> None:
        self._looker = looker
        self._epochs = spec.training.epochs
        self._count = len(rows)
        order = draw_epoch_order(spec.training.seed or 0, 0, len(rows))
        self._rows = rows[order[: count_images(spec.training.batch_size, len(rows))]]
        self._weights: list[list[NDArray[np.float32]]] = []  # before and after the last step of the epoch

    def look_at_start(self) -> dict[str, Any] | None:
        """Look before the first step."""
        return None if self._looker is None else self._looker.look(self._rows)

    def find_next_stop(self, epoch: int, step: int, steps: int) -> int:
        """Return the step before which the next call must end, so that the last step can be measured by itself."""
        is_watched = self._is_due(epoch) and step < steps - 1
        return steps - 1 if is_watched else steps

    @contextmanager
    def watch_step(self, epoch: int, step: int, steps: int) -> Iterator[None]:
        """Note the weights before and after the last step of an epoch after which there is a look."""
        is_watched = self._looker is not None and self._is_due(epoch) and step == steps - 1
        self._weights = [self._looker.read_weights()] if self._looker is not None and is_watched else []
        yield
        if self._looker is not None and is_watched:
            self._weights.append(self._looker.read_weights())

    def look_after(self, epoch: int, start: dict[str, Any] | None) -> dict[str, Any] | None:
        """Look after an epoch if a look is due. start: what was seen before the first step, if not reported yet."""
        if self._looker is None or not self._is_due(epoch):
            return None
        seen = self._looker.look(self._rows, *self._weights)
        return seen if start is None else seen | {"start": start}

    def _is_due(self, epoch: int) -> bool:
        return self._looker is not None and is_looked_at(epoch, self._count, self._epochs)


class Looker:
    """Looks inside a network. Everything is computed step by step, because a graph takes longer to trace.

    Args:
        read: returns the network's inputs and the labels of some rows.
    """

    def __init__(self, network: keras.Model, read: Callable[[NDArray[np.int32]], tuple[tf.Tensor, tf.Tensor]]) -> None:
        self._network = network
        self._read = read
        steps = list(dict.fromkeys(list_steps(network)))
        weighted = [(step, kernel) for step in steps if (kernel := _get_kernel(step)) is not None]
        self._weighted = [weighted[place] for place in _choose_places(len(weighted))]
        active = [step for step in steps if _is_active(step)]
        self._active = [active[place] for place in _choose_places(len(active))]
        self._norms = [layer for layer in list_batch_norms(network) if layer.trainable]

    def read_weights(self) -> list[NDArray[np.float32]]:
        """Return the weights of the layers, of which steps are a share."""
        return [kernel.numpy() for _, kernel in self._weighted]

    def look(
        self,
        rows: NDArray[np.int32],
        before: Sequence[NDArray[np.float32]] = (),
        after: Sequence[NDArray[np.float32]] = (),
    ) -> dict[str, Any]:
        """Return the fields of an `InsideLook`.

        Args:
            before, after: the weights before and after the last step; empty if there was none.
        """
        images, labels = self._read(rows)
        seen: dict[int, tuple[tf.Tensor, tf.Tensor]] = {}
        watched = {step: _watch(step, seen) for step in self._active}
        norms = {layer: normalize_by_batch(layer) for layer in self._norms}
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            for _, kernel in self._weighted:
                tape.watch(kernel.value)
            with replace_calls(watched | norms):
                logits = self._network(images, training=False)
            loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits))
        penalty = float(tf.add_n([tf.cast(each, tf.float32) for each in self._network.losses] or [tf.constant(0.0)]))
        gradients = tape.gradient(loss, [kernel.value for _, kernel in self._weighted])
        # Without batch normalization, both modes are the same.
        measured = self._network(images, training=False) if self._norms else logits
        inference = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels, measured))
        answers = np.argmax(measured, axis=-1)
        steps = [
            _measure_length(new - old) / max(_measure_length(old), 1e-12)
            for old, new in zip(before, after, strict=True)
        ]
        return {
            "images": len(rows),
            "loss": drop_not_finite(float(loss)),
            "accuracy": float(np.mean(np.argmax(logits, axis=-1) == labels.numpy())),
            "inference_loss": drop_not_finite(float(inference)),
            "inference_accuracy": float(np.mean(answers == labels.numpy())),
            "penalty": drop_not_finite(penalty),
            "one_answer": max(np.bincount(answers).tolist()) / len(rows),
            "activations": [step.name for step in self._active],
            "dead": [_compute_dead_share(*seen[id(step)]) for step in self._active],
            "layers": [step.name for step, _ in self._weighted],
            "gradients": [drop_not_finite(_measure_length(gradient)) for gradient in gradients],
            "steps": [drop_not_finite(step) for step in steps],
        }


def _get_kernel(step: Any) -> keras.Variable | None:
    """Return the largest weight that is trained and has several axes."""
    weights = [weight for weight in getattr(step, "trainable_weights", ()) if len(weight.shape) > 1]
    return max(weights, key=lambda weight: int(np.prod(weight.shape)), default=None)


def _is_active(step: Any) -> bool:
    kind = type(step).__name__.lower()
    activation = getattr(getattr(step, "activation", None), "__name__", "linear")
    return kind in ("relu", "relu6", "leakyrelu", "elu", "prelu") or activation not in ("linear", "softmax")


def _watch(step: Any, seen: dict[int, tuple[tf.Tensor, tf.Tensor]]) -> Callable[..., Any]:
    """Return the step's own call, which notes the lowest and the highest output of each unit."""
    compute = step.call

    def call(*inputs: Any, **options: Any) -> Any:
        output = compute(*inputs, **options)
        axes = list(range(len(output.shape) - 1))
        values = tf.stop_gradient(output)
        seen[id(step)] = tf.reduce_min(values, axes), tf.reduce_max(values, axes)
        return output

    return call


def _compute_dead_share(lowest: tf.Tensor, highest: tf.Tensor) -> float:
    """Return the share of units whose outputs are the same for all images."""
    low, high = lowest.numpy(), highest.numpy()
    return float(np.mean(high - low <= SMALLEST_DIFFERENCE * np.maximum(np.abs(low), np.abs(high))))


def _choose_places(count: int) -> list[int]:
    """Return the places of at most MAX_LAYERS of all layers, with the first and the last."""
    if count <= MAX_LAYERS:
        return list(range(count))
    return [round(place * (count - 1) / (MAX_LAYERS - 1)) for place in range(MAX_LAYERS)]


def _measure_length(values: Any) -> float:
    return 0.0 if values is None else float(np.linalg.norm(np.asarray(values, np.float32).ravel()))
