"""Learning rates and early stopping agree with Keras' schedules and callbacks."""

from functools import partial
from typing import Any

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from heldout.spec.job import JobSpec
from tests.worker.training.trainings import small_spec
from worker.training.engine.training_policy import (
    PlateauState,
    StoppingState,
    compute_epoch_rates,
    compute_reported_rate,
    get_kept_epoch,
    judge_epoch,
    lower_on_plateau,
)

LOSSES = st.lists(st.sampled_from([0.5, 0.49995, 0.4998, 0.45, 0.4, 0.6, 1.0]), min_size=1, max_size=25)


def schedule_spec(epochs: int = 10, **schedule: Any) -> JobSpec:
    return small_spec(training={"epochs": epochs, "schedule": schedule, "optimizer": {"learning_rate": 0.02}})


@pytest.mark.parametrize("warmup", [0, 1, 4])
def test_cosine_decay_is_that_of_keras(warmup):
    training, steps = schedule_spec(name="cosine", warmup_epochs=warmup).training, 7
    total = 10 * steps - warmup * steps
    reference = (
        keras.optimizers.schedules.CosineDecay(0.0, total, warmup_target=0.02, warmup_steps=warmup * steps)
        if warmup
        else keras.optimizers.schedules.CosineDecay(0.02, total)
    )
    rates = np.concatenate([compute_epoch_rates(training, PlateauState(1.0), epoch, steps) for epoch in range(1, 11)])
    np.testing.assert_allclose(rates, [float(reference(step)) for step in range(70)], rtol=1e-4, atol=1e-8)


def test_cosine_decay_peaks_at_the_end_of_the_warm_up_and_ends_at_zero():
    training = schedule_spec(name="cosine", warmup_epochs=3).training
    rate_at = partial(training.schedule.compute_rate, 0.02, steps=5, epochs=10)
    assert rate_at(10 * 5) == pytest.approx(0, abs=1e-15)
    assert rate_at(3 * 5) == 0.02
    assert compute_reported_rate(training, PlateauState(1.0), 4, 5) == rate_at(19)


def test_one_cycle_rises_and_falls_as_the_published_schedule():
    """The rates are those that PyTorch documents for OneCycleLR: two cosine halves with the default fractions."""
    training, steps = schedule_spec(name="one_cycle").training, 7
    rates = np.concatenate([compute_epoch_rates(training, PlateauState(1.0), epoch, steps) for epoch in range(1, 11)])
    top = 0.3 * 70 - 1  # the last of the 30% of the steps that rise
    up, down = np.arange(21) / top, (np.arange(21, 70) - top) / (69 - top)
    half_cosine = keras.optimizers.schedules.CosineDecay(1.0, 1_000_000)
    share = np.array([float(half_cosine(1_000_000 * part)) for part in (*up, *down)])
    low, lowest = 0.02 / 25, 0.02 / 25 / 1e4
    expected = np.where(np.arange(70) < 21, 0.02 + (low - 0.02) * share, lowest + (0.02 - lowest) * share)
    np.testing.assert_allclose(rates, expected, rtol=1e-4, atol=1e-8)
    assert (rates.argmax(), rates[0], rates[-1]) == (20, np.float32(low), np.float32(lowest))


@pytest.mark.parametrize("epochs", [1, 2, 3])
def test_one_cycle_works_for_the_shortest_trainings(epochs):
    training = schedule_spec(name="one_cycle", epochs=epochs).training
    rates = [compute_epoch_rates(training, PlateauState(1.0), epoch, 1)[0] for epoch in range(1, epochs + 1)]
    assert all(0 < rate <= 0.02 for rate in rates)


@pytest.mark.parametrize(("given", "milestones"), [({"milestones": [2, 3, 9]}, (2, 3, 9)), ({}, (5, 7.5))])
def test_steps_are_those_of_a_piecewise_constant_decay(given, milestones):
    training, steps = schedule_spec(name="step", factor=0.5, **given).training, 4
    boundaries = [int(milestone * steps) - 1 for milestone in milestones]  # the last step at the old rate
    if not given:  # the epoch that contains three quarters keeps its rate
        boundaries[1] = 8 * steps - 1
    values = [0.02 * 0.5**number for number in range(len(milestones) + 1)]
    reference = keras.optimizers.schedules.PiecewiseConstantDecay(boundaries, values)
    rates = np.concatenate([compute_epoch_rates(training, PlateauState(1.0), epoch, steps) for epoch in range(1, 11)])
    np.testing.assert_allclose(rates, [float(reference(step)) for step in range(40)], rtol=1e-6)


def test_a_constant_rate_is_the_optimizers():
    training = small_spec().training
    state = PlateauState(rate=training.optimizer.learning_rate)
    assert set(compute_epoch_rates(training, state, 3, 5)) == {np.float32(0.001)}
    assert compute_reported_rate(training, state, 3, 5) == 0.001
    assert lower_on_plateau(training, state, 0.1) == state


class _Watched(keras.Model):
    """A model for callbacks to watch; it is never trained."""


def watch(callback: keras.callbacks.Callback, losses: list[float], monitor: str) -> keras.Model:
    """Run a Keras callback for one epoch per loss, until it stops the training."""
    model = _Watched()
    model.compile(keras.optimizers.SGD(0.02))
    model.stop_training = False
    model.rates, model.epochs_seen = [], 0
    callback.set_model(model)
    callback.on_train_begin()
    for epoch, loss in enumerate(losses):
        model.rates.append(float(model.optimizer.learning_rate))
        callback.on_epoch_end(epoch, {monitor: loss})
        model.epochs_seen += 1
        if model.stop_training:
            break
    return model


@given(LOSSES, st.integers(1, 4))
def test_a_plateau_lowers_the_rate_when_keras_does(losses, patience):
    training = schedule_spec(name="reduce_on_plateau", factor=0.5, patience=patience).training
    state, rates = PlateauState(rate=0.02), []
    for loss in losses:
        rates.append(state.rate)
        state = lower_on_plateau(training, state, loss)
    callback = keras.callbacks.ReduceLROnPlateau("val_loss", factor=0.5, patience=patience, mode="min")
    np.testing.assert_allclose(rates, watch(callback, losses, "val_loss").rates, rtol=1e-6)


@given(LOSSES, st.integers(1, 4), st.sampled_from([0.0, 0.0003, 0.08]), st.sampled_from(["loss", "accuracy"]))
def test_early_stopping_stops_and_keeps_where_keras_does(figures, patience, min_delta, figure):
    spec = small_spec(
        training={"early_stopping": {"monitor": f"validation_{figure}", "patience": patience, "min_delta": min_delta}}
    ).training.early_stopping
    state, epoch = StoppingState(), 0
    while epoch < len(figures) and not state.stopped:
        epoch += 1
        state = judge_epoch(spec, state, epoch, figures[epoch - 1], 1 if figure == "loss" else -1)
    callback = keras.callbacks.EarlyStopping(
        f"val_{figure}",
        min_delta=min_delta,
        patience=patience,
        mode="min" if figure == "loss" else "max",
        restore_best_weights=True,
    )
    model = watch(callback, figures, f"val_{figure}")
    assert (state.stopped, epoch) == (model.stop_training, model.epochs_seen)
    assert get_kept_epoch(spec, state, epoch) == callback.best_epoch + 1


def test_without_restoring_the_last_epoch_is_kept():
    spec = small_spec(training={"early_stopping": {"restore_best": False}}).training.early_stopping
    state = judge_epoch(spec, judge_epoch(spec, StoppingState(), 1, 0.1, 1), 2, 0.2, 1)
    assert (state.best_epoch, get_kept_epoch(spec, state, 2)) == (1, 2)
    assert get_kept_epoch(None, StoppingState(), 5) == 5
    assert judge_epoch(None, StoppingState(), 1, 0.1, 1) == StoppingState()
