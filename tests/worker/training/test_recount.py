"""Batch normalization's averages are recomputed before each evaluation, or follow with another momentum."""

import keras
import numpy as np
import pytest

from tests.worker.training.test_engine import compute_rates
from tests.worker.training.test_trainer import list_epochs_done, same
from tests.worker.training.trainings import Training, fewer, new_network, scale_to_unit, small_spec
from worker.training.data.replicas import Replicas
from worker.training.engine.checkpoint import FitSums
from worker.training.engine.order import draw_epoch_order
from worker.training.networks.network import NetworkBuilder

NORMALIZED = {"filters": 4, "batch_norm": True, "repeat": 2, "dropout": 0.3}


def count_with_keras(network: keras.Model, training: Training) -> list[np.ndarray]:
    """Return the mean of each batch's statistics as Keras' own layers take them, without dropout."""
    norms = [layer for layer in network.layers if isinstance(layer, keras.layers.BatchNormalization)]
    for layer in network.layers:
        if isinstance(layer, keras.layers.Dropout):
            layer.rate = 0.0
    for layer in norms:
        layer.momentum = 0.0  # so that each call leaves exactly its own statistics
    pixels = scale_to_unit(training.data.images, training.data.value_range)
    rows = training.data.rows["train"]
    order = rows[draw_epoch_order(7, 0, len(rows))]
    sums = 0.0
    for first in range(0, len(order), 32):
        part = order[first : first + 32]
        network(pixels[part], training=True)
        found = np.concatenate([value for layer in norms for value in (layer.moving_mean, layer.moving_variance)])
        sums = sums + len(part) * found.astype(np.float64)
    return sums / len(order)


def read_averages(network: keras.Model) -> np.ndarray:
    norms = [layer for layer in network.layers if isinstance(layer, keras.layers.BatchNormalization)]
    return np.concatenate([value for layer in norms for value in (layer.moving_mean, layer.moving_variance)])


@pytest.mark.parametrize("decay", [None, 0.8])
def test_recounted_averages_are_means_of_what_keras_counts_in_each_batch(decay, digits):
    spec = small_spec(NORMALIZED, training={"ema_decay": decay}, evaluation={"recount_batch_norm": True})
    training, reference = Training(spec, fewer(digits, 172)), new_network(spec, digits)
    training.engine.begin_epoch(1, compute_rates(spec, 1, 6))
    training.engine.run(0, 6, FitSums())
    trained = training.network.get_weights()
    training.engine.recount(lambda: None)
    reference.set_weights(training.engine.weights())
    kept = read_averages(reference)
    np.testing.assert_allclose(kept, count_with_keras(reference, training), rtol=1e-4, atol=1e-6)
    assert decay is None or same(training.network.get_weights(), trained)


def test_recomputing_averages_changes_no_step_and_what_is_kept_is_what_was_measured(digits):
    plain = Training(small_spec(NORMALIZED), fewer(digits, 172))
    recounting = Training(small_spec(NORMALIZED, evaluation={"recount_batch_norm": True}), fewer(digits, 172))
    for training in (plain, recounting):
        training.trainer.train()
    learned = [weight.path for weight in plain.network.trainable_weights]
    for before, after in zip(plain.network.weights, recounting.network.weights, strict=True):
        assert (before.numpy() == after.numpy()).all() == (before.path in learned or "moving" not in before.path)
    told = list_epochs_done(recounting)[-1].values
    recounting.restore_kept()
    measured = recounting.evaluator.measure(recounting.data.rows["validation"])
    assert (measured.loss, measured.accuracy) == (told["validation_loss"], told["validation_accuracy"])


def test_a_spec_sets_the_momentum_of_every_layer_with_batch_normalization():
    spec = small_spec(NORMALIZED, training={"batch_norm": {"momentum": 0.8}})
    network = NetworkBuilder(spec, (8, 8, 1), 10, None, Replicas(())).build("float32")
    momenta = [layer.momentum for layer in network.layers if isinstance(layer, keras.layers.BatchNormalization)]
    assert momenta == [0.8, 0.8]
