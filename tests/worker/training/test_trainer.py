"""The epochs of a job: what is reported and kept, and that an interruption changes nothing."""

import errno
import os
from collections import Counter
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from analysis.answers.answers import Answers, Predictions
from analysis.answers.metrics import contribute
from analysis.arrays.dataset import ImageSet
from heldout.spec.job import JobSpec
from tests.worker.training.processes import TIMINGS
from tests.worker.training.trainings import Training, fewer, load_example, scale_to_unit, small_spec
from worker.messages import CheckpointWritten, EpochDone, Overfits, StopCause, Warned
from worker.training.engine.checkpoint import CheckpointDamaged
from worker.training.engine.training_policy import Diverged, StopRequested


def list_epochs_done(training: Training) -> list[EpochDone]:
    return [message for message in training.messages if isinstance(message, EpochDone)]


def get_history(*trainings: Training) -> list[dict[str, Any]]:
    """Return everything reported about each epoch except durations."""
    return [
        {"epoch": done.epoch} | {name: value for name, value in done.values.items() if name not in TIMINGS}
        for training in trainings
        for done in list_epochs_done(training)
    ]


def get_state(training: Training) -> list[np.ndarray]:
    return training.engine.state()


def same(first: list[np.ndarray], second: list[np.ndarray]) -> bool:
    return all(a.tobytes() == b.tobytes() for a, b in zip(first, second, strict=True))


def stop_after(polls: int, why: StopCause = StopCause.PAUSE) -> Any:
    """Make a function that requests a stop when it is polled for the `polls`-th time."""
    left = iter(range(polls - 1))
    return lambda: None if next(left, None) is not None else why


def interrupt(spec: JobSpec, images: ImageSet, scratch: Path, polls: int, **options: Any) -> list[Training]:
    """Train until the stop, then continue from the checkpoint in new objects; return both halves."""
    first = Training(spec, images, scratch, **options)
    first.requested_stop = stop_after(polls)
    with pytest.raises(StopRequested):
        first.trainer.train()
    second = Training(spec, images, scratch, **options)
    second.trainer.resume(first.trainer.write())
    second.trainer.train()
    return [first, second]


# On these images, its fifth epoch is worse than the fourth.
UNSTEADY = {"name": "sgd", "learning_rate": 0.1}
EVERY_CHANGE = {
    "rotation_degrees": 15.0,
    "width_shift": 0.1,
    "height_shift": 0.1,
    "zoom": 0.2,
    "horizontal_flip": True,
    "vertical_flip": True,
    "brightness": 0.2,
    "contrast": 0.3,
}
SPECS = {
    "regularized": load_example("regularized", epochs=2),
    "augmented": load_example("augmented", epochs=2),
    "early stopping": small_spec(
        training={
            "epochs": 8,
            "optimizer": UNSTEADY,
            "early_stopping": {"monitor": "validation_loss", "patience": 1, "min_delta": 0.01},
        }
    ),
    "plateau": small_spec(
        training={
            "epochs": 6,
            "optimizer": UNSTEADY,
            "schedule": {"name": "reduce_on_plateau", "factor": 0.5, "patience": 1},
        }
    ),
    "cosine, batch normalization, rotated, erased, mixed, averaged": small_spec(
        {"filters": 4, "batch_norm": True},
        network={"dense": [{"units": 9, "dropout": 0.5}]},
        augmentation={"rotation_degrees": 20.0, "erasing": 0.5},
        training={"epochs": 3, "schedule": {"name": "cosine", "warmup_epochs": 1}, "mixup": 0.4, "ema_decay": 0.9},
    ),
} | {
    # The reference specs use Adam, and one augments by rotation, shifts and a flip with the nearest pixels.
    f"every augmentation, {fill_mode}, {optimizer['name']}": small_spec(
        augmentation=EVERY_CHANGE | {"fill_mode": fill_mode},
        training={"epochs": 2, "optimizer": optimizer, "schedule": schedule},
    )
    for fill_mode, optimizer, schedule in (
        ("constant", {"name": "sgd", "learning_rate": 0.01, "momentum": 0.9}, {"name": "constant"}),
        ("reflect", {"name": "adamw", "learning_rate": 0.001}, {"name": "cosine"}),
        ("wrap", {"name": "rmsprop", "learning_rate": 0.001}, {"name": "reduce_on_plateau", "patience": 1}),
    )
}


# float16 has its own state, the scale of the loss. test_starts.py kills processes that train in bfloat16.
OPTIONS: dict[str, dict[str, Any]] = {
    "regularized": {"towers": 2},
    "cosine, batch normalization, rotated, erased, mixed, averaged": {"policy": "mixed_float16"},
}


# Polls that request a stop: within an epoch, and in a later epoch. A process in test_starts.py is
# killed with a falling rate and early stopping.
STOPS = {
    "regularized": (7,),
    "cosine, batch normalization, rotated, erased, mixed, averaged": (1, 7),
}


@pytest.mark.parametrize(
    ("name", "stops"),
    [
        *STOPS.items(),
        *(pytest.param(name, (1, 2, 4, 6, 7), marks=pytest.mark.proof, id=f"{name}, many stops") for name in SPECS),
    ],
)
def test_an_interrupted_training_equals_an_uninterrupted_one_bit_for_bit(name, stops, mnist5k, tmp_path):
    spec, images, options = SPECS[name], fewer(mnist5k, 172), OPTIONS.get(name, {})
    whole = Training(spec, images, tmp_path, **options)
    whole.trainer.train()
    kept = whole.restore_kept()
    places = set()
    for polls in stops:
        halves = interrupt(spec, images, tmp_path, polls, **options)
        position = halves[0].trainer.position
        places.add((position.epoch, position.step))
        assert get_history(*halves) == get_history(whole), polls
        assert halves[1].restore_kept() == kept
        assert same(get_state(halves[1]), get_state(whole)), polls
        assert same([halves[1].trainer.loss_sums.sums], [whole.trainer.loss_sums.sums]), polls
    assert len(places) >= min(2, len(stops))


@pytest.fixture(scope="module")
def summed(digits, tmp_path_factory):
    """A training that has ended, with the losses of its images after each epoch as Keras computes them."""
    training, each = Training(small_spec(), fewer(digits, 172), tmp_path_factory.mktemp("summed")), []

    def measure(message: Any) -> None:
        if isinstance(message, EpochDone):
            images, labels = training.resident.batch(training.data.rows["train"])
            logits = training.network(images)
            each.append(keras.losses.sparse_categorical_crossentropy(labels, logits, from_logits=True).numpy())

    training.on_message = measure
    training.trainer.train()
    return training, each


def test_losses_of_training_images_are_summed_over_the_epochs(summed):
    training, each = summed
    found = training.trainer.loss_sums
    assert found.epochs == 3
    np.testing.assert_allclose(found.sums, np.sum(each, axis=0), atol=1e-4)
    means = [epoch["train_loss"] for epoch in get_history(training)]
    assert found.sums.mean(dtype=np.float64) == pytest.approx(sum(means), rel=1e-6)


@pytest.mark.parametrize("split", ["validation", pytest.param("train", marks=pytest.mark.proof)])
def test_no_epoch_is_summed_twice_if_its_measurement_is_interrupted(split, summed, digits, tmp_path):
    spec, images, whole = small_spec(), fewer(digits, 172), summed[0]
    first, second = (Training(spec, images, tmp_path) for _ in range(2))
    measure_each, measured = first.evaluator.measure_each, []

    def watch(rows, between_calls):
        measured.append(rows)
        return measure_each(rows, between_calls)

    first.evaluator.measure_each = watch
    is_there = lambda: first.trainer.position.epoch == 2 and measured[-1] is first.data.rows[split]  # noqa: E731
    first.requested_stop = lambda: StopCause.PAUSE if is_there() and len(measured) > 2 else None
    with pytest.raises(StopRequested):
        first.trainer.train()
    second.trainer.resume(first.trainer.write())
    second.trainer.train()
    assert second.trainer.loss_sums.epochs == 3
    assert same([second.trainer.loss_sums.sums], [whole.trainer.loss_sums.sums])


def test_a_checkpoint_without_summed_losses_continues_without_them(digits, tmp_path):
    training = Training(small_spec(), fewer(digits, 172), tmp_path)
    training.trainer.loss_sums = None  # as earlier releases wrote it
    training.requested_stop = stop_after(5)
    with pytest.raises(StopRequested):
        training.trainer.train()
    second = Training(small_spec(), fewer(digits, 172), tmp_path)
    second.trainer.resume(training.trainer.write())
    second.trainer.train()
    assert second.trainer.loss_sums is None  # sums of only some epochs would mislead


def test_measuring_training_images_only_at_the_end_changes_nothing_else(digits, tmp_path):
    """The guard then uses the figures of `fit`, also after an interruption."""
    training = {"epochs": 4, "on_overfit": "warn"}
    images = fewer(digits, 172)
    spec = small_spec(training=training, evaluation={"train": "final"})
    every_epoch = Training(small_spec(training=training), images, tmp_path)
    every_epoch.trainer.train()
    whole = Training(spec, images, tmp_path)
    whole.trainer.train()
    unmeasured = {"train_loss": None, "train_accuracy": None}
    assert get_history(whole) == [epoch | unmeasured for epoch in get_history(every_epoch)]
    assert (whole.trainer.loss_sums, every_epoch.trainer.loss_sums.epochs) == (None, 4)
    assert same(get_state(whole), get_state(every_epoch))
    halves = interrupt(spec, images, tmp_path, 9)
    assert get_history(*halves) == get_history(whole)
    guard = whole.trainer.position.guard
    assert guard.fit_loss == tuple(epoch["fit_loss"] for epoch in get_history(whole))
    assert (guard.train_loss, halves[1].trainer.position.guard) == ((), guard)


def test_the_guard_does_not_compare_focal_losses_with_measured_ones(digits, tmp_path):
    training = {"epochs": 3, "on_overfit": "warn", "loss": {"name": "focal"}}
    images = fewer(digits, 172)
    at_end = Training(small_spec(training=training, evaluation={"train": "final"}), images, tmp_path)
    at_end.trainer.train()
    guard = at_end.trainer.position.guard
    assert (guard.fit_loss, len(guard.fit_accuracy), len(guard.validation_loss)) == ((), 3, 3)
    epoch = list_epochs_done(at_end)[-1].values
    assert epoch["fit_loss"] < epoch["validation_loss"] / 2  # measured losses stay cross-entropies


def test_the_guard_stops_at_overfitting_and_restores_the_best_epoch_even_after_an_interruption(mnist5k, tmp_path):
    """The overfitting is real: 172 digits, and a network of 32 and 64 filters."""
    adam = {"name": "adam", "learning_rate": 0.003}
    training = {"epochs": 60, "optimizer": adam, "on_overfit": "stop_and_restore"}
    spec, images = small_spec({"filters": 32}, {"filters": 64}, training=training), fewer(mnist5k, 172)
    whole = Training(spec, images, tmp_path)
    whole.trainer.train()
    losses = [done.values["validation_loss"] for done in list_epochs_done(whole)]
    best = losses.index(min(losses)) + 1
    [seen] = [message for message in whole.messages if isinstance(message, Overfits)]
    assert (seen.epoch, seen.best_epoch) == (len(losses), best)
    assert best < len(losses) < 60
    assert f"epoch {best}" in seen.explanation
    assert whole.trainer.ended_early
    first, second = (Training(spec, images, tmp_path) for _ in range(2))
    first.requested_stop = lambda: StopCause.PAUSE if first.trainer.position.epoch > best + 2 else None
    with pytest.raises(StopRequested):
        first.trainer.train()
    second.trainer.resume(first.trainer.write())
    second.trainer.train()
    assert get_history(first, second) == get_history(whole)
    for training in (whole, second):
        assert training.restore_kept() == best
        measured = training.evaluator.measure(training.data.rows["validation"])
        assert measured.loss == pytest.approx(losses[best - 1], abs=1e-6)


def test_a_guard_that_stops_nothing_keeps_the_best_epoch_too(digits, tmp_path):
    training = {"epochs": 4, "optimizer": {"name": "adam", "learning_rate": 1.0}, "on_overfit": "stop_and_restore"}
    whole = Training(small_spec({"filters": 4}, training=training), fewer(digits, 200), tmp_path)
    whole.trainer.train()
    losses = [done.values["validation_loss"] for done in list_epochs_done(whole)]
    best = losses.index(min(losses)) + 1
    assert (len(losses), whole.trainer.ended_early) == (4, False)
    assert best < 4  # losses fluctuate at such a rate
    assert whole.restore_kept() == best
    assert whole.evaluator.measure(whole.data.rows["validation"]).loss == pytest.approx(losses[best - 1], abs=1e-6)


def test_checkpoints_within_a_long_epoch_resume_exactly(digits, tmp_path):
    spec, images = small_spec({"filters": 4, "dropout": 0.2}, training={"epochs": 2}), fewer(digits, 172)
    whole = Training(spec, images, tmp_path)
    whole.trainer.train()
    first = Training(spec, images, tmp_path, checkpoint_every_s=0.0)
    kept = []

    def keep(message: Any) -> None:
        if isinstance(message, CheckpointWritten):
            kept.append((tmp_path / f"kept-{len(kept)}", message))
            kept[-1][0].write_bytes(message.checkpoint.read_bytes())

    first.on_message = keep
    first.trainer.train()
    assert get_history(first) == get_history(whole)
    # The first calls are short. Later calls may take a whole epoch.
    for copy, message in (kept[0], kept[-1]):
        assert 0 < message.step < first.engine.steps_per_epoch
        resumed = Training(spec, images, tmp_path)
        resumed.trainer.resume(copy)
        resumed.trainer.train()
        assert get_history(resumed) == get_history(whole)[message.epoch :]
        assert same(get_state(resumed), get_state(whole))


def test_a_resumed_training_warns_only_if_its_bits_may_differ(digits, tmp_path):
    spec, images = small_spec(), fewer(digits, 150)
    first = Training(spec, images, tmp_path, facts={"threads": 1, "tensorflow": "2.0"})
    file = first.trainer.write()
    for facts, warnings in (({"threads": 1, "tensorflow": "2.0"}, 0), ({"threads": 2, "tensorflow": "2.0"}, 1)):
        second = Training(spec, images, tmp_path, facts=facts)
        second.trainer.resume(file)
        assert len(second.messages) == warnings
    assert isinstance(second.messages[0], Warned)
    assert second.messages[0].data == {"threads": {"before": 1, "now": 2}}


def test_a_checkpoint_of_another_network_is_refused(digits, tmp_path):
    images = fewer(digits, 150)
    file = Training(small_spec({"filters": 5}), images, tmp_path).trainer.write()
    for blocks in ([{"filters": 4}], [{"filters": 5}, {"filters": 5, "pool": 1}]):
        other = Training(small_spec(*blocks), images, tmp_path)
        before = get_state(other)
        with pytest.raises(CheckpointDamaged, match="another network"):
            other.trainer.resume(file)
        assert same(get_state(other), before)


@pytest.mark.parametrize("when", ["every_epoch", "never"])
def test_each_epoch_reports_all_figures_and_those_of_test_when_requested(when, digits, tmp_path):
    training = Training(small_spec(training={"epochs": 1}, evaluation={"test": when}), fewer(digits, 150), tmp_path)
    training.trainer.train()
    values = list_epochs_done(training)[0].values
    expected = {f"{who}_{what}" for who in ("train", "validation", "fit") for what in ("loss", "accuracy")}
    expected |= {"learning_rate"} | TIMINGS
    if when == "every_epoch":
        expected |= {"test_loss", "test_accuracy"}
        measured = training.evaluator.measure(training.data.rows["test"])
        assert (values["test_loss"], values["test_accuracy"]) == (measured.loss, measured.accuracy)
    assert set(values) == expected
    assert values["learning_rate"] == 0.001
    assert values["images_per_second"] == pytest.approx(150 / values["seconds"])
    measured = training.evaluator.measure(training.data.rows["train"])
    assert (values["train_loss"], values["train_accuracy"]) == (measured.loss, measured.accuracy)


def test_seconds_count_all_training_calls_and_no_measurement(digits, tmp_path, monkeypatch):
    ticks = iter(range(1000))
    monkeypatch.setattr("worker.training.trainer.perf_counter", lambda: next(ticks))
    calls = Counter()

    def count_calls(counted: Training) -> None:
        run, trainer = counted.engine.run, counted.trainer
        monkeypatch.setattr(counted.engine, "run", lambda *a: calls.update([trainer.position.epoch]) or run(*a))

    training = Training(small_spec(), fewer(digits, 150), tmp_path)
    count_calls(training)
    training.requested_stop = stop_after(2)
    with pytest.raises(StopRequested):
        training.trainer.train()
    resumed = Training(small_spec(), fewer(digits, 150), tmp_path)
    count_calls(resumed)
    resumed.trainer.resume(training.trainer.write())
    resumed.trainer.train()
    for done in list_epochs_done(resumed):
        assert done.values["seconds"] == calls[done.epoch]
        assert done.values["evaluation_seconds"] == 1
        assert done.values["images_per_second"] == 150 / calls[done.epoch]


def test_a_deadline_discards_the_unfinished_epoch(digits, tmp_path):
    spec, images = small_spec(), fewer(digits, 150)
    shorter = Training(small_spec(training={"epochs": 1}), images, tmp_path)
    shorter.trainer.train()
    cut = Training(spec, images, tmp_path)
    cut.requested_stop = lambda: (
        StopCause.DEADLINE if cut.trainer.position.epoch == 2 and cut.trainer.position.step else None
    )
    with pytest.raises(StopRequested) as stop:
        cut.trainer.train()
    assert stop.value.why is StopCause.DEADLINE
    assert not same(cut.network.get_weights(), shorter.network.get_weights())
    assert cut.restore_kept() == 1
    assert same(cut.network.get_weights(), shorter.network.get_weights())


def test_infinite_or_undefined_figures_are_reported_as_null_and_end_the_training(digits, tmp_path):
    training = Training(small_spec(), fewer(digits, 150), tmp_path)
    training.network.set_weights([np.full_like(weight, np.nan) for weight in training.network.get_weights()])
    with pytest.raises(Diverged, match=r"Epoch 1: train_loss, validation_loss, fit_loss are not finite"):
        training.trainer.train()
    (done,) = list_epochs_done(training)
    assert (done.values["train_loss"], done.values["validation_loss"], done.values["fit_loss"]) == (None, None, None)
    assert done.values["train_accuracy"] is not None
    assert done.checkpoint is None


def test_a_full_disk_is_a_warning_and_changes_no_bit(digits, tmp_path, monkeypatch):
    spec, images = small_spec(training={"epochs": 2}), fewer(digits, 150)
    whole = Training(spec, images, tmp_path)
    whole.trainer.train()

    def full_disk(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "replace", full_disk)
    unlucky = Training(spec, images, tmp_path)
    unlucky.trainer.train()
    assert [done.checkpoint for done in list_epochs_done(unlucky)] == [None, None]
    warnings = [message for message in unlucky.messages if isinstance(message, Warned)]
    assert [warning.data["epoch"] for warning in warnings] == [1, 2]
    assert "the disk is full" in warnings[0].message
    assert get_history(unlucky) == get_history(whole)
    assert same(get_state(unlucky), get_state(whole))


def test_the_last_two_checkpoints_are_kept(digits, tmp_path):
    training = Training(small_spec(training={"epochs": 4}), fewer(digits, 150), tmp_path)
    training.trainer.train()
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        done.checkpoint.name for done in list_epochs_done(training)[-2:]
    )


def test_writing_the_same_checkpoint_repeatedly_keeps_it(digits, tmp_path):
    training = Training(small_spec(), fewer(digits, 150), tmp_path)
    files = [training.trainer.write() for _ in range(4)]
    assert len(set(files)) == 1
    assert files[-1].is_file()


@pytest.mark.parametrize(
    ("objective", "best"), [("worst_class", max), ("worst_group", max), ("cost", min), ("loss", min), ("accuracy", max)]
)
def test_the_kept_epoch_and_the_plateau_follow_the_objective(objective, best, digits, tmp_path):
    """Each epoch's figure is that of the answers of plain Keras with the weights of the epoch."""
    costs = [[1.0 * (answer != label) for answer in range(10)] for label in range(10)]
    training = {"epochs": 6, "optimizer": UNSTEADY, "early_stopping": {"patience": 6}}
    training |= {"schedule": {"name": "reduce_on_plateau", "patience": 1, "factor": 0.5}}
    spec = small_spec(training=training, objective=objective, costs=costs, group_column="camera")
    groups = np.random.default_rng(0).integers(-1, 3, len(digits.labels))
    trained = Training(spec, fewer(digits, 195, validation=120), tmp_path, groups=groups)
    told, rows = [], trained.data.rows["validation"]
    of_rows = groups[trained.data.source["validation"]]

    def answer(message):
        if isinstance(message, EpochDone):
            model = keras.Sequential([trained.network, keras.layers.Softmax()])
            pixels = scale_to_unit(trained.data.images[rows], trained.data.value_range)
            shares, labels = model.predict(pixels, verbose=0), trained.data.labels[rows]
            losses = -np.log(shares[np.arange(len(labels)), labels])
            told.append(contribute(objective, Answers.to(labels, Predictions(shares, losses), of_rows), costs).value)

    trained.on_message = answer
    trained.trainer.train()
    name = {"loss": "validation_loss", "accuracy": "validation_accuracy"}.get(objective, "validation_objective")
    epochs = list_epochs_done(trained)
    values = [done.values[name] for done in epochs]
    assert values == pytest.approx(told, abs=1e-5)
    assert trained.trainer.position.kept == 1 + values.index(best(values))
    # Keras' rule, with more as better where it is.
    rate, lowest, sign = 0.1, None, 1 if best is min else -1
    for done, value in zip(epochs, values, strict=True):
        assert done.values["learning_rate"] == pytest.approx(rate)
        if lowest is None or sign * value + 1e-4 < lowest:
            lowest = sign * value
        else:
            rate *= 0.5
