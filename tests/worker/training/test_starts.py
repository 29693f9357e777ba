"""Trainings with another start or end: more epochs, given weights, folds, all images, and cancellation."""

from collections.abc import Iterator
from dataclasses import replace

import keras
import numpy as np
import pytest

from analysis.arrays.dataset import compute_digest, load
from analysis.arrays.folds import compute_job_splits
from analysis.arrays.relations import Relations
from heldout.spec.layers import plan_network
from heldout.stored.artifacts import ArtifactName
from heldout.stored.gap import StoredGap
from tests.worker.training.processes import Process, folder_of, get_path
from tests.worker.training.trainings import small_spec
from worker.messages import EpochDone, Finished, Started, StopCause, Stopped
from worker.training.networks.network import build_network, freeze_blocks

pytestmark = pytest.mark.usefixtures("forking")

BLOCKS = ({"filters": 4, "batch_norm": True, "dropout": 0.1}, {"filters": 6})
# Everything that a checkpoint must have: a falling rate, weights of the best epoch, and the state of the guard.
STATEFUL = {
    "early_stopping": {"patience": 9},
    "schedule": {"name": "reduce_on_plateau", "patience": 1},
    "on_overfit": "warn",
}
SHIFT = {"width_shift": 0.1}


def test_a_training_continued_for_more_epochs_equals_one_with_these_epochs_from_the_start(start) -> None:
    def spec(epochs: int):
        return small_spec(*BLOCKS, training={"epochs": epochs, **STATEFUL}, augmentation=SHIFT)

    whole = start(spec(5), precision="mixed")
    short = start(spec(2), precision="mixed")
    assert isinstance(short.end(), Finished)
    expected = whole.end()
    last = next(message.checkpoint for message in reversed(short.messages) if isinstance(message, EpochDone))
    lost = start(spec(5), checkpoint=last, precision="mixed")
    done = lost.until(lambda message: isinstance(message, EpochDone) and message.epoch == 3)
    lost.process.kill()
    second = start(spec(5), checkpoint=done.checkpoint, precision="mixed")
    assert second.end().final == expected.final
    assert short.history + lost.history[:1] + second.history == whole.history
    with (
        np.load(get_path(expected, ArtifactName.PREDICTIONS)) as wanted,
        np.load(get_path(second.messages[-1], ArtifactName.PREDICTIONS)) as found,
    ):
        for entry in wanted:
            np.testing.assert_array_equal(found[entry], wanted[entry])


@pytest.mark.parametrize("why", [StopCause.CANCEL, pytest.param(StopCause.PAUSE, marks=pytest.mark.proof)])
def test_a_stopped_training_leaves_its_kept_weights_as_a_model_and_a_checkpoint(start, dataset, why) -> None:
    process = start(small_spec(training={"epochs": 1000}))
    process.until(lambda message: isinstance(message, EpochDone) and message.epoch == 2)
    process.pipe.send(why)
    stopped = process.end()
    assert isinstance(stopped, Stopped)
    assert stopped.checkpoint.is_file()
    assert stopped.model.name is ArtifactName.MODEL
    model, images = keras.saving.load_model(stopped.model.path, safe_mode=True), load(dataset)
    rows = images.splits["validation"]
    _, accuracy = model.evaluate(np.asarray(images.images[rows]), images.labels[rows], verbose=0)
    assert process.history[-1]["validation_accuracy"] == pytest.approx(accuracy, abs=1e-6)


TAKEN = ("block1_conv1", "block1_norm1", "block2_conv1")


@pytest.fixture(scope="module")
def source(forking: None, dataset) -> Iterator[Process]:
    """A training that has ended, from whose model others start."""
    process = Process(small_spec(*BLOCKS, training={"epochs": 1}), dataset)
    process.end()
    yield process
    process.process.kill()
    process.process.join()


def test_frozen_blocks_keep_their_given_weights_and_the_rest_is_trained(start, source) -> None:
    first = get_path(source.messages[-1], ArtifactName.MODEL)
    spec = small_spec(*BLOCKS, training={"epochs": 1, "seed": 8}, initial={"job": "job_1", "freeze_blocks": 1})
    found = get_path(start(spec, initial=first, initial_layers=TAKEN).end(), ArtifactName.MODEL)
    before, after = keras.saving.load_model(first), keras.saving.load_model(found)

    def same(layer: str) -> bool:
        pairs = zip(before.get_layer(layer).get_weights(), after.get_layer(layer).get_weights(), strict=True)
        return all(np.array_equal(first, second) for first, second in pairs)

    assert [layer for layer in (*TAKEN, "output") if same(layer)] == ["block1_conv1", "block1_norm1"]


def test_a_training_starts_from_the_given_weights(start, source) -> None:
    """With a negligible learning rate and frozen statistics, the figures are those of the source."""
    first = get_path(source.messages[-1], ArtifactName.MODEL)
    slow = {"epochs": 1, "seed": 8, "optimizer": {"name": "sgd", "learning_rate": 1e-9}}
    spec = small_spec(*BLOCKS, training=slow, initial={"job": "job_1", "freeze_blocks": 1})
    again = start(spec, initial=first, initial_layers=(*TAKEN, "output"))
    again.end()
    for name in ("train_loss", "validation_loss"):
        assert again.history[0][name] == pytest.approx(source.history[-1][name], abs=1e-5)


@pytest.mark.parametrize("frozen", [0, 1, 2])
def test_trainable_parameters_are_counted_as_keras_counts_them(frozen: int) -> None:
    residual = {"filters": 4, "norm": "batch", "residual": True, "repeat": 2, "strides": 2, "pool": 1}
    spec = small_spec(BLOCKS[0], residual, network={"dense": [{"units": 5}]})
    network = build_network(spec.network, (28, 28, 1), 10, 1)
    freeze_blocks(network, frozen)
    plan = plan_network(spec.network, (28, 28, 1), 10)
    assert plan.trainable_parameters(frozen) == sum(weight.value.numpy().size for weight in network.trainable_weights)
    shapes = [tuple(tuple(weight.shape) for weight in layer.weights) for layer in network.layers]
    assert [layer.weights for layer in plan.layers if layer.weights] == [shape for shape in shapes if shape]


def test_a_fold_is_trained_measured_and_predicted_on_its_own_images(start, dataset) -> None:
    images = load(dataset)
    copy_of = np.arange(len(images.labels), dtype=np.int32)
    pool = np.concatenate([images.splits["train"], images.splits["validation"]])
    copy_of[pool[::2]] = copy_of[pool[1::2]] = np.minimum(pool[::2], pool[1::2])
    relations = Relations(copy_of)
    spec = small_spec(training={"epochs": 1, "train_limit": 200}, validation={"folds": 3, "fold": 1})
    process = start(spec, relations=relations, for_study=True)
    finished = process.end()
    own = compute_job_splits(images.labels, images.splits, spec, relations)
    assert len(own["train"]) == 200
    with np.load(get_path(finished, ArtifactName.PREDICTIONS)) as predictions:
        for split, rows in own.items():
            np.testing.assert_array_equal(predictions[f"{split}_indices"], rows)
            assert getattr(finished.final, split).count == len(rows)
    [started] = [message for message in process.messages if isinstance(message, Started)]
    assert started.split_digests == {"validation": compute_digest(images, own["validation"])}
    scores, final = finished.scores, finished.final
    np.testing.assert_array_equal(scores.images, own["validation"])
    assert scores.losses.mean(dtype=np.float64) == final.validation.loss
    assert scores.right.mean() == final.validation.accuracy
    assert (scores.train_loss, scores.train_accuracy) == (final.train.loss, final.train.accuracy)
    assert (scores.train_images, scores.kept_epoch) == (200, final.epoch)
    model = keras.saving.load_model(get_path(finished, ArtifactName.MODEL), safe_mode=True)
    probabilities = model(np.asarray(images.images[own["validation"]])).numpy()
    labels = images.labels[own["validation"]]
    expected = keras.losses.sparse_categorical_crossentropy(labels, probabilities).numpy()
    np.testing.assert_allclose(scores.losses, expected, atol=1e-5)
    np.testing.assert_array_equal(scores.right, probabilities.argmax(axis=1) == labels)


def test_a_training_on_all_images_equals_one_whose_validation_images_are_in_train(
    start, dataset, tmp_path_factory
) -> None:
    images = load(dataset)
    everything = np.sort(np.concatenate([images.splits["train"], images.splits["validation"]]))
    other = folder_of(replace(images, splits={**images.splits, "train": everything}), tmp_path_factory)
    reference = Process(small_spec(training={"epochs": 1}), other)
    on_all = start(small_spec(training={"epochs": 1}, validation={"use": "train"}))
    expected, found = reference.end(), on_all.end()
    for done, wanted in zip(on_all.history, reference.history, strict=True):
        assert {"train_loss", "fit_loss"} <= done.keys()
        assert done == {name: value for name, value in wanted.items() if not name.startswith("validation_")}
    assert (found.final.epoch, found.final.train, found.final.test) == (1, expected.final.train, expected.final.test)
    assert found.final.validation is found.final.gap.validation is None
    assert found.final.gap.test == expected.final.gap.test
    gap = StoredGap.from_bytes(get_path(found, ArtifactName.GAP).read_bytes())
    assert (gap.validation, gap.calibration, gap.best_by_loss) == (None, None, None)
    assert gap.test.correct == round(expected.final.test.accuracy * gap.test.count)
    with np.load(get_path(found, ArtifactName.PREDICTIONS)) as predictions:
        assert not [name for name in predictions if name.startswith("validation_")]
        np.testing.assert_array_equal(predictions["train_indices"], everything)
