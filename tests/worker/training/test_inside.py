"""A look inside a network says what is wrong in it, and changes no bit of the training."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from heldout.stored.inside import EpochInside
from tests.worker.training.test_trainer import list_epochs_done, same
from tests.worker.training.trainings import Training, fewer, scale_to_unit, small_spec
from worker.training.measuring.inside import Looker, count_images, is_looked_at

NORMALIZED = {"filters": 4, "batch_norm": True, "repeat": 2, "dropout": 0.3}


def train(spec, images, **options) -> Training:
    training = Training(spec, images, **options)
    training.trainer.train()
    return training


@pytest.mark.parametrize(
    "training", [{}, {"ema_decay": 0.9}, {"optimizer": {"name": "sgd", "learning_rate": 0.1, "momentum": 0.9}}]
)
def test_looks_change_no_bit_of_a_training(training, digits):
    spec = small_spec(NORMALIZED, training=training, augmentation={"rotation_degrees": 10})
    looking, blind = (train(spec, fewer(digits, 172), looks_inside=looks) for looks in (True, False))
    assert same(looking.network.get_weights(), blind.network.get_weights())
    assert same(looking.engine.state(), blind.engine.state())
    figures = [
        [
            {name: value for name, value in done.values.items() if "second" not in name}
            for done in list_epochs_done(each)
        ]
        for each in (looking, blind)
    ]
    assert figures[0] == figures[1]
    assert [done.inside is not None for done in list_epochs_done(looking)] == [False, False, True]
    assert not any(done.inside for done in list_epochs_done(blind))


def test_a_look_gives_what_keras_computes_on_the_same_images(digits):
    spec = small_spec({"filters": 4}, network={"dense": [{"units": 8}]}, training={"epochs": 1})
    training = Training(spec, fewer(digits, 172))
    network = training.network
    kernel, bias = network.get_layer("dense1").get_weights()
    bias[:6] = -1000.0  # six of its eight units never answer
    network.get_layer("dense1").set_weights([kernel, bias])
    rows = training.data.rows["train"][:50]
    seen = EpochInside.model_validate(Looker(network, training.engine.read).look(rows))
    pixels = scale_to_unit(training.data.images, training.data.value_range)[rows]
    labels = training.data.labels[rows]
    with tf.GradientTape() as tape:
        logits = network(pixels)
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)(labels, logits)
    layers = [network.get_layer(name) for name in ("block1_conv1", "dense1", "output")]
    expected = [float(tf.norm(each)) for each in tape.gradient(loss, [layer.kernel.value for layer in layers])]
    assert seen.layers == [layer.name for layer in layers]
    assert seen.gradients == pytest.approx(expected, rel=1e-4)
    assert seen.loss == pytest.approx(float(loss), rel=1e-5)
    assert seen.loss == seen.inference_loss
    answers = np.argmax(logits, axis=1)
    assert seen.accuracy == np.mean(answers == labels)
    assert seen.one_answer == np.bincount(answers).max() / 50
    assert dict(zip(seen.activations, seen.dead, strict=True))["dense1"] >= 0.75


def test_steps_are_shares_of_the_weights_and_the_first_look_comes_before_them(digits):
    rate = 0.1
    spec = small_spec({"filters": 4}, training={"epochs": 1, "optimizer": {"name": "sgd", "learning_rate": rate}})
    training = Training(spec, fewer(digits, 32))  # one step
    before = training.network.get_layer("output").get_weights()[0]
    training.trainer.train()
    after = training.network.get_layer("output").get_weights()[0]
    [done] = list_epochs_done(training)
    seen = EpochInside.model_validate(done.inside)
    assert seen.steps[-1] == pytest.approx(np.linalg.norm(after - before) / np.linalg.norm(before), rel=1e-4)
    assert seen.start is not None
    assert seen.start.steps == []
    assert seen.start.loss == pytest.approx(np.log(10), abs=0.5)


def test_both_modes_differ_where_averages_lag_behind(digits):
    rate = {"optimizer": {"name": "adam", "learning_rate": 0.02}}
    training = train(small_spec(NORMALIZED, training={"epochs": 2, **rate}), fewer(digits, 1000))
    last = EpochInside.model_validate(list_epochs_done(training)[-1].inside)
    assert last.accuracy > last.inference_accuracy + 0.2
    training.engine.recount(lambda: None)
    rows = training.data.rows["train"][:64]
    again = Looker(training.network, lambda _: training.resident.batch(tf.constant(rows))).look(rows)
    assert abs(again["accuracy"] - again["inference_accuracy"]) < 0.15


def test_looks_are_as_rare_as_their_cost_demands():
    for images in (40, 200, 500, 3_600, 50_000):
        looked = sum(is_looked_at(epoch, images, 100) for epoch in range(1, 101))
        assert looked <= 100 * images / 15_000 + 2
        assert count_images(1000, images) <= 64
    assert [epoch for epoch in range(1, 7) if is_looked_at(epoch, 3_600, 6)] == [5, 6]
    assert all(is_looked_at(epoch, 15_000, 9) for epoch in range(1, 10))
