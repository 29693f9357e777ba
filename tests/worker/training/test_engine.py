"""The engine computes what Keras' `fit` computes, bit for bit, no matter how its calls are divided."""

from itertools import combinations, pairwise
from typing import Any

import keras
import numpy as np
import pytest

from analysis.arrays.dataset import ImageSet
from heldout.spec.job import JobSpec
from tests.worker.training.trainings import Training, fewer, load_example, new_network, scale_to_unit, small_spec
from worker.machine.devices import Policy
from worker.training.engine.checkpoint import FitSums
from worker.training.engine.optimizer import build_loss, build_optimizer
from worker.training.engine.order import draw_balanced_order, draw_epoch_order
from worker.training.engine.training_policy import PlateauState, compute_epoch_rates
from worker.training.networks.network import build_network

EPOCHS = 2
# 11 full batches of 32 and one of 20
IMAGES = 372


class StepRates(keras.callbacks.Callback):
    """Sets the learning rate before each step of `fit`."""

    def __init__(self, rates: np.ndarray) -> None:
        super().__init__()
        self._rates = rates

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        self.model.optimizer.learning_rate = self._rates[batch]


def compute_rates(spec: JobSpec, epoch: int, steps: int) -> np.ndarray:
    return compute_epoch_rates(spec.training, PlateauState(spec.training.optimizer.learning_rate), epoch, steps)


def train_with_engine(
    spec: JobSpec, images: ImageSet, *, towers: int = 1, cuts: tuple[int, ...] = (), policy: Policy = "float32"
) -> Any:
    """Train for EPOCHS epochs; return the network, and loss and accuracy of each epoch. cuts: steps where calls end."""
    training = Training(spec, images, towers=towers, policy=policy)
    steps, history = training.engine.steps_per_epoch, []
    for epoch in range(1, EPOCHS + 1):
        training.engine.begin_epoch(epoch, compute_rates(spec, epoch, steps))
        sums, marks = FitSums(), [0, *cuts, steps]
        for first, last in pairwise(marks):
            sums = training.engine.run(first, last, sums)
        history.append((sums.loss, sums.accuracy))
    return training.network, history


def train_with_fit(
    spec: JobSpec,
    images: ImageSet,
    policy: Policy = "float32",
    network: keras.Model | None = None,
    compiled: tuple[keras.optimizers.Optimizer, keras.losses.Loss] | None = None,
) -> Any:
    """Train by `fit` on each epoch's images in the engine's order, with each ReLU before its pool.

    compiled: optimizer and loss, which takes shares of classes. The default is what the engine makes from the spec.
    """
    data = Training(spec, images).data
    assert spec.training.seed is not None
    classes, seed = len(images.classes), spec.training.seed
    if network is None:
        network = build_network(spec.network, images.shape, classes, seed, policy, relu_after_pool=False)
    by_shares = bool(spec.training.label_smoothing) or compiled is not None
    compiled = compiled or (build_optimizer(spec.training.optimizer), build_loss(spec.training.label_smoothing))
    network.compile(*compiled, metrics=["accuracy"])
    weights = None if data.class_weights is None else dict(enumerate(data.class_weights.tolist()))
    pixels, history = scale_to_unit(data.images, data.value_range), []
    for epoch in range(1, EPOCHS + 1):
        order = data.rows["train"][draw_epoch_order(spec.training.seed, epoch, len(data.rows["train"]))]
        labels = data.labels[order]
        result = network.fit(
            pixels[order],
            np.eye(len(data.classes), dtype=np.float32)[labels] if by_shares else labels,
            batch_size=spec.training.batch_size,
            class_weight=weights,
            shuffle=False,
            verbose=0,
            callbacks=[StepRates(compute_rates(spec, epoch, -(-len(order) // spec.training.batch_size)))],
        ).history
        history.append((result["loss"][0], result["accuracy"][0]))
    return network, history


def compute_difference(first: keras.Model, second: keras.Model) -> float:
    """Return the largest difference between variables of two networks, including seeds of dropout."""
    pairs = zip(first.variables, second.variables, strict=True)
    return max(np.abs(a.numpy().astype(np.float64) - b.numpy()).max() for a, b in pairs)


SPECS = {
    "regularized": load_example("regularized"),  # with dropout and penalties
    "dense, weighted, smoothed, scheduled": small_spec(
        {"filters": 6, "activation": "gelu", "repeat": 2, "padding": "same"},
        {"filters": 8, "activation": "tanh", "l2": 0.02},
        network={
            "head": "global_average",
            "dense": [{"units": 20, "l2": 0.001, "dropout": 0.2}, {"units": 12, "activation": "elu"}],
        },
        training={
            "epochs": EPOCHS,
            "class_weights": {"3": 2.0, "5": 0.25},
            "label_smoothing": 0.1,
            "schedule": {"name": "cosine", "warmup_epochs": 1},
            "optimizer": {"name": "sgd", "learning_rate": 0.1, "momentum": 0.9},
        },
    ),
    "normalized": small_spec(
        {"filters": 8, "batch_norm": True, "dropout": 0.1}, {"filters": 16, "batch_norm": True, "repeat": 2}
    ),
    "balanced, adamw": small_spec(training={"class_weights": "balanced", "optimizer": {"name": "adamw"}}),
    "rmsprop, one batch": small_spec(training={"batch_size": 1000, "optimizer": {"name": "rmsprop"}}),
}


@pytest.mark.parametrize(
    ("name", "policy"),
    [
        # Mixed precision casts between the same operations, and test_descent.py has every optimizer.
        *(pytest.param(name, "float32", marks=[pytest.mark.proof] * (name != "regularized")) for name in SPECS),
        pytest.param("regularized", "mixed_bfloat16", marks=pytest.mark.proof),
        ("dense, weighted, smoothed, scheduled", "mixed_bfloat16"),
        # In every run, test_own_engine.py compares batch normalization with fit.
        pytest.param("normalized", "mixed_bfloat16", marks=pytest.mark.proof),
    ],
)
def test_one_tower_gives_the_weights_and_losses_of_fit_bit_for_bit(name, policy, mnist5k):
    images = fewer(mnist5k, IMAGES)
    ours, history = train_with_engine(SPECS[name], images, cuts=(1,), policy=policy)
    reference, expected = train_with_fit(SPECS[name], images, policy)
    assert history == expected
    assert compute_difference(ours, reference) == 0


RESIDUAL = small_spec(
    {"filters": 8, "padding": "same", "norm": "batch", "pool": 2, "pool_type": "average"},
    {"filters": 8, "norm": "batch", "residual": True, "repeat": 2, "pool": 1, "dropout": 0.2},
    {"filters": 12, "norm": "group", "residual": True, "repeat": 2, "strides": 2, "pool": 1, "l2": 0.01},
    {"filters": 12, "norm": "layer", "residual": True, "activation": "tanh", "pool": 1},
    network={"head": "global_average"},
)


def make_residual_network(policy: str) -> keras.Model:
    """Make the network of RESIDUAL by hand in Keras."""
    layers = keras.layers

    def convolve(maps, filters, size=3, penalty=None, strides=1):
        regularizer = penalty and keras.regularizers.L2(penalty)
        convolution = layers.Conv2D(filters, size, strides, padding="same", kernel_regularizer=regularizer)
        return convolution(maps)

    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    images = keras.Input((28, 28, 1), dtype="float32")
    maps = layers.BatchNormalization()(convolve(images, 8))
    maps = layers.AveragePooling2D(2)(layers.Activation("relu")(maps))

    inner = layers.Activation("relu")(layers.BatchNormalization()(convolve(maps, 8)))
    inner = layers.BatchNormalization()(convolve(inner, 8))
    maps = layers.Dropout(0.2, seed=1)(layers.Activation("relu")(layers.Add()([inner, maps])))

    inner = layers.Activation("relu")(layers.GroupNormalization(3)(convolve(maps, 12, penalty=0.01, strides=2)))
    inner = layers.GroupNormalization(3)(convolve(inner, 12, penalty=0.01))
    shortcut = layers.GroupNormalization(3)(convolve(maps, 12, 1, penalty=0.01, strides=2))
    maps = layers.Activation("relu")(layers.Add()([inner, shortcut]))

    inner = layers.LayerNormalization()(convolve(maps, 12))
    maps = layers.Activation("tanh")(layers.Add()([inner, maps]))
    features = layers.GlobalAveragePooling2D()(maps)
    network = keras.Model(images, layers.Dense(10, dtype="float32")(features))
    keras.config.set_dtype_policy(before)
    return network


@pytest.mark.proof  # an uploaded network with additions is compared with fit in every run
@pytest.mark.parametrize("policy", ["mixed_bfloat16", "float32"])
def test_residual_blocks_train_as_in_plain_keras_bit_for_bit(policy, mnist5k):
    images = fewer(mnist5k, IMAGES)
    plain = make_residual_network(policy)
    for variable, value in zip(plain.variables, new_network(RESIDUAL, images, policy).variables, strict=True):
        variable.assign(value)
    ours, history = train_with_engine(RESIDUAL, images, policy=policy)
    reference, expected = train_with_fit(RESIDUAL, images, policy, plain)
    assert history == expected
    assert compute_difference(ours, reference) == 0


@pytest.mark.proof  # towers walk a graph with an addition in every run, below
def test_towers_take_parts_of_a_batch_through_residual_blocks(mnist5k):
    training = {"optimizer": {"name": "sgd", "learning_rate": 0.01}}
    # Each tower draws its own dropout, so there is none. The last block normalizes over filters, which are nearly equal
    # where an image is black: dividing by their deviation would amplify rounding.
    blocks = [block.model_dump() | {"dropout": 0.0} for block in RESIDUAL.network.blocks[:-1]]
    spec = small_spec(*blocks, network={"head": "global_average"}, training=training)
    images = fewer(mnist5k, 195)
    whole, history = train_with_engine(spec, images)
    divided, other_history = train_with_engine(spec, images, towers=4)
    np.testing.assert_allclose(other_history, history, rtol=2e-5)
    assert 0 < compute_difference(whole, divided) < 1e-4


def test_moving_max_pools_before_relu_changes_no_bit_and_average_pools_stay_behind_it(digits):
    blocks = ({"filters": 6, "padding": "same", "pool_type": "average"}, {"filters": 6, "residual": True})
    images, policy = fewer(digits, 170), "mixed_bfloat16"
    ours, history = train_with_engine(small_spec(*blocks), images, policy=policy)
    reference, expected = train_with_fit(small_spec(*blocks), images, policy)
    assert history == expected
    assert compute_difference(ours, reference) == 0


RECIPES = {
    "nesterov, clipped, focal, smoothed": (
        {
            "optimizer": {"name": "sgd", "learning_rate": 0.1, "momentum": 0.9, "nesterov": True, "clip_norm": 0.05},
            "loss": {"name": "focal", "gamma": 1.5, "alpha": 0.5},
            "label_smoothing": 0.1,
            "schedule": {"name": "one_cycle"},
        },
        lambda: keras.optimizers.SGD(0.1, momentum=0.9, nesterov=True, global_clipnorm=0.05),
        keras.losses.CategoricalFocalCrossentropy(0.5, 1.5, from_logits=True, label_smoothing=0.1),
    ),
    "clipped adam, focal, weighted": (
        {
            "optimizer": {"name": "adam", "clip_norm": 0.3},
            "loss": {"name": "focal"},
            "class_weights": {"3": 2.0},
            "schedule": {"name": "step", "milestones": [1]},
        },
        lambda: keras.optimizers.Adam(global_clipnorm=0.3),
        keras.losses.CategoricalFocalCrossentropy(from_logits=True),
    ),
}


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[pytest.mark.proof] * (name != "clipped adam, focal, weighted")) for name in RECIPES],
)
def test_recipes_give_the_bits_of_keras_own_optimizers_and_losses(name, mnist5k):
    training, make_optimizer, loss = RECIPES[name]
    images = fewer(mnist5k, IMAGES)
    spec = small_spec({"filters": 6}, {"filters": 8, "dropout": 0.1}, training={"epochs": EPOCHS, **training})
    ours, history = train_with_engine(spec, images, cuts=(1,))
    reference, expected = train_with_fit(spec, images, compiled=(make_optimizer(), loss))
    assert history == expected
    assert compute_difference(ours, reference) == 0


@pytest.mark.parametrize(
    ("policy", "bound"), [("float32", 1e-6), pytest.param("mixed_bfloat16", 5e-3, marks=pytest.mark.proof)]
)
def test_batch_normalization_of_only_full_batches_agrees_with_fit_except_for_rounding(policy, bound, digits):
    # The graph of `fit` then has a fixed batch size. For means, TensorFlow multiplies by the rounded reciprocal of the
    # number of values. The engine, whose last batch may be smaller, divides.
    training = {"optimizer": {"name": "sgd", "learning_rate": 0.1}}
    spec = small_spec(
        {"filters": 6, "batch_norm": True}, {"filters": 8, "batch_norm": True, "pool": 1}, training=training
    )
    images = fewer(digits, 160)
    ours, history = train_with_engine(spec, images, policy=policy)
    reference, expected = train_with_fit(spec, images, policy)
    np.testing.assert_allclose(history, expected, rtol=bound)
    assert compute_difference(ours, reference) <= bound


def test_the_division_of_calls_changes_no_bit(digits):
    augmentation = {"rotation_degrees": 20.0, "zoom": 0.1, "brightness": 0.2}
    spec = small_spec({"filters": 4, "dropout": 0.3}, augmentation=augmentation)
    images = fewer(digits, 200)
    whole, history = train_with_engine(spec, images)
    divided, divided_history = train_with_engine(spec, images, cuts=(1, 3, 4))
    assert divided_history == history
    assert compute_difference(whole, divided) == 0


def test_two_towers_agree_with_one_even_if_the_last_batch_is_a_single_image(digits):
    # Plain gradient descent: weights differ by no more than their gradients do.
    training = {"class_weights": {"1": 3.0}, "optimizer": {"name": "sgd", "learning_rate": 0.1}}
    spec = small_spec({"filters": 4, "l2": 0.01}, training=training, augmentation={"width_shift": 0.2})
    images = fewer(digits, 193)
    whole, history = train_with_engine(spec, images)
    divided, other_history = train_with_engine(spec, images, towers=2)
    np.testing.assert_allclose(other_history, history, rtol=1e-5)
    assert 0 < compute_difference(whole, divided) < 1e-6


def test_each_tower_draws_its_own_dropout(digits):
    spec = small_spec({"filters": 4, "dropout": 0.5})
    steps = 2 * 7 * EPOCHS
    network, _ = train_with_engine(spec, fewer(digits, 200), towers=2)
    seeds = next(v.numpy() for v in network.variables if v.path.endswith("seed_generator_state"))
    assert seeds[1] == steps


@pytest.mark.parametrize("towers", [8, *(pytest.param(towers, marks=pytest.mark.proof) for towers in (2, 4))])
def test_towers_normalize_the_whole_batch(towers, digits):
    # The last batch has three images, so five of eight towers have none.
    training = {"optimizer": {"name": "sgd", "learning_rate": 0.1}}
    blocks = ({"filters": 4, "batch_norm": True}, {"filters": 6, "batch_norm": True, "pool": 1})
    spec = small_spec(*blocks, training=training)
    images = fewer(digits, 195)
    whole, history = train_with_engine(spec, images)
    divided, other_history = train_with_engine(spec, images, towers=towers)
    np.testing.assert_allclose(other_history, history, rtol=2e-5)
    assert 0 < compute_difference(whole, divided) < 1e-5


def make_branching_network() -> keras.Model:
    """Make a graph of layers and operations with values that are used twice and a layer that is called twice."""
    images = keras.Input((8, 8, 1))
    maps = keras.layers.Conv2D(4, 3, padding="same", kernel_initializer=keras.initializers.GlorotUniform(1))(images)
    shared = keras.layers.Conv2D(4, 3, padding="same", kernel_initializer=keras.initializers.GlorotUniform(2))
    branch = keras.layers.BatchNormalization()(shared(maps))
    maps = keras.ops.relu(keras.layers.Add()([branch, maps]))
    maps = keras.layers.Concatenate()([maps, keras.ops.tanh(shared(maps)) * 0.5])
    features = keras.layers.GlobalAveragePooling2D()(maps)
    return keras.Model(images, keras.layers.Dense(10, kernel_initializer=keras.initializers.GlorotUniform(3))(features))


def test_towers_walk_any_functional_graph(digits):
    spec = small_spec(training={"optimizer": {"name": "sgd", "learning_rate": 0.1}})
    images = fewer(digits, 195)
    trained = []
    for towers in (1, 3):
        training = Training(spec, images, towers=towers, network=make_branching_network())
        training.engine.begin_epoch(1, compute_rates(spec, 1, training.engine.steps_per_epoch))
        trained.append((training.network, training.engine.run(0, training.engine.steps_per_epoch, FitSums())))
    (whole, sums), (divided, other_sums) = trained
    np.testing.assert_allclose(other_sums.loss, sums.loss, rtol=2e-5)
    assert 0 < compute_difference(whole, divided) < 1e-5


def test_each_epoch_uses_every_image_once_in_a_new_order():
    orders = [draw_epoch_order(seed, epoch, 500) for seed in (1, 2) for epoch in (1, 2, 3)]
    for order in orders:
        np.testing.assert_array_equal(np.sort(order), np.arange(500))
    same_place = [np.mean(first == second) for first, second in combinations(orders, 2)]
    assert max(same_place) < 0.02
    np.testing.assert_array_equal(draw_epoch_order(2, 3, 500), orders[-1])


def test_a_balanced_epoch_uses_as_many_images_of_each_class():
    labels = np.repeat([0, 1, 3], [300, 60, 7]).astype(np.int32)
    orders = [draw_balanced_order(1, epoch, labels) for epoch in (1, 2)]
    for order in orders:
        assert len(order) == len(labels)
        assert sorted(np.bincount(labels[order])[[0, 1, 3]]) == [122, 122, 123]
        for label in (0, 1, 3):
            times = np.bincount(order, minlength=len(labels))[labels == label]
            assert times.max() - times.min() <= 1
    assert not np.array_equal(*orders)
    np.testing.assert_array_equal(draw_balanced_order(1, 2, labels), orders[1])


def test_fit_sums_are_means_weighted_by_images():
    sums = FitSums(objective=10.0, correct=3.0, images=4.0)
    assert (sums.loss, sums.accuracy) == (2.5, 0.75)
