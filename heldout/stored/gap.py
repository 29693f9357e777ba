"""`gap.json`: figures for the terms of a gap, measured once by the worker with the kept weights of a job.

All figures come from float32 inference. Everything is counts and sums, so readers only have to add.
"""

from typing import ClassVar, Literal, get_args

from pydantic import Field

from heldout.statistics import compute_wilson_interval
from heldout.stored.file import StoredFile, StoredPart

HeldOutName = Literal["validation", "test"]
# What images can have lost.
QualityKind = Literal["blur", "noise", "compression", "resolution"]


class Tally(StoredPart):
    """Answers to some images.

    loss: mean cross-entropy in nats; NaN if probabilities are unknown, which never happens in a stored file.
    loss_variance: variance of the losses of single images (divisor count - 1; 0 for one image).
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
        """The number of right answers and the number of images."""
        return self.correct, self.count

    @property
    def interval(self) -> tuple[float, float]:
        """95% Wilson interval of the accuracy."""
        return compute_wilson_interval(self.correct, self.count)


class PairedTally(StoredPart):
    """The same images, answered before and after a change.

    gained: images answered wrongly before and correctly after. lost: the opposite.
    loss: mean of (loss after - loss before), in nats. loss_variance: variance of these differences of single images.
    """

    count: int
    gained: int
    lost: int
    loss: float
    loss_variance: float


class BestEpoch(StoredPart):
    """The weights of the best epoch by one metric, on the validation images.

    change: the change from the kept weights to these.
    """

    epoch: int
    validation: Tally
    change: PairedTally


class HeldOutCopies(StoredPart):
    """A held-out split, divided by whether images have copies, or members of their group, among the training images.

    clean, copied: null if no image belongs to this part.
    family: how many images say as much about accuracy as one independent image, since those of one group are answered
        alike; null if that is unknown.
    named_family: the same for the groups that file names suggest by the rule `named_by`; null if they suggest none.
    label_pairs: copies by their label and that of their copy in training: label, label of the copy, how many.
    """

    clean: Tally | None
    copied: Tally | None
    family: float | None = None
    named_family: float | None = None
    named_by: str = ""
    label_pairs: tuple[tuple[int, int, int], ...] = ()

    def count_named(self, rule: str) -> "HeldOutCopies":
        """Return a copy for which images also belong to the groups of this rule."""
        if self.named_family is None or self.named_by != rule:
            return self
        return self.model_copy(update={"family": max(self.family or 1.0, self.named_family)})

    @property
    def share(self) -> float:
        """The share of images with copies; 0 without images."""
        clean, copied = (0 if part is None else part.count for part in (self.clean, self.copied))
        return copied / (copied + clean or 1)


# Turned and mirrored images, named as the changes of a dataset's version are: by what makes them right again.
Turn = Literal["transpose", "turn_left", "turn_right", "upside_down", "flip_vertical", "flip_horizontal"]
TURNS: tuple[Turn, ...] = get_args(Turn)


class UndoneHalf(StoredPart):
    """One half of a split's images after something was undone, and what that changed."""

    tally: Tally
    change: PairedTally


class PixelsUndone(StoredPart):
    """Held-out images (without copies) after their pixel values were converted to those of training.

    Each half of the images is answered with the change that the other half chose.
    choices: what each half chose (`none`, `scale`, `inversion`, `channel_order`, `brightness`, or one of `TURNS`), the
    first half first.
    parameters: the parameters of each choice, for the evidence.
    change: the change from the pixels as they are to the undone ones.
    halves: the same for each half; null in files of earlier releases.
    share: estimated share of altered images if only those were changed; null if all were changed.
    """

    choices: tuple[str, str]
    parameters: tuple[dict[str, float], dict[str, float]]
    tally: Tally
    change: PairedTally
    halves: tuple[UndoneHalf, UndoneHalf] | None = None
    share: float | None = None

    @property
    def chosen(self) -> str:
        """What was undone: the first half's choice, or the second's if the first is `none`."""
        return next((choice for choice in self.choices if choice != "none"), "none")

    @property
    def accuracies(self) -> tuple[float, float]:
        """Accuracy with the pixels as they are, and with them undone."""
        after, change = self.tally.correct, self.change
        return (after - change.gained + change.lost) / change.count, after / change.count


class QualityLost(StoredPart):
    """Validation images (without copies) after they were made as blurred, noisy, compressed or small as test images.

    strength: of blur, the standard deviation in pixels. Of noise, the same in 255ths of the range of values. Of
        compression, the quality of JPEG. Of resolution, the share of the sides that is left.
    change: the change from the images as they are to the degraded ones.
    """

    kind: QualityKind
    strength: float
    tally: Tally
    change: PairedTally


class LabelsRenamed(StoredPart):
    """Test images (without copies, pixels undone) under renamed classes.

    renamings: for each half, the class that each label means, as chosen on the other half; null if none was chosen.
    change: the change from the labels as they are to the renamed ones.
    halves: the same for each half; null in files of earlier releases.
    """

    renamings: tuple[tuple[int, ...] | None, tuple[int, ...] | None]
    tally: Tally
    change: PairedTally
    halves: tuple[UndoneHalf, UndoneHalf] | None = None


class Calibration(StoredPart):
    """How well probabilities match reality, before and after dividing the network's outputs by one number.

    error: the mean distance between how sure the network is and how often it is right, as a fraction (expected
    calibration error over 15 equal bins). Each half of the images is measured with the number fitted on the other.
    """

    split: HeldOutName = Field("validation", description="The split used; for a job, validation.")
    temperature: float = Field(
        description="Divides the outputs before the softmax; above 1 for an overconfident network."
    )
    error_before: float
    error_after: float
    loss_before: float
    loss_after: float


class SureAnswers(StoredPart):
    """A tenth of the answers to a split, by the probability of the answer.

    contradicted: how many differ from the label. probability: mean of the answers' own.
    """

    count: int
    contradicted: int
    probability: float


class SortedAnswers(StoredPart):
    """Answers to images of one split, compared with their labels, by the weights of one epoch.

    tenths: the surest tenth first.
    """

    epoch: int
    count: int
    correct: int
    tenths: tuple[SureAnswers, ...]

    @property
    def surest(self) -> int:
        """How many images the surest fifth has."""
        return sum(tenth.count for tenth in self.tenths[:2])

    @property
    def contradicted(self) -> int:
        """How many answers of the surest fifth differ from the label."""
        return sum(tenth.contradicted for tenth in self.tenths[:2])

    @property
    def surest_probability(self) -> float:
        """The mean probability of the answers of the surest fifth."""
        return sum(tenth.probability * tenth.count for tenth in self.tenths[:2]) / max(1, self.surest)


class AnswersOfClass(StoredPart):
    """Answers to the training images of one label.

    surest, contradicted: of the surest fifth of all images, those with this label, and how many are answered otherwise.
    """

    count: int
    correct: int
    surest: int
    contradicted: int


class AnswersToTraining(SortedAnswers):
    """Answers to training images.

    claimed: images for which some class is at least as probable as it is, on average, for images with its label.
        claimed_by_others: how many of these are claimed by another class than their label.
    classes: in the order of the classes; empty if there are very many.
    """

    claimed: int
    claimed_by_others: int
    classes: tuple[AnswersOfClass, ...] = ()


class TrainingLosses(StoredPart):
    """The loss of each training image, averaged over all epochs, in nats.

    quantiles: the first to the ninth decile.
    hard: images above the loss that divides all of them best. easy_loss, hard_loss: the means of the two parts.
    separation: the share of the variance that lies between the parts (Otsu 1979); 0.64 for a normal distribution.
    """

    epochs: int
    count: int
    quantiles: tuple[float, ...]
    hard: int
    easy_loss: float
    hard_loss: float
    separation: float


class GapOnTest(StoredPart):
    """The parts of a `StoredGap` about test; measured later if a study saves test for its end."""

    test: Tally | None
    test_copies: HeldOutCopies | None = None
    pixels: PixelsUndone | None = None
    labels: LabelsRenamed | None = None
    quality: QualityLost | None = None
    test_answers: SortedAnswers | None = None


class StoredGap(StoredFile):
    """What the worker measured at the end of a training, or the API for uploaded predictions.

    kept_epoch: the epoch of the kept weights. epochs: number of epochs trained. For a job they are at least 1; 0 if
        unknown.
    train, validation, test: all images of each split, with the kept weights. test is null if it is never measured, and
        validation if uploaded predictions have none.
    best_by_loss, best_by_accuracy: null if that epoch's weights were kept.
    validation_copies, test_copies: null if the dataset's copies are not known yet.
    validation_pixels, pixels, labels: null if nothing was worth trying. The first is about validation and not part of a
        term; the others are about test.
    quality: what test images have lost that validation images have, and what that costs; null if nothing.
    last: the change from the kept weights to those of the last epoch, on validation; null if the last were kept.
    training_answers, validation_answers, test_answers: of the kept weights, to all images. early_training_answers,
        early_validation_answers: of the weights with the lowest validation loss, to some training images and to all
        of validation; null if these weights were kept.
    training_losses: null if training images were not measured after each epoch.
    In files of earlier releases, all of these are null.
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
    quality: QualityLost | None = None
    calibration: Calibration | None = None
    training_answers: AnswersToTraining | None = None
    early_training_answers: AnswersToTraining | None = None
    validation_answers: SortedAnswers | None = None
    early_validation_answers: SortedAnswers | None = None
    test_answers: SortedAnswers | None = None
    training_losses: TrainingLosses | None = None

    @property
    def first_training_answers(self) -> AnswersToTraining | None:
        """The answers to training images from the earliest weights that were asked: they have memorized the least."""
        return self.early_training_answers or self.training_answers

    def get_pixels(self, split: str) -> PixelsUndone | None:
        """Return the pixel change that was undone in a held-out split."""
        return self.validation_pixels if split == "validation" else self.pixels

    @property
    def family(self) -> float:
        """The larger of the held-out splits' families; 1 if both are unknown."""
        copies = (self.validation_copies, self.test_copies)
        return max((of.family for of in copies if of is not None and of.family is not None), default=1.0)

    def count_named(self, rule: str) -> "StoredGap":
        """Return a copy for which images also belong to the groups that this rule finds in file names."""
        copies = {name: getattr(self, name) for name in ("validation_copies", "test_copies")}
        return self.model_copy(update={name: of and of.count_named(rule) for name, of in copies.items()})

    def drop_test(self) -> "StoredGap":
        """Return a copy without anything measured on test images."""
        return self.add_test(GapOnTest(test=None))

    def add_test(self, measured: GapOnTest) -> "StoredGap":
        """Return a copy with what was measured on test images."""
        return self.model_copy(update={name: getattr(measured, name) for name in GapOnTest.model_fields})
