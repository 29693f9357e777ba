"""Mixed precision trains as well as float32, and what is measured and kept is float32."""

import keras
import numpy as np
import pytest

from tests.worker.training.test_trainer import list_epochs_done, same
from tests.worker.training.trainings import Training, fewer, small_spec
from worker.training.engine.checkpoint import FitSums
from worker.training.networks.network import build_network

SPEC = small_spec(
    {"filters": 8, "l2": 0.001, "dropout": 0.1},
    network={"dense": [{"units": 16, "dropout": 0.1}]},
    augmentation={"width_shift": 0.1},
    training={"epochs": 3, "optimizer": {"name": "adam", "learning_rate": 0.01}, "mixup": 0.2, "ema_decay": 0.8},
)
POLICIES = ["mixed_bfloat16", "mixed_float16"]


@pytest.mark.parametrize("policy", POLICIES)
def test_layers_compute_in_sixteen_bits_and_weights_and_logits_stay_float32(policy):
    spec = small_spec(
        {"filters": 4, "batch_norm": True, "dropout": 0.2},
        network={"head": "global_average", "dense": [{"units": 5, "dropout": 0.2}]},
    )
    network = build_network(spec.network, (8, 8, 1), 10, 7, policy)
    computes = {layer.name: layer.compute_dtype for layer in network.layers}
    assert (computes.pop("images"), computes.pop("output")) == ("float32", "float32")
    assert set(computes.values()) == {policy.removeprefix("mixed_")}
    assert {variable.dtype for variable in network.weights} == {"float32"}
    assert network.output.dtype == "float32"
    assert keras.config.dtype_policy().name == "float32"  # the global policy is unchanged


@pytest.mark.parametrize("policy", POLICIES)
def test_figures_are_those_of_the_averaged_weights_in_float32(policy, digits, tmp_path):
    training = Training(SPEC, digits, tmp_path, policy=policy)
    training.trainer.train()
    plain = Training(small_spec({"filters": 8}, network={"dense": [{"units": 16}]}), digits, tmp_path)
    plain.network.set_weights(training.engine.weights())
    rows = training.data.rows["validation"]
    measured, values = plain.evaluator.measure(rows), list_epochs_done(training)[-1].values
    assert values["validation_accuracy"] == measured.accuracy
    assert values["validation_loss"] == pytest.approx(measured.loss, rel=1e-3)
    assert (values["validation_loss"] == measured.loss) == (policy == "mixed_float16")  # measured in float32
    coarse = keras.ops.convert_to_numpy(training.network(training.resident.batch(rows)[0]))
    fine = keras.ops.convert_to_numpy(plain.network(plain.resident.batch(rows)[0]))
    assert np.abs(coarse - fine).max() > 1e-3  # the trained network computes less precisely


def test_float16_scales_its_loss_and_skips_a_step_that_overflows(digits):
    training = Training(SPEC, fewer(digits, 64), policy="mixed_float16")
    optimizer = training.engine.optimizer
    assert isinstance(optimizer, keras.optimizers.LossScaleOptimizer)
    before = training.network.get_weights()
    optimizer.dynamic_scale.assign(1e30)
    training.engine.begin_epoch(1, np.full(2, 0.01, np.float32))
    sums = training.engine.run(0, 1, FitSums())
    assert np.isfinite(sums.loss)
    assert same(before[:1], training.network.get_weights()[:1])
    assert float(optimizer.dynamic_scale) == pytest.approx(0.5e30)


def test_bfloat16_needs_no_scaled_loss(digits):
    training = Training(SPEC, fewer(digits, 64), policy="mixed_bfloat16")
    assert not isinstance(training.engine.optimizer, keras.optimizers.LossScaleOptimizer)
