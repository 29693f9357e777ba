"""The moving average of weights is that of Keras, includes batch normalization, and is what is measured and kept."""

import keras
import numpy as np
import pytest

from tests.worker.training.test_engine import compute_rates
from tests.worker.training.test_trainer import list_epochs_done, same
from tests.worker.training.trainings import Training, fewer, new_network, scale_to_unit, small_spec
from worker.training.engine.checkpoint import FitSums
from worker.training.engine.optimizer import build_loss
from worker.training.engine.order import draw_epoch_order


def test_the_average_is_that_of_a_keras_optimizer_bit_for_bit(digits):
    spec = small_spec({"filters": 4, "dropout": 0.2}, training={"epochs": 2, "ema_decay": 0.9})
    ours, reference = Training(spec, fewer(digits, 172)), new_network(spec, digits)
    optimizer = keras.optimizers.Adam(spec.training.optimizer.learning_rate, use_ema=True, ema_momentum=0.9)
    reference.compile(optimizer, build_loss(0.0))
    pixels = scale_to_unit(ours.data.images, ours.data.value_range)
    for epoch in (1, 2):
        ours.engine.begin_epoch(epoch, compute_rates(spec, epoch, 6))
        ours.engine.run(0, 6, FitSums())
        order = ours.data.rows["train"][draw_epoch_order(7, epoch, 172)]
        for first in range(0, 172, 32):
            rows = order[first : first + 32]
            reference.train_on_batch(pixels[rows], ours.data.labels[rows])
    assert same(ours.network.get_weights(), reference.get_weights())
    averages = [average.numpy() for average in optimizer._model_variables_moving_average]
    assert same(ours.engine.weights(), averages)
    assert not same(averages, reference.get_weights())


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
def test_statistics_of_batch_normalization_are_averaged_too(policy, digits):
    spec = small_spec({"filters": 4, "batch_norm": True}, training={"ema_decay": 0.8})
    training = Training(spec, fewer(digits, 172), policy=policy)
    assert same(training.engine.weights(), training.network.get_weights())
    training.engine.begin_epoch(1, compute_rates(spec, 1, 6))
    decay, average = np.float32(0.8), None
    for step in range(6):
        training.engine.run(step, step + 1, FitSums())
        weights = training.network.get_weights()
        if average is None:
            average = weights
        average = [decay * old + (1 - decay) * new for old, new in zip(average, weights, strict=True)]
    for weight, expected in zip(training.engine.weights(), average, strict=True):
        np.testing.assert_allclose(weight, expected, atol=1e-6)
    statistics = [weight for weight in training.network.weights if "moving" in weight.path]
    assert len(statistics) == 2


def test_weights_of_frozen_layers_do_not_change(digits):
    spec = small_spec(training={"ema_decay": 0.9})
    training = Training(spec, fewer(digits, 172))
    training.network.get_layer("block1_conv1").trainable = False
    kernel = training.network.get_weights()[0]
    other = type(training.engine)(training.network, training.data, training.resident, spec)
    other.begin_epoch(1, compute_rates(spec, 1, 6))
    other.run(0, 6, FitSums())
    assert other.weights()[0].tobytes() == kernel.tobytes()
    assert not same(other.weights(), training.network.get_weights())


def test_every_figure_and_the_kept_weights_are_those_of_the_average(digits, tmp_path):
    spec = small_spec(
        {"filters": 4, "batch_norm": True},
        training={"epochs": 4, "ema_decay": 0.95, "early_stopping": {"patience": 3}},
        evaluation={"test": "every_epoch"},
    )
    training = Training(spec, fewer(digits, 172), tmp_path)
    training.trainer.train()
    raw, trained = training.network.get_weights(), training.trainer.get_trained_weights()
    epochs = list_epochs_done(training)
    losses = [done.values["validation_loss"] for done in epochs]
    kept = training.restore_kept()
    assert kept == trained.best_by_loss == losses.index(min(losses)) + 1
    plain = Training(small_spec({"filters": 4, "batch_norm": True}), fewer(digits, 172))
    plain.network.set_weights(training.network.get_weights())
    for split in ("train", "validation", "test"):
        measured = plain.evaluator.measure(plain.data.rows[split])
        assert epochs[kept - 1].values[f"{split}_loss"] == measured.loss
    assert not same(trained.of_epoch[4], raw)
