"""`gap.json` as training processes write it: from the right weights, even after interruptions."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from analysis.arrays.dataset import load
from analysis.arrays.relations import Relations
from heldout.stored.artifacts import ArtifactName
from heldout.stored.gap import StoredGap
from heldout.stored.looks import StoredLooks
from tests.worker.training.processes import Process, get_path
from tests.worker.training.trainings import small_spec
from worker.messages import EpochDone, Finished, StopCause, Warned
from worker.training.measuring.gap import ASKED_PER_EPOCH
from worker.training.measuring.pixel_changes import spread_evenly

pytestmark = pytest.mark.usefixtures("forking")

# Its figures fluctuate, so the best epochs by loss and by accuracy differ, and neither is the last.
JUMPING = {"optimizer": {"name": "adam", "learning_rate": 0.02}, "epochs": 7}


def read_gap(finished: Finished) -> StoredGap:
    return StoredGap.from_bytes(get_path(finished, ArtifactName.GAP).read_bytes())


def find_best_epochs(process: Process) -> tuple[int, int]:
    """Return the first epochs with the lowest validation loss and with the highest validation accuracy."""
    losses, accuracies = (
        [epoch[f"validation_{metric}"] for epoch in process.history] for metric in ("loss", "accuracy")
    )
    return losses.index(min(losses)) + 1, accuracies.index(max(accuracies)) + 1


@pytest.fixture(scope="module")
def jumping(forking: None, dataset: Path) -> Iterator[Process]:
    """A training of 7 epochs that has ended."""
    process = Process(small_spec({"filters": 8}, training=JUMPING), dataset)
    process.end()
    yield process
    process.process.kill()
    process.process.join()


@pytest.mark.proof
def test_the_best_epochs_weights_are_those_of_a_training_that_ends_there(start, jumping):
    process, gap = jumping, read_gap(jumping.messages[-1])
    by_loss, by_accuracy = find_best_epochs(process)
    assert len({by_loss, by_accuracy, 7}) == 3
    assert (gap.kept_epoch, gap.epochs) == (7, 7)
    for best, epoch in ((gap.best_by_loss, by_loss), (gap.best_by_accuracy, by_accuracy)):
        assert best.epoch == epoch
        shorter = start(small_spec({"filters": 8}, training=JUMPING | {"epochs": epoch}))
        ended_there = shorter.end()
        assert best.validation == read_gap(ended_there).validation
        right, losses = zip(*(read_answers(ended, "validation") for ended in (process, shorter)), strict=True)
        assert best.change.gained == (right[1] & ~right[0]).sum()
        assert best.change.lost == (right[0] & ~right[1]).sum()
        assert best.change.loss == pytest.approx((losses[1] - losses[0]).mean(), abs=1e-5)
        assert best.change.loss_variance == pytest.approx((losses[1] - losses[0]).var(ddof=1), rel=1e-3)


def test_the_best_epochs_weights_are_asked_about_training_images_too(start, jumping):
    """As many as take about 1% of the training: a twentieth of them for each epoch."""
    gap, (by_loss, _) = read_gap(jumping.messages[-1]), find_best_epochs(jumping)
    kept, early = gap.training_answers, gap.early_training_answers
    assert gap.first_training_answers == early
    right, _ = read_answers(jumping, "train")
    assert (kept.epoch, kept.count, kept.correct) == (7, len(right), right.sum())
    assert (early.epoch, early.count) == (by_loss, round(7 * ASKED_PER_EPOCH * len(right)))
    ended_there = start(small_spec({"filters": 8}, training=JUMPING | {"epochs": by_loss}))
    shorter = read_gap(ended_there.end())
    asked = read_answers(ended_there, "train")[0][spread_evenly(len(right), early.count)]
    assert early.correct == asked.sum()
    assert shorter.early_training_answers is shorter.early_validation_answers is None
    assert shorter.first_training_answers.count == len(right)
    assert gap.validation_answers.correct == gap.validation.correct
    assert gap.test_answers.correct == gap.test.correct
    assert gap.early_validation_answers.epoch == by_loss
    assert gap.early_validation_answers.correct == gap.best_by_loss.validation.correct


def test_the_losses_of_training_images_over_all_epochs_are_divided(jumping):
    losses = read_gap(jumping.messages[-1]).training_losses
    with np.load(get_path(jumping.messages[-1], ArtifactName.PREDICTIONS)) as stored:
        means = stored["train_loss_sums"] / stored["train_loss_epochs"]
    assert (losses.epochs, losses.count) == (7, len(means))
    assert losses.quantiles[4] == pytest.approx(np.median(means), rel=1e-5)
    parts = [losses.count - losses.hard, losses.hard]
    assert np.average([losses.easy_loss, losses.hard_loss], weights=parts) == pytest.approx(means.mean(), rel=1e-5)


def read_answers(process: Process, split: str) -> tuple[np.ndarray, np.ndarray]:
    """Return which images were answered correctly, and their losses, from the stored predictions."""
    with np.load(get_path(process.messages[-1], ArtifactName.PREDICTIONS)) as stored:
        probabilities, labels = stored[f"{split}_probabilities"].astype(np.float64), stored[f"{split}_labels"]
    return probabilities.argmax(axis=1) == labels, -np.log(probabilities[np.arange(len(labels)), labels])


def test_kept_weights_are_compared_with_those_of_the_last_epoch(start, jumping):
    """`gap.json` compares them on validation images, and `evaluation.json` on test images."""
    spec = small_spec({"filters": 8}, training=JUMPING | {"early_stopping": {"patience": 10}})
    stopping = start(spec)
    kept, end = stopping.end(), jumping.messages[-1]
    gap, last = read_gap(kept), read_gap(end)
    assert gap.kept_epoch == kept.final.epoch == find_best_epochs(stopping)[0] < gap.epochs == 7
    assert gap.best_by_loss is None
    assert gap.last.loss == pytest.approx(last.validation.loss - gap.validation.loss, abs=1e-9)
    assert gap.last.gained - gap.last.lost == last.validation.correct - gap.validation.correct
    assert last.last is None
    files = (get_path(finished, ArtifactName.EVALUATION) for finished in (kept, end))
    compared, nothing = (json.loads(file.read_text())["last_epoch"] for file in files)
    assert nothing is None
    assert (compared["split"], compared["count"]) == ("test", kept.final.test.count)
    assert (compared["kept_epoch"], compared["epoch"]) == (gap.kept_epoch, 7)
    assert (kept.other_reads, end.other_reads) == ((("test", 7),), ())
    for figure, sign in (("accuracy", -1), ("loss", 1)):
        difference = sign * (getattr(end.final.test, figure) - getattr(kept.final.test, figure))
        assert compared[figure]["difference"] == pytest.approx(difference, abs=1e-6)
        low, high = compared[figure]["interval"]
        assert low <= difference <= high
        assert low < high


def test_a_pause_leaves_no_trace_in_any_figure_or_file(start, dataset):
    """Other interruptions are tested in test_trainer.py, and killed processes in test_starts.py."""
    copies = relate_copies(dataset)
    spec = small_spec({"filters": 8, "dropout": 0.2}, training=JUMPING, evaluation={"test": "every_epoch"})
    whole, first = start(spec, relations=copies), start(spec, relations=copies)
    first.until(lambda message: isinstance(message, EpochDone) and message.epoch == 5)
    first.pipe.send(StopCause.PAUSE)
    second = start(spec, relations=copies, checkpoint=first.end().checkpoint)
    expected, found = whole.end(), second.end()
    assert max(find_best_epochs(whole)) < 7
    assert found.final == expected.final
    # The pause may have been received after its epoch was reported.
    assert first.history + second.history == whole.history
    for name in (ArtifactName.GAP, ArtifactName.EVALUATION):
        assert get_path(found, name).read_bytes() == get_path(expected, name).read_bytes()
    with (
        np.load(get_path(expected, ArtifactName.PREDICTIONS)) as wanted_arrays,
        np.load(get_path(found, ArtifactName.PREDICTIONS)) as found_arrays,
    ):
        for entry in wanted_arrays:
            np.testing.assert_array_equal(found_arrays[entry], wanted_arrays[entry])


def relate_copies(dataset: Path) -> Relations:
    """Make relations in which the first ten images of each held-out split are copies of training images."""
    images = load(dataset)
    copy_of = np.arange(len(images.labels), dtype=np.int32)
    for split in ("validation", "test"):
        copy_of[images.splits[split][:10]] = images.splits["train"][:10]
    return Relations(copy_of)


def test_copies_are_identified_by_their_positions_in_the_dataset_also_if_images_are_streamed(start, dataset):
    spec, copies = small_spec(training={"epochs": 1}), relate_copies(dataset)
    # Those of test are known by features only.
    images, pairs = load(dataset), [tuple(pair) for pair in enumerate(copies.copy_of.tolist()) if pair[0] != pair[1]]
    of_test = np.isin([pair[0] for pair in pairs], images.splits["test"])
    at_ingest = copies.copy_of.copy()
    at_ingest[images.splits["test"]] = images.splits["test"]
    looks = StoredLooks(
        model="net",
        model_sha256="0" * 64,
        images=len(at_ingest),
        sampled=len(at_ingest),
        seen_as=(64, 64),
        copies=tuple(pair for pair, is_of_test in zip(pairs, of_test, strict=True) if is_of_test),
    )
    plain = start(spec, relations=copies)
    streamed = start(spec, relations=Relations(at_ingest), looks=looks, resident_bytes=0)
    gap = read_gap(plain.end())
    assert read_gap(streamed.end()) == gap
    for split, copies in (("validation", gap.validation_copies), ("test", gap.test_copies)):
        right, _ = read_answers(plain, split)
        assert (copies.copied.count, copies.copied.correct) == (10, right[:10].sum())
        assert (copies.clean.count, copies.clean.correct) == (len(right) - 10, right[10:].sum())


def test_a_test_split_that_is_never_measured_is_in_no_figure_or_file(start, dataset):
    spec = small_spec(training={"epochs": 1}, evaluation={"test": "never"})
    finished = start(spec, relations=relate_copies(dataset)).end()
    gap = read_gap(finished)
    assert gap == gap.drop_test()
    assert gap.validation_copies.copied.count == 10
    assert (finished.final.test, finished.final.gap.test) == (None, None)
    with np.load(get_path(finished, ArtifactName.PREDICTIONS)) as stored:
        assert not [entry for entry in stored if entry.startswith("test")]


def test_a_deadline_within_an_epoch_leaves_the_figures_of_complete_epochs(start):
    process = start(small_spec(training={"epochs": 1000}))
    process.until(lambda message: isinstance(message, EpochDone) and message.epoch == 2)
    process.pipe.send(StopCause.DEADLINE)
    finished = process.end()
    gap = read_gap(finished)
    assert finished.stop_reason == "deadline"
    assert gap.kept_epoch == gap.epochs == finished.final.epoch == len(process.history)
    assert finished.final.validation.accuracy == process.history[-1]["validation_accuracy"]
    assert gap.last is None


def test_unreadable_relations_prevent_the_gap_file_but_not_the_job(start, tmp_path):
    of_another = Relations(np.arange(3, dtype=np.int32))
    process = start(small_spec(training={"epochs": 1}), relations=of_another)
    finished = process.end()
    assert isinstance(finished, Finished)
    assert ArtifactName.GAP not in {file.name for file in finished.files}
    [warned] = [message for message in process.messages if isinstance(message, Warned)]
    assert "The terms of the gap could not be measured" in warned.message
    json.dumps(finished.final.model_dump(mode="json"), allow_nan=False)
