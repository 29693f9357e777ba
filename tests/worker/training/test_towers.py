"""Batch normalisation over the parts of a batch: Keras' own figures and gradients, on any number of cores."""

import os
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from worker.training.towers import normalise_together

EPSILON = 1e-3


def maps_of(counts: tuple[int, ...], offset: float = 0.0) -> list[tf.Tensor]:
    draws = np.random.default_rng(1)
    return [tf.constant(draws.normal(offset, 2.0, (count, 5, 4, 3)).astype(np.float32)) for count in counts]


@pytest.mark.parametrize("offset", [0.0, 30.0], ids=["around zero", "far from zero"])
def test_parts_of_a_batch_get_the_values_and_gradients_that_keras_gives_the_whole(offset):
    parts = maps_of((3, 1, 5), offset)
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


def test_a_part_that_counts_nothing_changes_nothing():
    parts = maps_of((3, 2))
    scale, shift, near = tf.ones(3), tf.zeros(3), tf.zeros(3)
    alone, mean, variance = normalise_together(parts[:1], [1.0], scale, shift, near, EPSILON)
    beside, _, beside_mean, beside_variance = normalise_together(parts, [1.0, 0.0], scale, shift, near, EPSILON)
    np.testing.assert_allclose(beside, alone, atol=1e-6)
    np.testing.assert_allclose([beside_mean, beside_variance], [mean, variance], atol=1e-6)


TRAIN = """
import os, sys
threads, cores = int(sys.argv[1]), int(sys.argv[2])
os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:cores])
import worker.training.preload
import tensorflow as tf
tf.config.threading.set_intra_op_parallelism_threads(1)
tf.config.threading.set_inter_op_parallelism_threads(threads)
import hashlib
from pathlib import Path
from models.bundled import BUNDLED
from tests.worker.training.test_engine import with_engine
from tests.worker.training.trainings import fewer, small_spec
block = {"batch_norm": True, "dropout": 0.2}
spec = small_spec({"filters": 8, **block}, {"filters": 12, "pool": 1, **block})
network, history = with_engine(spec, fewer(BUNDLED["digits"].read(Path()), 200), towers=int(sys.argv[3]))
print(hashlib.sha256(repr([history, [v.numpy().tobytes() for v in network.variables]]).encode()).hexdigest())
"""


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="needs a system that pins processes to cores")
@pytest.mark.parametrize("towers", [4, 8])
def test_bits_depend_on_towers_and_not_on_the_cores_and_threads_that_compute_them(towers):
    """On one core and on two, with fewer threads than towers and with more."""
    runs = [(1, 1), (2, 2), (8, 2)]
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", TRAIN, *map(str, (*run, towers))], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        for run in runs
    ]
    said = [process.communicate(timeout=240)[0] for process in processes]
    assert [process.returncode for process in processes] == [0] * len(runs)
    assert len(set(said)) == 1
