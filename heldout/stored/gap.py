"""`gap.json`: what the terms of a gap are made of, measured once by the worker with the kept weights of a job.

All figures are of float32 inference. Everything is counts and sums, so that readers need only add up.
"""

from typing import ClassVar, Literal

from heldout.stored.file import StoredFile, StoredPart

HeldOutName = Literal["validation", "test"]


class Tally(StoredPart):
    """Answers to some images.

    loss: mean cross-entropy in nats; NaN where probabilities are not known, which a stored file never has.
    loss_variance: of the single images' losses (divisor count - 1; 0 for one image).
    """

    count: int
    correct: int
    loss: float
    loss_variance: float

    @property
    def accuracy(self) -> float:
        return self.correct / self.count

    @property
    def counts(self) -> tuple[int, int]:
        """Right answers, and all."""
        return self.correct, self.count


class PairedTally(StoredPart):
    """The same images, answered twice: before and after something was changed.

    gained: images answered wrongly before and rightly after; lost: the other way round.
    loss: mean of (loss after - loss before), in nats; loss_variance: of these differences of single images.
    """

    count: int
    gained: int
    lost: int
    loss: float
    loss_variance: float


class BestEpoch(StoredPart):
    """The weights of the best epoch by one metric, on the validation images.

    change: from the kept weights to these.
    """

    epoch: int
    validation: Tally
    change: PairedTally


class HeldOutCopies(StoredPart):
    """A held-out split, parted by whether an image has a copy, or a member of its group, among the images trained on.

    clean, copied: null where no image of the split is of this part.
    """

    clean: Tally | None
    copied: Tally | None


class UndoneHalf(StoredPart):
    """One half of a split's images after something was undone, and what that changed."""

    tally: Tally
    change: PairedTally


class PixelsUndone(StoredPart):
    """Held-out images (without copies) after their pixel values were brought back to those of training.

    Each half of the images is answered under the change that was chosen on the other half.
    choices: what each half chose (`none`, `scale`, `inversion`, `channel_order`, `brightness`), the first half first.
    parameters: of each choice, for the evidence.
    change: from the pixels as they are to the undone ones.
    halves: the same of each half; null in files of earlier releases.
    share: of the images, where only those that look altered were changed: how many are, by estimate. Null where all
        were changed.
    """

    choices: tuple[str, str]
    parameters: tuple[dict[str, float], dict[str, float]]
    tally: Tally
    change: PairedTally
    halves: tuple[UndoneHalf, UndoneHalf] | None = None
    share: float | None = None

    @property
    def chosen(self) -> str:
        """What was undone: the first half's choice, or the other's if that is nothing."""
        return next((choice for choice in self.choices if choice != "none"), "none")

    @property
    def accuracies(self) -> tuple[float, float]:
        """With the pixels as they are, and undone."""
        after, change = self.tally.correct, self.change
        return (after - change.gained + change.lost) / change.count, after / change.count


class LabelsRenamed(StoredPart):
    """Test images (without copies, pixels undone) under renamed classes.

    renamings: for each half the class that each label means, as chosen on the other half; null where none was chosen.
    change: from the labels as they are to the renamed ones.
    halves: the same of each half; null in files of earlier releases.
    """

    renamings: tuple[tuple[int, ...] | None, tuple[int, ...] | None]
    tally: Tally
    change: PairedTally
    halves: tuple[UndoneHalf, UndoneHalf] | None = None


class Calibration(StoredPart):
    """How far probabilities are from being true, before and after one temperature.

    split: whose images; of a job those of validation. Each half of them is measured under the temperature that was
        fitted on the other half.
    error: expected calibration error over 15 equal bins, as a fraction; loss in nats.
    temperature: fitted on all of them; above 1 where the network is too sure.
    """

    split: HeldOutName = "validation"
    temperature: float
    error_before: float
    error_after: float
    loss_before: float
    loss_after: float


class GapOnTest(StoredPart):
    """What a `StoredGap` has of test; measured later where a study has kept test for its end."""

    test: Tally | None
    test_copies: HeldOutCopies | None = None
    pixels: PixelsUndone | None = None
    labels: LabelsRenamed | None = None


class StoredGap(StoredFile):
    """What the worker measured at the end of a training, or the API of predictions from anywhere.

    kept_epoch: the epoch of the kept weights. epochs: how many were trained. Of a job they are at least 1; 0 where they
        are not known.
    train, validation, test: all images of each split, with the kept weights. test is null where it is never measured,
        and validation where predictions from anywhere have none.
    best_by_loss, best_by_accuracy: null where the kept weights are of that epoch.
    validation_copies, test_copies: null where the dataset's copies are not known yet.
    validation_pixels, pixels, labels: null where nothing was worth trying. The first is of validation, and no part of
        a term; the others are of test.
    last: from the kept weights to those of the last epoch, on validation; null where these were kept.
    """

    file_name: ClassVar[str] = "gap.json"

    kept_epoch: int
    epochs: int
    train: Tally
    validation: Tally | None
    test: Tally | None
    best_by_loss: BestEpoch | None = None
    best_by_accuracy: BestEpoch | None = None
    last: PairedTally | None = None
    validation_copies: HeldOutCopies | None = None
    test_copies: HeldOutCopies | None = None
    validation_pixels: PixelsUndone | None = None
    pixels: PixelsUndone | None = None
    labels: LabelsRenamed | None = None
    calibration: Calibration | None = None

    def get_pixels(self, split: str) -> PixelsUndone | None:
        """What was undone in the pixels of a held-out split."""
        return self.validation_pixels if split == "validation" else self.pixels

    def drop_test(self) -> "StoredGap":
        """The same without anything that was measured on test images."""
        return self.add_test(GapOnTest(test=None))

    def add_test(self, measured: GapOnTest) -> "StoredGap":
        """The same with what was measured on test images."""
        return self.model_copy(update={name: getattr(measured, name) for name in GapOnTest.model_fields})
