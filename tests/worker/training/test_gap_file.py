"""`gap.json` as training processes leave it: from the right weights, whatever happened on the way."""

import json
from pathlib import Path

import numpy as np
import pytest

from analysis.arrays.dataset import ImageSet, load
from analysis.arrays.relations import Relations
from heldout.stored.artifacts import ArtifactName
from heldout.stored.gap import StoredGap
from tests.worker.training.processes import Process, folder_of
from tests.worker.training.trainings import fewer, small_spec
from worker.messages import EpochDone, Finished, StepsDone, Stop, StopCause, Warned

pytestmark = pytest.mark.usefixtures("forking")

# Jumps about, so that the best epochs by loss and by accuracy are neither the last nor the same.
JUMPING = {"optimizer": {"name": "adam", "learning_rate": 0.02}, "epochs": 7}


@pytest.fixture(scope="module")
def dataset(mnist5k: ImageSet, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return folder_of(fewer(mnist5k, 372), tmp_path_factory)


def gap_of(finished: Finished) -> StoredGap:
    return StoredGap.from_bytes(finished.get_path(ArtifactName.GAP).read_bytes())


def best_epochs(process: Process) -> tuple[int, int]:
    """The earliest epochs of the lowest validation loss and of the highest validation accuracy."""
    losses, accuracies = (
        [epoch[f"validation_{metric}"] for epoch in process.history] for metric in ("loss", "accuracy")
    )
    return losses.index(min(losses)) + 1, accuracies.index(max(accuracies)) + 1


def test_the_best_epochs_weights_are_those_of_a_training_that_ends_there(start):
    spec = small_spec({"filters": 8}, training=JUMPING)
    process = start(spec)
    gap = gap_of(process.end())
    by_loss, by_accuracy = best_epochs(process)
    assert len({by_loss, by_accuracy, 7}) == 3
    assert (gap.kept_epoch, gap.epochs) == (7, 7)
    for best, epoch in ((gap.best_by_loss, by_loss), (gap.best_by_accuracy, by_accuracy)):
        assert best.epoch == epoch
        shorter = start(small_spec({"filters": 8}, training=JUMPING | {"epochs": epoch}))
        ended_there = shorter.end()
        assert best.validation == gap_of(ended_there).validation
        right, losses = zip(*(answers(one, "validation") for one in (process, shorter)), strict=True)
        assert best.change.gained == (right[1] & ~right[0]).sum()
        assert best.change.lost == (right[0] & ~right[1]).sum()
        assert best.change.loss == pytest.approx((losses[1] - losses[0]).mean(), abs=1e-5)
        assert best.change.loss_variance == pytest.approx((losses[1] - losses[0]).var(ddof=1), rel=1e-3)


def answers(process: Process, split: str) -> tuple[np.ndarray, np.ndarray]:
    """Which images were answered rightly, and their losses, by the stored predictions."""
    with np.load(process.said[-1].get_path(ArtifactName.PREDICTIONS)) as stored:
        said, labels = stored[f"{split}_probabilities"].astype(np.float64), stored[f"{split}_labels"]
    return said.argmax(axis=1) == labels, -np.log(said[np.arange(len(labels)), labels])


def test_weights_that_were_kept_are_compared_with_those_of_the_last_epoch(start):
    """On validation images in one file, and in the other on the test images, which chose nothing."""
    spec = small_spec({"filters": 8}, training=JUMPING | {"early_stopping": {"patience": 10}})
    stopping, going_on = start(spec), start(small_spec({"filters": 8}, training=JUMPING))
    kept, end = stopping.end(), going_on.end()
    gap, last = gap_of(kept), gap_of(end)
    assert gap.kept_epoch == kept.final.epoch == best_epochs(stopping)[0] < gap.epochs == 7
    assert gap.best_by_loss is None
    assert gap.last.loss == pytest.approx(last.validation.loss - gap.validation.loss, abs=1e-9)
    assert gap.last.gained - gap.last.lost == last.validation.correct - gap.validation.correct
    assert last.last is None
    said, none = (json.loads(one.get_path(ArtifactName.EVALUATION).read_text())["last_epoch"] for one in (kept, end))
    assert none is None
    assert (said["split"], said["count"]) == ("test", kept.final.test.count)
    assert (said["kept_epoch"], said["epoch"]) == (gap.kept_epoch, 7)
    assert (kept.other_reads, end.other_reads) == ((("test", 7),), ())
    for figure, sign in (("accuracy", -1), ("loss", 1)):
        difference = sign * (getattr(end.final.test, figure) - getattr(kept.final.test, figure))
        assert said[figure]["difference"] == pytest.approx(difference, abs=1e-6)
        low, high = said[figure]["interval"]
        assert low <= difference <= high
        assert low < high


def test_a_pause_leaves_no_trace_in_any_figure_or_file(start, dataset):
    """test_trainer.py interrupts trainings of many kinds, test_starts.py kills their processes."""
    copies = copies_of_training(dataset)
    spec = small_spec({"filters": 8, "dropout": 0.2}, training=JUMPING, evaluation={"test": "every_epoch"})
    whole, first = start(spec, relations=copies), start(spec, relations=copies)
    first.until(lambda message: isinstance(message, StepsDone) and message.epoch == 6)
    first.pipe.send(Stop(StopCause.PAUSE))
    second = start(spec, relations=copies, checkpoint=first.end().checkpoint)
    expected, found = whole.end(), second.end()
    assert max(best_epochs(whole)) < 7
    assert found.final == expected.final
    # The pause may have been received after its epoch was reported.
    assert first.history + second.history == whole.history
    for name in (ArtifactName.GAP, ArtifactName.EVALUATION):
        assert found.get_path(name).read_bytes() == expected.get_path(name).read_bytes()
    with (
        np.load(expected.get_path(ArtifactName.PREDICTIONS)) as one,
        np.load(found.get_path(ArtifactName.PREDICTIONS)) as two,
    ):
        for entry in one:
            np.testing.assert_array_equal(one[entry], two[entry])


def copies_of_training(dataset: Path) -> Relations:
    """Relations by which the first ten images of each held-out split are copies of training images."""
    images = load(dataset)
    copy_of = np.arange(len(images.labels), dtype=np.int32)
    for split in ("validation", "test"):
        copy_of[images.splits[split][:10]] = images.splits["train"][:10]
    return Relations(copy_of)


def test_copies_are_found_by_their_positions_in_the_dataset(start, dataset):
    process = start(small_spec(training={"epochs": 1}), relations=copies_of_training(dataset))
    gap = gap_of(process.end())
    for split, copies in (("validation", gap.validation_copies), ("test", gap.test_copies)):
        right, _ = answers(process, split)
        assert (copies.copied.count, copies.copied.correct) == (10, right[:10].sum())
        assert (copies.clean.count, copies.clean.correct) == (len(right) - 10, right[10:].sum())


@pytest.mark.parametrize("options", [{"resident_bytes": 0}, {"towers": 2}], ids=["streamed", "two towers"])
def test_streamed_images_and_two_towers_are_measured_too(start, dataset, options):
    spec = small_spec({"filters": 8}, training={"epochs": 2})
    plain, other = start(spec), start(spec, relations=copies_of_training(dataset), **options)
    one, two = gap_of(plain.end()), gap_of(other.end())
    if "resident_bytes" in options:
        without_copies = {"validation_copies": None, "test_copies": None}
        assert two.model_copy(update=without_copies) == one
    assert two.test_copies.copied.count == 10
    assert two.train.count == one.train.count == 372


def test_the_gap_of_mixed_precision_is_measured_in_float32(start):
    process = start(small_spec({"filters": 8}, training={"epochs": 2}), precision="mixed")
    finished = process.end()
    gap = gap_of(finished)
    for split in ("train", "validation", "test"):
        tally, final = getattr(gap, split), getattr(finished.final, split)
        assert (tally.count, tally.correct / tally.count) == (final.count, final.accuracy)
        assert tally.loss == final.loss


def test_a_test_split_that_is_never_measured_is_in_no_part(start, dataset):
    spec = small_spec(training={"epochs": 1}, evaluation={"test": "never"})
    finished = start(spec, relations=copies_of_training(dataset)).end()
    gap = gap_of(finished)
    assert gap == gap.drop_test()
    assert gap.validation_copies.copied.count == 10
    assert (finished.final.test, finished.final.gap.test) == (None, None)
    with np.load(finished.get_path(ArtifactName.PREDICTIONS)) as stored:
        assert not [entry for entry in stored if entry.startswith("test")]


def test_a_deadline_within_an_epoch_leaves_the_figures_of_the_whole_ones(start):
    process = start(small_spec(training={"epochs": 1000}))
    process.until(lambda message: isinstance(message, EpochDone) and message.epoch == 2)
    process.pipe.send(Stop(StopCause.DEADLINE))
    finished = process.end()
    gap = gap_of(finished)
    assert finished.stop_reason == "deadline"
    assert gap.kept_epoch == gap.epochs == finished.final.epoch == len(process.history)
    assert finished.final.validation.accuracy == process.history[-1]["validation_accuracy"]
    assert gap.last is None


def test_relations_that_cannot_be_read_cost_the_file_and_not_the_job(start, tmp_path):
    of_another = Relations(np.arange(3, dtype=np.int32))
    process = start(small_spec(training={"epochs": 1}), relations=of_another)
    finished = process.end()
    assert isinstance(finished, Finished)
    assert ArtifactName.GAP not in {file.name for file in finished.files}
    [warned] = [message for message in process.said if isinstance(message, Warned)]
    assert "The terms of the gap could not be measured" in warned.message
    json.dumps(finished.final.model_dump(mode="json"), allow_nan=False)
