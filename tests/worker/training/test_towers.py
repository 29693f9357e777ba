"""Batch normalization over the parts of a batch gives Keras' values and gradients, on any number of cores."""

import hashlib
import multiprocessing
import os
from multiprocessing.connection import Connection
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from models.bundled import BUNDLED
from tests.worker.training.processes import SILENCE_S
from tests.worker.training.test_engine import train_with_engine
from tests.worker.training.trainings import fewer, small_spec
from worker.training.engine.towers import normalise_together

EPSILON = 1e-3


def draw_maps(counts: tuple[int, ...], offset: float = 0.0) -> list[tf.Tensor]:
    draws = np.random.default_rng(1)
    return [tf.constant(draws.normal(offset, 2.0, (count, 5, 4, 3)).astype(np.float32)) for count in counts]


@pytest.mark.parametrize("offset", [0.0, 30.0], ids=["around zero", "far from zero"])
def test_parts_of_a_batch_get_the_values_and_gradients_of_the_whole_in_keras(offset):
    parts = draw_maps((3, 1, 5), offset)
    layer = keras.layers.BatchNormalization(epsilon=EPSILON)
    layer.build((None, 5, 4, 3))
    layer.gamma.assign([0.5, 2.0, -1.0])
    layer.beta.assign([0.1, 0.0, 3.0])
    whole = tf.concat(parts, axis=0)
    weights = tf.constant(np.random.default_rng(2).normal(size=whole.shape).astype(np.float32))

    with tf.GradientTape() as tape:
        tape.watch(whole)
        expected = layer(whole, training=True)
        objective = tf.reduce_sum(expected * weights)
    of_whole, of_gamma, of_beta = tape.gradient(objective, [whole, layer.gamma.value, layer.beta.value])

    scale, shift = tf.constant([0.5, 2.0, -1.0]), tf.constant([0.1, 0.0, 3.0])
    with tf.GradientTape() as tape:
        tape.watch([*parts, scale, shift])
        near = tf.fill([3], 0.9 * offset)
        *given, mean, variance = normalise_together(parts, [1.0, 1.0, 1.0], scale, shift, near, EPSILON)
        objective = tf.reduce_sum(tf.concat(given, axis=0) * weights)
    *of_parts, of_scale, of_shift = tape.gradient(objective, [*parts, scale, shift])

    np.testing.assert_allclose(mean, np.mean(whole, axis=(0, 1, 2)), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(variance, np.var(whole.numpy().astype(np.float64), axis=(0, 1, 2)), rtol=1e-4)
    np.testing.assert_allclose(tf.concat(given, axis=0), expected, atol=2e-4 if offset else 1e-5)
    np.testing.assert_allclose(tf.concat(of_parts, axis=0), of_whole, atol=2e-4 if offset else 1e-5)
    np.testing.assert_allclose(of_scale, of_gamma, rtol=1e-3, atol=1e-3 if offset else 1e-4)
    np.testing.assert_allclose(of_shift, of_beta, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("channels", [12, 16, 33])
def test_sixteen_bits_are_normalized_as_float32_is_for_any_number_of_channels(channels):
    draws, means = np.random.default_rng(3), np.linspace(-2, 2, channels)
    parts = [tf.cast(draws.normal(means, 1.0, (count, 8, 6, channels)), tf.bfloat16) for count in (3, 1, 5)]
    weights = [tf.constant(draws.normal(means, 1.0, part.shape), tf.float32) for part in parts]
    scale, shift = tf.constant(means + 3, tf.float32), tf.constant(means[::-1], tf.float32)

    def normalize(dtype):
        maps = [tf.cast(part, dtype) for part in parts]
        with tf.GradientTape() as tape:
            tape.watch([*maps, scale, shift])
            *given, mean, variance = normalise_together(maps, [1.0] * 3, scale, shift, tf.zeros(channels), EPSILON)
            total = tf.add_n([tf.reduce_sum(tf.cast(of, tf.float32) * w) for of, w in zip(given, weights, strict=True)])
        assert {of_part.dtype for of_part in given} == {dtype}
        gradients = tape.gradient(total, [*maps, scale, shift])
        return [tf.cast(value, tf.float32).numpy() for value in (*given, mean, variance, *gradients)]

    for seen, expected in zip(normalize(tf.bfloat16), normalize(tf.float32), strict=True):
        assert np.abs(seen - expected).max() < 0.02 * np.abs(expected).max()


def test_a_part_without_weight_changes_nothing():
    parts = draw_maps((3, 2))
    scale, shift, near = tf.ones(3), tf.zeros(3), tf.zeros(3)
    alone, mean, variance = normalise_together(parts[:1], [1.0], scale, shift, near, EPSILON)
    with_idle, _, mean_with_idle, variance_with_idle = normalise_together(
        parts, [1.0, 0.0], scale, shift, near, EPSILON
    )
    np.testing.assert_allclose(with_idle, alone, atol=1e-6)
    np.testing.assert_allclose([mean_with_idle, variance_with_idle], [mean, variance], atol=1e-6)


def train(threads: int, cores: int, pipe: Connection) -> None:
    """Send the digest of a training with four towers; runs in its own process."""
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:cores])
    tf.config.threading.set_inter_op_parallelism_threads(threads)
    spec = small_spec({"filters": 8, "batch_norm": True, "dropout": 0.2})
    images = fewer(BUNDLED["digits"].read(Path()), 100)
    network, history = train_with_engine(spec, images, towers=4)
    trained = [history, [variable.numpy().tobytes() for variable in network.variables]]
    pipe.send(hashlib.sha256(repr(trained).encode()).hexdigest())


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="needs a system that pins processes to cores")
def test_bits_do_not_depend_on_the_cores_and_threads_that_compute_the_towers(forking):
    """Four towers are computed by one thread on one core, and by eight threads on two cores."""
    context, digests = multiprocessing.get_context("forkserver"), []
    for run in [(1, 1), (8, 2)]:
        ours, theirs = context.Pipe()
        process = context.Process(target=train, args=(*run, theirs), daemon=True)
        process.start()
        theirs.close()
        digests.append(ours.recv() if ours.poll(SILENCE_S) else None)
        process.join(SILENCE_S)
        assert process.exitcode == 0
    assert digests[0] == digests[1] is not None
