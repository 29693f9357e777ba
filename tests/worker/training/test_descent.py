"""Optimizing all weights as one vector gives the same results as Keras' optimizer on separate weights."""

import keras
import numpy as np
import pytest

from heldout.spec.optimization import OptimizerSpec
from worker.training.engine.optimizer import MAX_IN_VECTOR, Descent, build_optimizer

SHAPES = [(3, 3, 2, 5), (5,), (20, 7), (7,)]
STEPS = 6


def make_weights(shapes: list[tuple[int, ...]]) -> list[keras.Variable]:
    draws = np.random.default_rng(1)
    return [keras.Variable(draws.normal(size=shape).astype(np.float32)) for shape in shapes]


def draw_gradients(shapes: list[tuple[int, ...]], step: int) -> list[np.ndarray]:
    draws = np.random.default_rng([2, step])
    return [draws.normal(size=shape).astype(np.float32) for shape in shapes]


def assert_same(ours: list[np.ndarray], expected: list[keras.Variable]) -> None:
    for value, variable in zip(ours, expected, strict=True):
        np.testing.assert_array_equal(value, variable.numpy(), strict=True)


@pytest.mark.parametrize(
    "optimizer",
    [
        {"name": "adam"},
        {"name": "adamw", "weight_decay": 0.1},
        {"name": "sgd", "momentum": 0.9},
        {"name": "sgd"},
        {"name": "rmsprop"},
    ],
)
@pytest.mark.parametrize("shapes", [SHAPES, [(MAX_IN_VECTOR + 1,), (3,)]])
def test_weights_and_state_equal_those_of_keras_bit_for_bit_even_after_a_restart(optimizer, shapes):
    spec, expected = OptimizerSpec.model_validate(optimizer), make_weights(shapes)
    keras_optimizer = build_optimizer(spec)
    keras_optimizer.build(expected)
    weights = make_weights(shapes)
    descent = Descent(build_optimizer(spec), weights, in_vector=True)
    for step in range(STEPS):
        if step == STEPS // 2:
            values, state = [weight.numpy() for weight in weights], descent.state()
            weights = make_weights(shapes)
            descent = Descent(build_optimizer(spec), weights, in_vector=True)
            for weight, value in zip(weights, values, strict=True):
                weight.assign(value)
            rest = iter([*state, np.float32(0)])
            descent.restore(rest)
            assert len(list(rest)) == 1, "only its own state is consumed"
        descent.begin()
        descent.step(draw_gradients(shapes, step))
        keras_optimizer.apply(draw_gradients(shapes, step), expected)
    assert_same([weight.numpy() for weight in weights], expected)
    assert_same(descent.state(), keras_optimizer.variables)
