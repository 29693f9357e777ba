"""Measures, once a training has ended, what the terms of its gap are made of: `gap.json`.

The order in which they are measured is that of docs/explanation/gap.md.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from heldout.diagnosis.renaming import usual_renamings
from heldout.stored.gap import BestEpoch, GapOnTest, LabelsRenamed, PairedTally, PixelsUndone, StoredGap
from models.answers.answers import Answers, Predictions, halves_of, joined, paired, surely_better
from models.answers.renamed_labels import chosen_renaming, confusion_of
from models.answers.temperature import calibration_of
from models.answers.undone import copies_of, labels_renamed, undone_half, undone_halves
from models.relations import Relations
from worker.training.best_weights import TrainedWeights
from worker.training.data import TrainingData
from worker.training.export import Predictor
from worker.training.pixel_change import PixelChange
from worker.training.resident import BatchSource
from worker.training.undone_pixels import changes_worth_trying, find_change, sample_of

# Probability that chance alone makes a change of pixels look better.
MAX_CHANCE = 0.01


class ImagePredictor(Protocol):
    """Says what a model says of the images in rows of its source, of their pixels under a change."""

    source: BatchSource

    def predict(self, rows: NDArray[np.int32], change: PixelChange | None = None) -> Predictions: ...


def measure_gap(
    predictor: Predictor,
    data: TrainingData,
    weights: TrainedWeights,
    kept: Mapping[str, Predictions],
    relations: Relations | None,
    *,
    try_pixels: bool = True,
) -> StoredGap | None:
    """What the terms of a training's gap are made of.

    Args:
        predictor: of the exported model; it answers with the kept weights before and after.
        data: of the training; its images are not read, they are in the predictor's source.
        weights: `Trainer.trained_weights()`.
        kept: what the kept weights say of each split, in the order of its rows; without `test` where it is never
            measured, and without `validation` where that is trained on.
        relations: of the whole dataset; None where its copies are not known.
        try_pixels: False where there is no time for more predictions of the test split.
    Returns:
        None where nothing is held out, where there are no training images, where the job's validation split is empty,
        and where losses are not finite.
    """
    answers = {split: Answers.to(data.labels[data.rows[split]], said) for split, said in kept.items()}
    tallies = {split: said.tally() for split, said in answers.items()}
    if len(answers) < 2 or None in (tallies["train"], tallies.get("validation", 0)):
        return None
    related = {} if relations is None else related_images(relations, data.source)
    reference, of_validation = answers["train"], dict[str, Any]()
    if "validation" in answers:
        reference = answers["validation"]
        others = _OtherWeights(predictor, data, weights, reference)
        of_validation = {
            "best_by_loss": others.best_epoch(weights.best_by_loss),
            "best_by_accuracy": others.best_epoch(weights.best_by_accuracy),
            "last": others.change(weights.epochs),
            "validation_copies": copies_of(reference, related.get("validation")),
            "calibration": calibration_of(reference.log_probabilities(), reference.labels, halves_of(reference.labels)),
        }
    gap = StoredGap(
        kept_epoch=weights.kept,
        epochs=weights.epochs,
        train=tallies["train"],
        validation=tallies.get("validation"),
        test=None,
        **of_validation,
    )
    if "test" not in answers:
        return gap
    return gap.with_test(
        measure_test(predictor, data, answers["test"], reference, related.get("test"), try_pixels=try_pixels)
    )


def measure_test(
    predictor: ImagePredictor,
    data: TrainingData,
    answers: Answers,
    reference: Answers,
    related: NDArray[np.bool_] | None,
    *,
    try_pixels: bool = True,
) -> GapOnTest:
    """What test shows of a gap: how much is due to copies, to pixel values, and to names of classes.

    Args:
        predictor: answers with the kept weights, on the images of `data.rows`: `train` and `test` among them.
        answers: of the test split, in the order of its rows.
        reference: answers to images whose labels mean what they say: those of validation, else of training.
        related: (test images,) whether an image has a relative among those trained on; None where that is not known.
    """
    tally, pixels, labels = answers.tally(), None, None
    if tally is not None:
        # Where all images have copies there is nothing else to compare.
        clean = np.empty(0, np.int64) if related is None else np.flatnonzero(~related)
        compared = clean if len(clean) else np.arange(len(answers))
        test = _ComparedTest(predictor, data, answers, compared)
        pixels, labels = test.undone(confusion_of(reference, len(data.classes)), try_pixels=try_pixels)
    return GapOnTest(test=tally, test_copies=copies_of(answers, related), pixels=pixels, labels=labels)


def related_images(relations: Relations, source: Mapping[str, NDArray[np.int64]]) -> dict[str, NDArray[np.bool_]]:
    """For each held-out split which of its images have a relation among the images that were trained on."""
    everything = relations.related_to(source["train"])
    copies = Relations(relations.copy_of).related_to(source["train"])
    found = {}
    for split in source.keys() - {"train"}:
        related = everything[source[split]]
        # Groups that hold a whole split, such as one camera, leave nothing to compare.
        found[split] = copies[source[split]] if related.all() else related
    return found


class _OtherWeights:
    """What weights of other epochs than the kept one say of the validation images."""

    def __init__(self, predictor: Predictor, data: TrainingData, weights: TrainedWeights, kept: Answers) -> None:
        self._kept = kept
        self._answers: dict[int, Answers] = {}
        for epoch in {weights.best_by_loss, weights.best_by_accuracy, weights.epochs} - {weights.kept}:
            if epoch in weights.of_epoch:
                predictor.use(weights.of_epoch[epoch])
                self._answers[epoch] = Answers.to(kept.labels, predictor.predict(data.rows["validation"]))
        predictor.use(weights.of_epoch[weights.kept])

    def change(self, epoch: int) -> PairedTally | None:
        """From the kept weights to those of `epoch`."""
        return paired(self._kept, self._answers[epoch]) if epoch in self._answers else None

    def best_epoch(self, epoch: int) -> BestEpoch | None:
        if epoch not in self._answers:
            return None
        tally, change = self._answers[epoch].tally(), self.change(epoch)
        return None if tally is None or change is None else BestEpoch(epoch=epoch, validation=tally, change=change)


@dataclass(frozen=True)
class _Choice:
    """What was chosen on one half of the images, to be counted on the other."""

    change: PixelChange
    renaming: tuple[int, ...] | None


class _ComparedTest:
    """The test images that are compared with validation, in two halves: each chooses for the other.

    Args:
        compared: positions of these images in the test split.
    """

    def __init__(
        self, predictor: ImagePredictor, data: TrainingData, answers: Answers, compared: NDArray[np.int64]
    ) -> None:
        self._predictor = predictor
        self._data = data
        labels = answers.labels[compared]
        positions = [compared[half] for half in halves_of(labels)]
        self._rows = [data.rows["test"][half] for half in positions]
        self._as_they_are = [answers.of(half) for half in positions]
        self._changed: dict[tuple[int, PixelChange], Answers] = {}

    def undone(
        self, validation: NDArray[np.int64], *, try_pixels: bool
    ) -> tuple[PixelsUndone | None, LabelsRenamed | None]:
        """The images with their pixels brought back, and then under renamed labels; null where nothing was chosen."""
        if not all(map(len, self._as_they_are)):
            return None, None
        candidates = self._candidates() if try_pixels else ([], [])
        choices = [self._choice(half, candidates[half], validation) for half in (0, 1)]
        chosen = choices[::-1]  # for each half by the other
        undone = [self._under(half, chosen[half].change) for half in (0, 1)]
        pixels = labels = None
        if any(choice.change.kind != "none" for choice in chosen):
            pixels = _pixels_undone(chosen, self._as_they_are, undone)
            if pixels is None:
                return None, None
        if any(choice.renaming for choice in chosen):
            renamed = [undone[half].under(chosen[half].renaming) for half in (0, 1)]
            labels = labels_renamed((chosen[0].renaming, chosen[1].renaming), undone, renamed)
        return pixels, labels

    def _candidates(self) -> tuple[list[PixelChange], list[PixelChange]]:
        """For each half the changes that are worth trying on it."""
        value_range = self._data.value_range
        train = sample_of(self._predictor.source, self._data.rows["train"])
        halves = [sample_of(self._predictor.source, rows) for rows in self._rows]
        kinds = changes_worth_trying(train, halves[0].with_images_of(halves[1]), value_range)
        one, two = ([find_change(kind, train, half, value_range) for kind in kinds] for half in halves)
        return [change for change in one if change], [change for change in two if change]

    def _choice(self, half: int, candidates: list[PixelChange], validation: NDArray[np.int64]) -> _Choice:
        """The simplest change that no other one is surely better than, on this half.

        Each is judged under the names of classes that fit it best: right pixels make wrong answers of wrong labels.
        """
        usual = usual_renamings(self._data.classes)
        chosen = _Choice(PixelChange(), chosen_renaming(self._as_they_are[half], validation, usual))
        best = self._as_they_are[half].under(chosen.renaming)
        for change in candidates:
            answers = self._under(half, change)
            renaming = chosen_renaming(answers, validation, usual)
            if surely_better(best, answers.under(renaming), max_p=MAX_CHANCE):
                chosen, best = _Choice(change, renaming), answers.under(renaming)
        return chosen

    def _under(self, half: int, change: PixelChange) -> Answers:
        if change.kind == "none":
            return self._as_they_are[half]
        if (half, change) not in self._changed:
            said = self._predictor.predict(self._rows[half], change)
            self._changed[half, change] = Answers.to(self._as_they_are[half].labels, said)
        return self._changed[half, change]


def _pixels_undone(chosen: list[_Choice], before: list[Answers], after: list[Answers]) -> PixelsUndone | None:
    undone, halves = undone_half(joined(*before), joined(*after)), undone_halves(before, after)
    if undone is None or halves is None:
        return None
    one, two = (choice.change for choice in chosen)
    return PixelsUndone(
        choices=(one.kind, two.kind),
        parameters=(one.parameters, two.parameters),
        tally=undone.tally,
        change=undone.change,
        halves=halves,
    )
