"""Weights of the best epochs: they are the right ones, survive checkpoints, and are stored once."""

from math import inf
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.arrays.dataset import ImageSet
from tests.worker.training.trainings import Training, fewer, small_spec
from worker.messages import EpochDone
from worker.training.engine.checkpoint import CheckpointDamaged, read_checkpoint, write_checkpoint
from worker.training.engine.training_policy import BestEpochs, StopRequested

JUMPING = {"optimizer": {"name": "adam", "learning_rate": 0.02}, "epochs": 7}


def list_figures(training: Training, metric: str) -> list[float]:
    return [done.values[f"validation_{metric}"] for done in training.messages if isinstance(done, EpochDone)]


def train(images: ImageSet, scratch: Path, **options: Any) -> Training:
    scratch.mkdir(exist_ok=True)
    training = Training(small_spec({"filters": 8}, training=JUMPING | options), images, scratch)
    training.trainer.train()
    return training


def interrupt(images: ImageSet, scratch: Path, epoch: int, **options: Any) -> Training:
    """Stop a training in the middle of `epoch`."""
    scratch.mkdir(exist_ok=True)
    training = Training(small_spec({"filters": 8}, training=JUMPING | options), images, scratch)
    training.requested_stop = lambda: (
        "pause" if training.trainer.position.epoch == epoch and training.trainer.position.step else None
    )
    with pytest.raises(StopRequested):
        training.trainer.train()
    return training


@pytest.fixture(scope="module")
def images(mnist5k: ImageSet) -> ImageSet:
    return fewer(mnist5k, 372)


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1))
def test_the_best_epochs_are_the_first_with_the_lowest_loss_and_the_highest_accuracy(epochs):
    best = BestEpochs()
    for epoch, (loss, accuracy) in enumerate(epochs, 1):
        best = best.after(epoch, float(loss), float(accuracy))
    losses, accuracies = zip(*epochs, strict=True)
    assert (best.by_loss, best.by_accuracy) == (int(np.argmin(losses)) + 1, int(np.argmax(accuracies)) + 1)
    assert (best.loss, best.accuracy) == (min(losses), max(accuracies))
    assert BestEpochs().after(1, inf, -inf).by_loss == 1


def test_each_of_the_best_weights_gives_the_figures_of_its_epoch(images, tmp_path):
    training = train(images, tmp_path)
    losses, accuracies = list_figures(training, "loss"), list_figures(training, "accuracy")
    weights = training.trainer.get_trained_weights()
    assert len({weights.best_by_loss, weights.best_by_accuracy, weights.kept}) == 3
    assert losses[weights.best_by_loss - 1] == min(losses)
    assert accuracies[weights.best_by_accuracy - 1] == max(accuracies)
    for epoch, of_epoch in weights.of_epoch.items():
        training.network.set_weights(of_epoch)
        assert training.evaluator.measure(training.data.rows["validation"]).loss == losses[epoch - 1]
    assert len(weights.of_epoch) == 3


def test_a_checkpoint_holds_no_weights_twice(images, tmp_path):
    """It has the current weights, and the weights of each other epoch that may be needed."""
    whole = train(images, tmp_path)
    arrays, about = read_checkpoint(whole.trainer.write())
    best = about["position"]["best"]
    others = {best["by_loss"], best["by_accuracy"]} - {7}
    stored = {int(name.split("_")[1]) for name in arrays if name.startswith("epoch_")}
    assert stored == others
    sizes = sum(weight.nbytes for weight in whole.network.get_weights())
    variables = sum(value.nbytes for value in whole.engine.state())
    weights = {name: array for name, array in arrays.items() if name != "loss_sums"}
    assert sum(array.nbytes for array in weights.values()) == variables + len(others) * sizes


def test_a_checkpoint_without_the_weights_of_its_best_epoch_is_damaged(images, tmp_path):
    first = interrupt(images, tmp_path, 6)
    path = first.trainer.write()
    arrays, about = read_checkpoint(path)
    write_checkpoint(path, {name: array for name, array in arrays.items() if not name.startswith("epoch_")}, about)
    second = Training(small_spec({"filters": 8}, training=JUMPING), images, tmp_path)
    with pytest.raises(CheckpointDamaged, match="lacks the weights of an epoch"):
        second.trainer.resume(path)
