"""Measures a model that was trained elsewhere on every split of a dataset, in the same way as a job's kept weights.

A model may expect pixels from 0 to 1, or channels in another order. The change of pixels that it needs is found from
training images only.
"""

import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from analysis.answers.answers import Answers, Predictions, divide_by_copies, is_surely_better, split_into_halves
from analysis.answers.metrics import measure_split
from analysis.answers.temperature import measure_calibration
from analysis.answers.training_labels import count_contradictions
from analysis.arrays.dataset import SPLITS, load
from analysis.arrays.relations import HeldOutRelations, load_known_relations
from heldout.lifecycle.resources import ModelFormat, ModelRejectionCode
from heldout.spec.model_facts import ModelFacts
from heldout.stored.evaluation import StoredEvaluation
from heldout.stored.gap import StoredGap
from heldout.stored.results import Measurement, Preprocessing, SplitsResult
from worker.training.data.training_data import BatchSource, TrainingData, make_source, take_images
from worker.training.measuring.evaluate import (
    build_evaluation,
    build_final_figures,
    measure_columns,
    measure_predictions,
    read_image_names,
)
from worker.training.measuring.gap import measure_test, relate_held_out
from worker.training.measuring.pixel_changes import PixelChange, change_images, spread_evenly
from worker.training.model_files.refusal import ModelRefused, make_one_number_refusal
from worker.training.networks.backbone import CAFFE_MEANS, IMAGENET_MEAN, IMAGENET_SPREAD
from worker.training.uploaded_models.keras_model import KerasAnswers
from worker.training.uploaded_models.onnx_model import OnnxAnswers

# Training images that are used; half of them choose, and the other half confirms.
MAX_IMAGES = 2000
# The least effect of a change that matters: this share of wrong images become right, or at most this share of the loss
# remains. That must also be less than the loss of guessing. Training made the loss small on the pixels that it saw;
# networks without large biases give similar answers on another pixel scale, but with too high or too low confidence.
MIN_GAIN = 0.03
MAX_LOSS_LEFT = 0.6
# Probability that a change looks better by chance alone.
MAX_CHANCE = 0.01

_IN_WORDS = {
    "as_given": "the values as they are",
    "unit": "pixels from 0 to 1",
    "symmetric": "pixels from −1 to 1",
    "bytes": "pixels from 0 to 255",
    "standardised": "pixels with mean 0 and spread 1",
    "imagenet": "pixels normalized by ImageNet's mean and spread",
    "caffe": "pixels from 0 to 255 less ImageNet's means",
    "inverted": "light and dark swapped",
    "inverted_unit": "light and dark swapped, from 0 to 1",
}


_Numbers = float | NDArray[np.float64]  # one for all channels, or one for each


def list_candidates(value_range: tuple[float, float], sample: NDArray[np.float32]) -> list[Preprocessing]:
    """List changes that a model's training may have made to pixels, the most common first; none without effect.

    Args:
        value_range: the dataset's lowest and highest pixel value.
        sample: (images, height, width, channels) of training.
    """
    low, high = map(float, value_range)
    channels = sample.shape[-1]
    unit = 1 / (high - low), -low / (high - low)
    flat = sample.reshape(-1, channels).astype(np.float64)
    spread = np.maximum(flat.std(axis=0), 1e-6 * (high - low))
    changes: dict[str, tuple[_Numbers, _Numbers]] = {
        "as_given": (1.0, 0.0),
        "unit": unit,
        "symmetric": (2 * unit[0], 2 * unit[1] - 1),
        "bytes": (255 * unit[0], 255 * unit[1]),
        "standardised": (1 / spread, -flat.mean(axis=0) / spread),
        "inverted": (-1.0, low + high),
        "inverted_unit": (-unit[0], 1 - unit[1]),
    }
    if channels == 3:
        changes["imagenet"] = unit[0] / IMAGENET_SPREAD, (unit[1] - IMAGENET_MEAN) / IMAGENET_SPREAD
        changes["caffe"] = 255 * unit[0], 255 * unit[1] - CAFFE_MEANS
    found, seen = list[Preprocessing](), {_make_numbers(1.0, 0.0, channels, is_reversed=False)}
    for is_reversed in (False, True) if channels == 3 else (False,):
        for kind, (factor, offset) in changes.items():
            numbers = _make_numbers(factor, offset, channels, is_reversed=is_reversed)
            if numbers not in seen:
                seen.add(numbers)
                words = _IN_WORDS[kind] + (", channels in the order blue, green, red" if is_reversed else "")
                if kind == "as_given":
                    words = "channels in the order blue, green, red"
                candidate = Preprocessing(
                    kind=kind,
                    reversed_channels=is_reversed,
                    factor=numbers[1],
                    offset=numbers[2],
                    value_range=(low, high),
                    in_words=words,
                )
                found.append(candidate)
    return found


def _make_numbers(
    factor: _Numbers, offset: _Numbers, channels: int, *, is_reversed: bool
) -> tuple[bool, tuple[float, ...], tuple[float, ...]]:
    factors, offsets = (tuple(np.broadcast_to(value, channels).astype(float).tolist()) for value in (factor, offset))
    return is_reversed, factors, offsets


def prepare_images(images: NDArray[np.float32], change: Preprocessing | None) -> NDArray[np.float32]:
    """Convert (…, channels) pixels to what the model expects."""
    if change is None:
        return images
    ordered = images[..., ::-1] if change.reversed_channels else images
    return (ordered * np.asarray(change.factor, np.float32) + np.asarray(change.offset, np.float32)).astype(np.float32)


def choose_preprocessing(
    labels: NDArray[np.int32],
    answers_under: Callable[[Preprocessing | None], Answers],
    tried: Sequence[Preprocessing],
) -> Preprocessing | None:
    """Return the change under which a model certainly gets more training images right; None if it needs none.

    Args:
        labels: (images,) of the sample.
        answers_under: returns the model's answers to the sample under a change.
        tried: `list_candidates`.
    """
    choosing, confirming = split_into_halves(labels)
    as_given = answers_under(None)
    if not len(confirming):
        return None
    best, of_best = None, as_given
    for change in tried:  # the simplest one that no other clearly improves on
        answers = answers_under(change)
        if is_surely_better(of_best.of(choosing), answers.of(choosing), max_p=MAX_CHANCE):
            best, of_best = change, answers
    if best is None:
        return None
    before, after = as_given.of(confirming), of_best.of(confirming)
    gain = float(after.right.mean() - before.right.mean())
    loss, of_guessing = float(after.losses.mean()), float(np.log(len(np.unique(labels))))
    matters = gain >= MIN_GAIN or loss <= min(of_guessing, MAX_LOSS_LEFT * float(before.losses.mean()))
    return best if matters and is_surely_better(before, after, max_p=MAX_CHANCE) else None


_BATCH_SIZE = 64
# Smaller probabilities count as this one, as in Keras' own cross-entropy.
_SMALLEST = 1e-7
# How far the sum of one image's answers may be from 1 if they are probabilities.
_MAX_ROUNDING = 1e-3


def measure_model(
    model: Path,
    facts: ModelFacts,
    dataset: Path,
    target: Path,
    *,
    relations: Path | None,
    looks: Path | None,
    names: Path | None,
    columns: Path | None,
    resident_bytes: int | None,
) -> Measurement:
    """Measure the model, and write `evaluation.json` and `gap.json` into `target`.

    Args:
        relations, looks, names, columns: files of the dataset; None if it has none.
    Raises:
        ModelRefused: if the file can no longer be read.
    """
    images = load(dataset)
    source = {split: np.asarray(images.splits[split], np.int64) for split in SPLITS}
    data = take_images(images, {split: rows for split, rows in source.items() if len(rows)}, resident_bytes)
    answers = KerasAnswers(model) if facts.format is ModelFormat.KERAS else OnnxAnswers(model)
    answering = UploadedModel(answers, make_source(data), data)
    given = answering.predict_all()
    answering.preprocessing = _find_needed(answering)
    predicted = given if answering.preprocessing is None else answering.predict_all()
    known_names = read_image_names(names, data)
    scores = build_evaluation(
        data,
        {split: predictions.probabilities for split, predictions in predicted.items()},
        names=known_names,
        columns=measure_columns(columns, data, predicted),
    )
    (target / StoredEvaluation.file_name).write_bytes(scores.to_bytes())
    related = relate_held_out(load_known_relations(relations, looks), data, known_names)
    gap = _measure_gap(answering, data, predicted, related)
    if gap is not None:
        (target / StoredGap.file_name).write_bytes(gap.to_bytes())
    return Measurement(
        metrics=_build_figures(data, predicted),
        preprocessing=answering.preprocessing,
        as_given=None if answering.preprocessing is None else _build_figures(data, given),
    )


class UploadedModel:
    """Returns a model's answers to raw images of a dataset; used by `worker.training.measuring.gap`.

    preprocessing: the change applied to pixels first.
    """

    def __init__(
        self, answers: Callable[[NDArray[np.float32]], NDArray[np.float32]], source: BatchSource, data: TrainingData
    ) -> None:
        self.source = source
        self.data = data
        self.preprocessing: Preprocessing | None = None
        self._answers = answers
        self._gives_logits = bool(getattr(answers, "gives_logits", False))
        self._may_be_probabilities = True  # until an answer shows otherwise

    def predict_all(self) -> dict[str, Predictions]:
        """Return its answers to each split. Raises ModelRefused if they are not finite."""
        predicted = {split: self.predict(rows) for split, rows in self.data.rows.items()}
        if not all(np.isfinite(predictions.losses).all() for predictions in predicted.values()):
            raise ModelRefused(
                ModelRejectionCode.CANNOT_ANSWER,
                "The model gives figures that are not finite on the dataset's images.",
            )
        return predicted

    def predict(self, rows: NDArray[np.int32], change: PixelChange | None = None) -> Predictions:
        """Return its answers to the images in `rows`, with their pixels under `change`."""
        return self._measure(self._compute_figures(rows, change), self.data.labels[rows])

    def predict_images(self, images: NDArray[np.float32], labels: NDArray[np.int32]) -> Predictions:
        """Return its answers to raw images (count, height, width, channels) with these labels."""
        return self._measure(self._answers(prepare_images(images, self.preprocessing)), labels)

    def _measure(self, figures: NDArray[np.float32], labels: NDArray[np.int32]) -> Predictions:
        logs = self._log_probabilities(figures)
        losses = -logs[np.arange(len(labels)), labels]
        return Predictions(np.exp(logs).astype(np.float32), losses.astype(np.float32))

    def _compute_figures(self, rows: NDArray[np.int32], change: PixelChange | None) -> NDArray[np.float32]:
        """Return (images, figures) as the model outputs them."""
        parts = []
        value_range, channels = self.data.value_range, self.data.image[2]
        tensors = None if change is None else change.make_tensors(channels, value_range)
        self.source.expect(rows, _BATCH_SIZE)
        for begin in range(0, len(rows), _BATCH_SIZE):
            pixels = tf.cast(self.source.pixels(tf.constant(rows[begin : begin + _BATCH_SIZE])), tf.float32)
            if tensors is not None:
                pixels = change_images(pixels, *tensors)
            parts.append(self._answers(prepare_images(pixels.numpy(), self.preprocessing)))
        return np.concatenate(parts)

    def _log_probabilities(self, figures: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return (images, classes) log probabilities, from probabilities or logits."""
        values = figures.astype(np.float64)
        if not self._gives_logits and self._may_be_probabilities and np.isfinite(values).all():
            self._may_be_probabilities = _are_probabilities(values)
        if not self._gives_logits and not self._may_be_probabilities and values.shape[1] == 1:
            raise make_one_number_refusal()
        if self._gives_logits or not self._may_be_probabilities:
            logits = np.concatenate([np.zeros_like(values), values], axis=1) if values.shape[1] == 1 else values
            from scipy.special import log_softmax

            return log_softmax(logits, axis=1)
        both = np.concatenate([1 - values, values], axis=1) if values.shape[1] == 1 else values
        shares = np.clip(both, _SMALLEST, None)
        return np.asarray(np.log(shares / shares.sum(axis=1, keepdims=True)))


def _are_probabilities(values: NDArray[np.float64]) -> bool:
    if np.min(values) < 0 or np.max(values) > 1 + _MAX_ROUNDING:
        return False
    return values.shape[1] == 1 or bool(np.abs(values.sum(axis=1) - 1).max() < _MAX_ROUNDING)


def _find_needed(model: UploadedModel) -> Preprocessing | None:
    """Find the change of pixels that the model needs for the dataset."""
    data = model.data
    rows = data.rows["train"]
    # Evenly spaced, because images are often sorted by class.
    rows = rows[spread_evenly(len(rows), MAX_IMAGES)]
    pixels = np.asarray(data.images[rows], np.float32)
    labels = data.labels[rows]

    def answer_under(change: Preprocessing | None) -> Answers:
        model.preprocessing = change
        return Answers.to(labels, model.predict(rows))

    try:
        return choose_preprocessing(labels, answer_under, list_candidates(data.value_range, pixels))
    finally:
        model.preprocessing = None


def _build_figures(data: TrainingData, predicted: dict[str, Predictions]) -> SplitsResult:
    measured = {
        split: measure_predictions(predictions.losses, predictions.probabilities, data.labels[data.rows[split]])
        for split, predictions in predicted.items()
    }
    metrics = {
        split: measure_split(data.make_answers(split, predictions))
        for split, predictions in predicted.items()
        if len(data.rows[split])
    }
    final = build_final_figures(0, measured, metrics)
    return SplitsResult(train=final.train, validation=final.validation, test=final.test, gap=final.gap)


def _measure_gap(
    model: UploadedModel, data: TrainingData, predicted: dict[str, Predictions], related: Mapping[str, HeldOutRelations]
) -> StoredGap | None:
    """Compute the terms of the gap that one set of weights shows."""
    answers = {split: data.make_answers(split, predictions) for split, predictions in predicted.items()}
    of_train = answers["train"].tally()
    if of_train is None or len(answers) < 2:
        return None
    validation = answers.get("validation")
    held_out = answers["test"] if validation is None else validation
    gap = StoredGap(
        kept_epoch=0,
        epochs=0,
        train=of_train,
        validation=None if validation is None else validation.tally(),
        test=None,
        validation_copies=None if validation is None else divide_by_copies(validation, related.get("validation")),
        calibration=measure_calibration(
            held_out.log_probabilities(),
            held_out.labels,
            split_into_halves(held_out.labels),
            "test" if validation is None else "validation",
        ),
        training_answers=count_contradictions(answers["train"], 0, len(data.classes)),
    )
    if "test" not in answers:
        return gap
    reference = answers["train"] if validation is None else validation
    try:
        return gap.add_test(measure_test(model, data, answers, reference, related))
    except Exception:  # noqa: BLE001 - the figures matter more than their explanation
        traceback.print_exc()
        return gap
