"""The epochs of a job: what is reported and kept, and that an interruption leaves no trace."""

import errno
import os
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from analysis.arrays.dataset import ImageSet
from heldout.spec.job import JobSpec
from tests.worker.training.trainings import Training, example, fewer, small_spec
from worker.messages import CheckpointWritten, EpochDone, FirstStep, Overfits, StepsDone, StopCause, Warned
from worker.training.decisions import Diverged, StopRequested
from worker.training.position import CheckpointDamaged

TIMINGS = {"seconds", "evaluation_seconds", "images_per_second"}


def epochs_told(training: Training) -> list[EpochDone]:
    return [message for message in training.told if isinstance(message, EpochDone)]


def history(*trainings: Training) -> list[dict[str, Any]]:
    """Everything reported about each epoch, except how long it took."""
    return [
        {"epoch": done.epoch} | {name: value for name, value in done.values.items() if name not in TIMINGS}
        for training in trainings
        for done in epochs_told(training)
    ]


def state(training: Training) -> list[np.ndarray]:
    return training.engine.state()


def same(one: list[np.ndarray], two: list[np.ndarray]) -> bool:
    return all(a.tobytes() == b.tobytes() for a, b in zip(one, two, strict=True))


def stop_after(polls: int, why: StopCause = StopCause.PAUSE) -> Any:
    """A supervisor that asks for a stop when it is asked for the `polls`-th time."""
    left = iter(range(polls - 1))
    return lambda: None if next(left, None) is not None else why


def interrupted(spec: JobSpec, images: ImageSet, scratch: Path, polls: int, **options: Any) -> list[Training]:
    """Train until the stop, then continue in new objects from the checkpoint; returns both halves."""
    first = Training(spec, images, scratch, **options)
    first.requested_stop = stop_after(polls)
    with pytest.raises(StopRequested):
        first.trainer.train()
    second = Training(spec, images, scratch, **options)
    second.trainer.resume(first.trainer.write())
    second.trainer.train()
    return [first, second]


# On these images its fifth epoch is a bad one.
NERVOUS = {"name": "sgd", "learning_rate": 0.1}
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
    "regularized": example("regularized", epochs=2),
    "augmented": example("augmented", epochs=2),
    "early stopping": small_spec(
        training={
            "epochs": 8,
            "optimizer": NERVOUS,
            "early_stopping": {"monitor": "validation_loss", "patience": 1, "min_delta": 0.01},
        }
    ),
    "plateau": small_spec(
        training={
            "epochs": 6,
            "optimizer": NERVOUS,
            "schedule": {"name": "reduce_on_plateau", "factor": 0.5, "patience": 1},
        }
    ),
    "cosine, batch normalisation, erased, mixed, averaged": small_spec(
        {"filters": 4, "batch_norm": True},
        network={"dense": [{"units": 9, "dropout": 0.5}]},
        augmentation={"erasing": 0.5},
        training={
            "epochs": 3,
            "schedule": {"name": "cosine", "warmup_epochs": 1},
            "mixup": 0.4,
            "ema_decay": 0.9,
        },
    ),
} | {
    # One of the reference specs augments, by rotation, shifts and one flip with the nearest pixels; all use Adam.
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


# float16 has a state of its own, the scale of the loss; test_starts.py kills processes that train in bfloat16.
OPTIONS: dict[str, dict[str, Any]] = {
    "regularized": {"towers": 2},
    "cosine, batch normalisation, erased, mixed, averaged": {"policy": "mixed_float16"},
}


# The one in `IN_EVERY_RUN` that erases and mixes augments too.
IN_EVERY_RUN = ("regularized", "early stopping", "plateau", "cosine, batch normalisation, erased, mixed, averaged")


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name in IN_EVERY_RUN else [pytest.mark.proof]) for name in SPECS]
)
def test_an_interrupted_training_equals_an_uninterrupted_one_bit_for_bit(name, mnist5k, tmp_path):
    spec, images, options = SPECS[name], fewer(mnist5k, 172), OPTIONS.get(name, {})
    whole = Training(spec, images, tmp_path, **options)
    whole.trainer.train()
    kept = whole.trainer.restore_kept()
    # Within an epoch, in a measurement, in a later epoch.
    stops = (1, 7) if name in IN_EVERY_RUN[:-1] else (1, 4, 7) if name in IN_EVERY_RUN else (1, 2, 4, 6, 7)
    places = set()
    for polls in stops:
        halves = interrupted(spec, images, tmp_path, polls, **options)
        position = halves[0].trainer.position
        places.add((position.epoch, position.step))
        assert history(*halves) == history(whole), polls
        assert halves[1].trainer.restore_kept() == kept
        assert same(state(halves[1]), state(whole)), polls
        assert same([halves[1].trainer.loss_sums.sums], [whole.trainer.loss_sums.sums]), polls
    assert len(places) > min(2, len(stops) - 1)


def test_the_losses_of_training_images_are_summed_over_the_epochs(digits, tmp_path):
    training, each = Training(small_spec(), fewer(digits, 172), tmp_path), []

    def measure(message: Any) -> None:
        if isinstance(message, EpochDone):
            images, labels = training.resident.batch(training.data.rows["train"])
            logits = training.network(images)
            each.append(keras.losses.sparse_categorical_crossentropy(labels, logits, from_logits=True).numpy())

    training.heard = measure
    training.trainer.train()
    found = training.trainer.loss_sums
    assert found.epochs == 3
    np.testing.assert_allclose(found.sums, np.sum(each, axis=0), atol=1e-4)
    means = [epoch["train_loss"] for epoch in history(training)]
    assert found.sums.mean(dtype=np.float64) == pytest.approx(sum(means), rel=1e-6)


@pytest.mark.parametrize("split", ["train", "validation"])
def test_no_epoch_is_summed_twice_when_its_measuring_is_interrupted(split, digits, tmp_path):
    spec, images = small_spec(), fewer(digits, 172)
    whole = Training(spec, images, tmp_path)
    whole.trainer.train()
    first, second = (Training(spec, images, tmp_path) for _ in range(2))
    measure_each, measured = first.evaluator.measure_each, []

    def watched(rows, between_calls):
        measured.append(rows)
        return measure_each(rows, between_calls)

    first.evaluator.measure_each = watched
    is_there = lambda: first.trainer.position.epoch == 2 and measured[-1] is first.data.rows[split]  # noqa: E731
    first.requested_stop = lambda: StopCause.PAUSE if is_there() and len(measured) > 2 else None
    with pytest.raises(StopRequested):
        first.trainer.train()
    second.trainer.resume(first.trainer.write())
    second.trainer.train()
    assert second.trainer.loss_sums.epochs == 3
    assert same([second.trainer.loss_sums.sums], [whole.trainer.loss_sums.sums])


def test_a_checkpoint_of_a_release_that_kept_no_losses_continues_without_them(digits, tmp_path):
    training = Training(small_spec(), fewer(digits, 172), tmp_path)
    training.trainer.loss_sums = None  # as such a release wrote it
    training.requested_stop = stop_after(5)
    with pytest.raises(StopRequested):
        training.trainer.train()
    second = Training(small_spec(), fewer(digits, 172), tmp_path)
    second.trainer.resume(training.trainer.write())
    second.trainer.train()
    assert second.trainer.loss_sums is None  # a part of the epochs would say something else


def test_training_images_that_are_measured_at_the_end_alone_change_nothing_else(digits, tmp_path):
    """The guard then looks at what `fit` reports, and continues from there after an interruption."""
    training = {"epochs": 4, "on_overfit": "warn"}
    images = fewer(digits, 172)
    spec = small_spec(training=training, evaluation={"train": "final"})
    every_epoch = Training(small_spec(training=training), images, tmp_path)
    every_epoch.trainer.train()
    whole = Training(spec, images, tmp_path)
    whole.trainer.train()
    unmeasured = {"train_loss": None, "train_accuracy": None}
    assert history(whole) == [epoch | unmeasured for epoch in history(every_epoch)]
    assert (whole.trainer.loss_sums, every_epoch.trainer.loss_sums.epochs) == (None, 4)
    assert same(state(whole), state(every_epoch))
    halves = interrupted(spec, images, tmp_path, 9)
    assert history(*halves) == history(whole)
    guard = whole.trainer.position.guard
    assert guard.fit_loss == tuple(epoch["fit_loss"] for epoch in history(whole))
    assert (guard.train_loss, halves[1].trainer.position.guard) == ((), guard)


def test_the_guard_compares_no_focal_loss_with_measured_ones(digits, tmp_path):
    training = {"epochs": 3, "on_overfit": "warn", "loss": {"name": "focal"}}
    images = fewer(digits, 172)
    at_end = Training(small_spec(training=training, evaluation={"train": "final"}), images, tmp_path)
    at_end.trainer.train()
    guard = at_end.trainer.position.guard
    assert (guard.fit_loss, len(guard.fit_accuracy), len(guard.validation_loss)) == ((), 3, 3)
    epoch = epochs_told(at_end)[-1].values
    assert epoch["fit_loss"] < epoch["validation_loss"] / 2  # measured losses stay cross-entropies
    every_epoch = Training(small_spec(training=training), images, tmp_path)
    every_epoch.trainer.train()
    assert len(every_epoch.trainer.position.guard.train_loss) == 3


def test_the_guard_stops_at_overfitting_and_restores_the_best_epoch_also_after_an_interruption(mnist5k, tmp_path):
    """A real overfitting: 172 digits, a network of 32 and 64 filters."""
    adam = {"name": "adam", "learning_rate": 0.003}
    training = {"epochs": 60, "optimizer": adam, "on_overfit": "stop_and_restore"}
    spec, images = small_spec({"filters": 32}, {"filters": 64}, training=training), fewer(mnist5k, 172)
    whole = Training(spec, images, tmp_path)
    whole.trainer.train()
    losses = [done.values["validation_loss"] for done in epochs_told(whole)]
    best = losses.index(min(losses)) + 1
    [seen] = [message for message in whole.told if isinstance(message, Overfits)]
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
    assert history(first, second) == history(whole)
    for one in (whole, second):
        assert one.trainer.restore_kept() == best
        measured = one.evaluator.measure(one.data.rows["validation"])
        assert measured.loss == pytest.approx(losses[best - 1], abs=1e-6)


def test_a_guard_that_has_nothing_to_end_keeps_the_best_epoch_too(digits, tmp_path):
    training = {"epochs": 4, "optimizer": {"name": "adam", "learning_rate": 1.0}, "on_overfit": "stop_and_restore"}
    whole = Training(small_spec({"filters": 4}, training=training), fewer(digits, 200), tmp_path)
    whole.trainer.train()
    losses = [done.values["validation_loss"] for done in epochs_told(whole)]
    best = losses.index(min(losses)) + 1
    assert (len(losses), whole.trainer.ended_early) == (4, False)
    assert best < 4  # such a rate jumps about
    assert whole.trainer.restore_kept() == best
    assert whole.evaluator.measure(whole.data.rows["validation"]).loss == pytest.approx(losses[best - 1], abs=1e-6)


def test_a_long_epoch_is_kept_in_its_middle_and_continued_exactly(mnist5k, tmp_path):
    spec, images = example("regularized", epochs=2), fewer(mnist5k, 172)
    whole = Training(spec, images, tmp_path)
    whole.trainer.train()
    first = Training(spec, images, tmp_path, checkpoint_every_s=0.0)
    kept = []

    def keep(message: Any) -> None:
        if isinstance(message, CheckpointWritten):
            kept.append((tmp_path / f"kept-{len(kept)}", message))
            kept[-1][0].write_bytes(Path(message.checkpoint).read_bytes())

    first.heard = keep
    first.trainer.train()
    assert history(first) == history(whole)
    assert kept  # the first calls are short, later ones may take a whole epoch
    for copy, message in kept:
        assert 0 < message.step < first.engine.steps_per_epoch
        resumed = Training(spec, images, tmp_path)
        resumed.trainer.resume(copy)
        resumed.trainer.train()
        assert history(resumed) == history(whole)[message.epoch :]
        assert same(state(resumed), state(whole))


def test_a_resumed_training_says_where_its_bits_may_differ_and_only_then(digits, tmp_path):
    spec, images = small_spec(), fewer(digits, 150)
    first = Training(spec, images, tmp_path, facts={"threads": 1, "tensorflow": "2.0"})
    file = first.trainer.write()
    for facts, warnings in (({"threads": 1, "tensorflow": "2.0"}, 0), ({"threads": 2, "tensorflow": "2.0"}, 1)):
        second = Training(spec, images, tmp_path, facts=facts)
        second.trainer.resume(file)
        assert len(second.told) == warnings
    assert isinstance(second.told[0], Warned)
    assert second.told[0].data == {"threads": {"before": 1, "now": 2}}


def test_a_checkpoint_of_another_network_is_refused(digits, tmp_path):
    images = fewer(digits, 150)
    file = Training(small_spec({"filters": 5}), images, tmp_path).trainer.write()
    for blocks in ([{"filters": 4}], [{"filters": 5}, {"filters": 5, "pool": 1}]):
        other = Training(small_spec(*blocks), images, tmp_path)
        before = state(other)
        with pytest.raises(CheckpointDamaged, match="another network"):
            other.trainer.resume(file)
        assert same(state(other), before)


def test_the_messages_of_a_training_come_in_order(digits, tmp_path):
    training = Training(small_spec(training={"epochs": 2}), fewer(digits, 150), tmp_path)
    training.trainer.train()
    kinds = [type(message) for message in training.told]
    assert kinds[0] is FirstStep
    assert kinds.count(FirstStep) == 1
    assert kinds[-1] is EpochDone
    progress = [message for message in training.told if isinstance(message, StepsDone)]
    assert progress[0] == StepsDone(1, 1, 5)
    assert [(message.epoch, message.step) for message in progress if message.step == 5] == [(1, 5), (2, 5)]
    assert [done.epoch for done in epochs_told(training)] == [1, 2]


@pytest.mark.parametrize("when", ["final", "every_epoch", "never"])
def test_each_epoch_has_the_contracts_figures_and_the_test_split_when_asked_for(when, digits, tmp_path):
    training = Training(small_spec(training={"epochs": 1}, evaluation={"test": when}), fewer(digits, 150), tmp_path)
    training.trainer.train()
    values = epochs_told(training)[0].values
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


def test_a_plateau_lowers_the_rate_of_the_epochs_after_it(mnist5k, tmp_path):
    training = Training(SPECS["plateau"], fewer(mnist5k, 172), tmp_path)
    training.trainer.train()
    assert [epoch["learning_rate"] for epoch in history(training)] == [0.1] * 5 + [0.05]
    assert float(training.engine.optimizer.learning_rate) == pytest.approx(0.05)


def test_seconds_are_those_of_all_training_calls_and_of_no_measurement(digits, tmp_path, monkeypatch):
    ticks = iter(range(1000))
    monkeypatch.setattr("worker.training.trainer.perf_counter", lambda: next(ticks))
    training = Training(small_spec(), fewer(digits, 150), tmp_path)
    training.requested_stop = stop_after(2)
    with pytest.raises(StopRequested):
        training.trainer.train()
    resumed = Training(small_spec(), fewer(digits, 150), tmp_path)
    resumed.trainer.resume(training.trainer.write())
    resumed.trainer.train()
    for done in epochs_told(resumed):
        calls = [
            said for said in training.told + resumed.told if isinstance(said, StepsDone) and said.epoch == done.epoch
        ]
        assert done.values["seconds"] == len(calls)
        assert done.values["evaluation_seconds"] == 1
        assert done.values["images_per_second"] == 150 / len(calls)


def test_early_stopping_keeps_the_weights_of_the_best_epoch(mnist5k, tmp_path):
    training = Training(SPECS["early stopping"], fewer(mnist5k, 172), tmp_path)
    training.trainer.train()
    told = history(training)
    kept = training.trainer.restore_kept()
    assert training.trainer.ended_early
    assert kept == len(told) - 1
    measured = training.evaluator.measure(training.data.rows["validation"])
    assert measured.loss == told[kept - 1]["validation_loss"]
    assert measured.loss != told[-1]["validation_loss"]


def test_a_deadline_throws_the_unfinished_epoch_away(digits, tmp_path):
    spec, images = small_spec(), fewer(digits, 150)
    one = Training(spec.model_copy(update={"training": small_spec(training={"epochs": 1}).training}), images, tmp_path)
    one.trainer.train()
    cut = Training(spec, images, tmp_path)
    cut.requested_stop = lambda: (
        StopCause.DEADLINE if cut.trainer.position.epoch == 2 and cut.trainer.position.step else None
    )
    with pytest.raises(StopRequested) as stop:
        cut.trainer.train()
    assert stop.value.why is StopCause.DEADLINE
    assert not same(cut.network.get_weights(), one.network.get_weights())
    assert cut.trainer.restore_kept() == 1
    assert same(cut.network.get_weights(), one.network.get_weights())


def test_figures_that_are_not_finite_are_reported_as_null_and_end_the_training(digits, tmp_path):
    training = Training(small_spec(), fewer(digits, 150), tmp_path)
    training.network.set_weights([np.full_like(weight, np.nan) for weight in training.network.get_weights()])
    with pytest.raises(Diverged, match=r"Epoch 1: train_loss, validation_loss, fit_loss are not finite"):
        training.trainer.train()
    (done,) = epochs_told(training)
    assert (done.values["train_loss"], done.values["validation_loss"], done.values["fit_loss"]) == (None, None, None)
    assert done.values["train_accuracy"] is not None
    assert done.checkpoint is None


def test_a_full_disk_is_a_warning_and_changes_no_bit(digits, tmp_path, monkeypatch):
    spec, images = small_spec(training={"epochs": 2}), fewer(digits, 150)
    whole = Training(spec, images, tmp_path)
    whole.trainer.train()

    def full_disk(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full_disk)
    unlucky = Training(spec, images, tmp_path)
    unlucky.trainer.train()
    assert [done.checkpoint for done in epochs_told(unlucky)] == [None, None]
    warnings = [message for message in unlucky.told if isinstance(message, Warned)]
    assert [warning.data["epoch"] for warning in warnings] == [1, 2]
    assert "the disk is full" in warnings[0].message
    assert history(unlucky) == history(whole)
    assert same(state(unlucky), state(whole))


def test_the_last_two_checkpoints_remain(digits, tmp_path):
    training = Training(small_spec(training={"epochs": 4}), fewer(digits, 150), tmp_path)
    training.trainer.train()
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        Path(done.checkpoint).name for done in epochs_told(training)[-2:]
    )


def test_writing_the_same_place_again_and_again_keeps_it(digits, tmp_path):
    training = Training(small_spec(), fewer(digits, 150), tmp_path)
    files = [training.trainer.write() for _ in range(4)]
    assert len(set(files)) == 1
    assert files[-1].is_file()
