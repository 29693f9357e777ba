"""Measures the terms of a training's gap at its end: `gap.json`.

The order in which they are measured is that of docs/explanation/gap.md.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis.answers.answers import Answers, Predictions, divide_by_copies, split_into_halves, tally_pairs
from analysis.answers.renamed_labels import count_confusion
from analysis.answers.temperature import measure_calibration
from analysis.answers.training_labels import count_contradictions, divide_losses, sort_answers
from analysis.arrays.file_names import FileNames, group_names
from analysis.arrays.relations import HeldOutRelations, Relations, find_twin_labels
from heldout.statistics import compute_newcombe_interval
from heldout.stored.gap import AnswersToTraining, BestEpoch, GapOnTest, StoredGap
from worker.training.data.training_data import TrainingData
from worker.training.engine.checkpoint import LossSums
from worker.training.engine.training_policy import TrainedWeights
from worker.training.measuring.compared_split import ComparedSplit, ImagePredictor, ValidationLikeTest
from worker.training.measuring.pixel_changes import PixelSample, spread_evenly
from worker.training.measuring.predictor import Predictor

# Share of the training images that the weights of the best epoch answer, for each epoch of the training. An epoch of
# training takes about four times as long as answering all images, so this is little over 1% of a training's time.
ASKED_PER_EPOCH = 0.05
# Test must surely be worse than validation by this much before turned and mirrored images are looked for.
MIN_LOSS_TO_TURN = 0.05


def measure_gap(
    predictor: Predictor,
    data: TrainingData,
    weights: TrainedWeights,
    kept: Mapping[str, Predictions],
    relations: Relations | None,
    *,
    try_pixels: bool = True,
    losses: LossSums | None = None,
    names: FileNames | None = None,
) -> StoredGap | None:
    """Measure the terms of a training's gap.

    Args:
        predictor: of the exported model; it has the kept weights before and after.
        data: of the training; its images are not read, they are in the predictor's source.
        weights: `Trainer.get_trained_weights()`.
        kept: the answers of the kept weights to each split, in the order of its rows. `test` is missing if it is never
        measured, and `validation` if it is trained on.
        relations: of the whole dataset; None if its copies are unknown.
        try_pixels: False if there is no time for more predictions of the test split.
        losses: of the training images; None if they are unknown.
        names: of all the dataset's images; None if they have none.
    Returns:
        None if nothing is held out, if there are no training images, if the job's validation split is empty, or if
        losses are not finite.
    """
    answers = {split: data.make_answers(split, predictions) for split, predictions in kept.items()}
    tallies = {split: predictions.tally() for split, predictions in answers.items()}
    if len(answers) < 2 or None in (tallies["train"], tallies.get("validation", 0)):
        return None
    related = relate_held_out(relations, data, names)
    reference, of_validation, train = answers["train"], dict[str, Any](), None
    if "validation" in answers:
        reference = answers["validation"]
        others = _answer_with_other_weights(predictor, data, weights, reference)
        copies = related.get("validation")
        of_validation = {
            "early_training_answers": _answer_training_early(predictor, data, weights),
            "early_validation_answers": sort_answers(others.get(weights.best_by_loss), weights.best_by_loss),
            "validation_answers": sort_answers(reference, weights.kept),
            "best_by_loss": _compare_best_epoch(weights.best_by_loss, others, reference),
            "best_by_accuracy": _compare_best_epoch(weights.best_by_accuracy, others, reference),
            "last": tally_pairs(reference, others[weights.epochs]) if weights.epochs in others else None,
            "validation_copies": divide_by_copies(reference, copies),
            "calibration": measure_calibration(
                reference.log_probabilities(), reference.labels, split_into_halves(reference.labels)
            ),
        }
        if try_pixels:
            validation = ComparedSplit(predictor, data, "validation", reference, copies)
            of_validation["validation_pixels"], _ = validation.undone(None, try_pixels=True)
            # Its answers show what the labels of test mean.
            reference, train = validation.answers, validation.train
    gap = StoredGap(
        kept_epoch=weights.kept,
        epochs=weights.epochs,
        train=tallies["train"],
        validation=tallies.get("validation"),
        test=None,
        training_answers=count_contradictions(answers["train"], weights.kept, len(data.classes)),
        training_losses=None if losses is None else divide_losses(losses.sums, losses.epochs),
        **of_validation,
    )
    if "test" not in answers:
        return gap
    on_test = measure_test(predictor, data, answers, reference, related, try_pixels=try_pixels, train=train)
    return gap.add_test(on_test.model_copy(update={"test_answers": sort_answers(answers["test"], weights.kept)}))


def measure_test(
    predictor: ImagePredictor,
    data: TrainingData,
    answers: Mapping[str, Answers],
    reference: Answers,
    related: Mapping[str, HeldOutRelations],
    *,
    try_pixels: bool = True,
    train: PixelSample | None = None,
) -> GapOnTest:
    """Measure what test shows of a gap: the parts due to copies, pixel values, lost quality, and class names.

    Args:
        predictor: answers with the kept weights, on the images of `data.rows`: `train` and `test` among them.
        answers: of each split, in the order of its rows; `test` is one of them.
        reference: answers to images with correct labels: those of validation, else of training.
        related: of each held-out split; empty if unknown.
        train: a sample of the training images; None if it is not known yet.
    """
    on_test, copies, validation = answers["test"], related.get("test"), answers.get("validation")
    tally, pixels, labels, quality = on_test.tally(), None, None, None
    if tally is not None:
        # With its pixels undone, validation itself is an estimate.
        is_known = try_pixels and reference is validation
        like_test = ValidationLikeTest(predictor, data, reference, related.get("validation")) if is_known else None
        test = ComparedSplit(predictor, data, "test", on_test, copies, train)
        if like_test is not None and like_test.lost is not None and like_test.lost.kind == "noise":
            test.is_noisy = True
        pixels, labels = test.undone(
            count_confusion(reference, len(data.classes)),
            try_pixels=try_pixels,
            try_turns=try_pixels and validation is not None and _is_far_below(on_test, reference),
        )
        if like_test is not None:
            quality = like_test.measure(test.change)
    if quality is not None and copies is not None and quality.kind != "compression" and not copies.is_related.any():
        copies = None  # such images are not recognized as copies
    return GapOnTest(
        test=tally, test_copies=divide_by_copies(on_test, copies), pixels=pixels, labels=labels, quality=quality
    )


def _is_far_below(test: Answers, reference: Answers) -> bool:
    """Return whether test is surely answered worse, by enough that turned or mirrored images may be the reason."""
    right, wrong = ((int(answers.right.sum()), len(answers)) for answers in (reference, test))
    return compute_newcombe_interval(right, wrong)[0] > MIN_LOSS_TO_TURN


def relate_held_out(
    relations: Relations | None, data: TrainingData, names: FileNames | None
) -> Mapping[str, HeldOutRelations]:
    """Return what is known of each held-out split, with the groups that file names suggest. Empty without relations."""
    if relations is None:
        return {}
    found = find_related_images(relations, data.source, data.labels[data.rows["train"]])
    named = None if names is None else group_names([names[row] for row in range(len(names))], len(data.classes))
    if named is None:
        return found
    rule, _, groups = named
    return {split: replace(of, named=groups[data.source[split]], named_by=rule) for split, of in found.items()}


def find_related_images(
    relations: Relations, source: Mapping[str, NDArray[np.int64]], train_labels: NDArray[np.int32] | None = None
) -> dict[str, HeldOutRelations]:
    """Return for each held-out split which of its images are related to training images, and to each other.

    Args:
        source: the positions of each split's images in the dataset.
        train_labels: of the training images; None if they do not matter.
    """
    everything = relations.find_related(source["train"])
    copies = Relations(relations.copy_of).find_related(source["train"])
    found, units = {}, relations.units()
    for split in source.keys() - {"train"}:
        rows = source[split]
        # Groups that contain a whole split, such as one camera, leave nothing to compare.
        related = copies[rows] if everything[rows].all() else everything[rows]
        twins = None
        if train_labels is not None:
            twins = find_twin_labels(relations.copy_of, rows, source["train"], train_labels)
        found[split] = HeldOutRelations(related, units[rows], twins)
    return found


def _answer_with_other_weights(
    predictor: Predictor, data: TrainingData, weights: TrainedWeights, kept: Answers
) -> dict[int, Answers]:
    """Return the answers of other epochs' weights to the validation images, by epoch."""
    answers = {}
    for epoch in {weights.best_by_loss, weights.best_by_accuracy, weights.epochs} - {weights.kept}:
        if epoch in weights.of_epoch:
            predictor.use(weights.of_epoch[epoch])
            answers[epoch] = Answers.to(kept.labels, predictor.predict(data.rows["validation"]))
    predictor.use(weights.of_epoch[weights.kept])
    return answers


def _answer_training_early(
    predictor: Predictor, data: TrainingData, weights: TrainedWeights
) -> AnswersToTraining | None:
    """Ask the weights with the lowest validation loss about training images; None if they are the kept ones."""
    epoch = weights.best_by_loss
    if epoch == weights.kept or epoch not in weights.of_epoch:
        return None
    count = len(data.rows["train"])
    asked = data.rows["train"][spread_evenly(count, max(1, round(ASKED_PER_EPOCH * weights.epochs * count)))]
    predictor.use(weights.of_epoch[epoch])
    answers = Answers.to(data.labels[asked], predictor.predict(asked))
    predictor.use(weights.of_epoch[weights.kept])
    return count_contradictions(answers, epoch, len(data.classes))


def _compare_best_epoch(epoch: int, others: Mapping[int, Answers], kept: Answers) -> BestEpoch | None:
    if epoch not in others:
        return None
    tally, change = others[epoch].tally(), tally_pairs(kept, others[epoch])
    return None if tally is None or change is None else BestEpoch(epoch=epoch, validation=tally, change=change)
