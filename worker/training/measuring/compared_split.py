"""Compares a held-out split with what it would be without changed pixels, renamed classes, or lost quality.

Changed pixels (turned and mirrored images among them) and renamed classes are undone, in two halves: each half chooses
for the other. Blur, noise, compression and enlargement cannot be undone, and need not be: validation images are changed
in the same way and answered again by the same weights.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from analysis.answers.answers import (
    Answers,
    Predictions,
    compare_renamed_labels,
    compare_undone,
    is_surely_better,
    join_answers,
    split_into_halves,
    tally_pairs,
)
from analysis.answers.renamed_labels import choose_renaming
from analysis.arrays.image_quality import MAX_IMAGES as MAX_COMPARED_IMAGES
from analysis.arrays.image_quality import Bytes, Degradation, degrade, find_degradation
from analysis.arrays.relations import HeldOutRelations
from heldout.diagnosis.renaming import list_usual_renamings
from heldout.stored.gap import TURNS, HeldOutName, LabelsRenamed, PixelsUndone, QualityLost
from worker.training.data.training_data import BatchSource, TrainingData
from worker.training.measuring.altered_images import KINDS, MIN_SHARE, find_altered
from worker.training.measuring.pixel_changes import (
    MAX_IMAGES,
    MIN_SUSPECT_SIGMAS,
    PixelChange,
    PixelSample,
    ValueChange,
    change_images,
    find_change,
    list_changes_to_try,
    measure_distance_left,
    sample_of,
    spread_evenly,
)

# Probability that a change of pixels looks better by chance alone.
MAX_CHANCE = 0.01
# The same for each half of a split that is turned or mirrored: several turns are tried, and pixels hardly show them.
MAX_CHANCE_OF_TURN = 0.001
# The same for a change of the images that look altered, if it brings the split nearer to training.
MAX_CHANCE_OF_SHOWN = 0.05


class ImagePredictor(Protocol):
    """Returns a model's answers to the images in rows of its source, with their pixels under a change; or to others."""

    source: BatchSource

    def predict(self, rows: NDArray[np.int32], change: PixelChange | None = None) -> Predictions: ...

    def predict_images(self, images: NDArray[np.float32], labels: NDArray[np.int32]) -> Predictions: ...


@dataclass(frozen=True)
class _Candidate:
    """A change of pixels that is worth trying. share: the share of altered images; None for all."""

    change: PixelChange
    share: float | None = None


@dataclass(frozen=True)
class _Choice:
    """The choice made on one half of the images, to be counted on the other."""

    candidate: _Candidate
    renaming: tuple[int, ...] | None


_AS_IT_IS = _Candidate(PixelChange())


class ComparedSplit:
    """The images of a held-out split without copies, in two halves: each chooses for the other.

    Args:
        answers: for the whole split, in the order of its rows.
        related: of its images; None if unknown.
        train: a sample of the training images; None if it is not known yet.
    Attributes:
        answers: for the whole split, or for its compared images with their pixels undone.
        train: the sample of the training images, once pixels were tried.
        is_noisy: whether its images are known to be noisy. Noise that is cut off looks like another brightness.
        change: undoes the pixel values of the split; None if its halves disagree, or only some images are changed.
    """

    def __init__(
        self,
        predictor: ImagePredictor,
        data: TrainingData,
        split: HeldOutName,
        answers: Answers,
        related: HeldOutRelations | None,
        train: PixelSample | None = None,
    ) -> None:
        self.answers = answers
        self.train = train
        self.is_noisy = False
        self.change: PixelChange | None = PixelChange()
        self._predictor = predictor
        self._data = data
        # If all images have copies, there is nothing else to compare.
        clean = np.empty(0, np.int64) if related is None else np.flatnonzero(~related.is_related)
        compared = clean if len(clean) else np.arange(len(answers))
        labels = answers.labels[compared]
        positions = [compared[half] for half in split_into_halves(labels)]
        self._rows = [data.rows[split][half] for half in positions]
        self._as_they_are = [answers.of(half) for half in positions]
        self._changed: dict[tuple[int, _Candidate], Answers] = {}
        self._altered: dict[tuple[int, _Candidate], NDArray[np.bool_]] = {}

    def undone(
        self, validation: NDArray[np.int64] | None, *, try_pixels: bool, try_turns: bool = False
    ) -> tuple[PixelsUndone | None, LabelsRenamed | None]:
        """Count the images with their pixels undone, and then under renamed labels; null if nothing was chosen.

        validation: None to rename nothing.
        try_turns: whether images that are turned or mirrored are looked for, too: a pass over the split for each turn.
        """
        if not all(map(len, self._as_they_are)):
            return None, None
        shown, candidates = self._list_candidates() if try_pixels else ([], ([], []))
        start = next(filter(self._seems_better, shown), _AS_IT_IS)
        turned = self._find_turn() if try_turns and start == _AS_IT_IS else []
        choices = [self._choose(half, start, [*candidates[half], *turned], validation) for half in (0, 1)]
        chosen = choices[::-1]  # for each half by the other
        undone = [self._answer_under(half, chosen[half].candidate) for half in (0, 1)]
        pixels = labels = None
        if any(choice.candidate != _AS_IT_IS for choice in chosen):
            pixels = _measure_pixels_undone(chosen, self._as_they_are, undone)
            if pixels is None:
                return None, None
            self.answers = join_answers(*undone)
            first, second = (choice.candidate for choice in chosen)
            is_known = first.change.kind == second.change.kind and first.share is second.share is None
            self.change = first.change if is_known else None
        if any(choice.renaming for choice in chosen):
            renamed = [undone[half].under(chosen[half].renaming) for half in (0, 1)]
            labels = compare_renamed_labels((chosen[0].renaming, chosen[1].renaming), undone, renamed)
        return pixels, labels

    def _list_candidates(self) -> tuple[list[_Candidate], tuple[list[_Candidate], list[_Candidate]]]:
        """Return changes of images that look altered, nearest first, and for each half others that are worth trying."""
        value_range, source = self._data.value_range, self._predictor.source
        train = self.train = self.train or sample_of(source, self._data.rows["train"], value_range)
        halves = [sample_of(source, rows, value_range) for rows in self._rows]
        both = halves[0].add_images_of(halves[1])
        kinds = [kind for kind in list_changes_to_try(train, both) if not (self.is_noisy and kind == "brightness")]
        first, second = ([find_change(kind, train, half) for kind in kinds] for half in halves)
        shown = list[tuple[float, _Candidate]]()
        is_suspect = train.differs_from(both, MIN_SUSPECT_SIGMAS)
        for kind in KINDS if is_suspect else ():
            candidate = self._make_candidate_of_some(kind, train)
            if candidate is not None:
                images = [
                    self._find_images(half, candidate)[spread_evenly(len(rows), MAX_IMAGES)]
                    for half, rows in enumerate(self._rows)
                ]
                undone = both.under(candidate.change, np.concatenate(images))
                shown.append((measure_distance_left(train, both, undone), candidate))
        shown.sort(key=lambda pair: pair[0])
        nearest = [candidate for left, candidate in shown if left < 1]
        return nearest, ([*map(_Candidate, filter(None, first))], [*map(_Candidate, filter(None, second))])

    def _find_turn(self) -> list[_Candidate]:
        """Return the turn that makes most answers right, if it makes those of both halves surely better."""
        height, width = self._data.images.shape[1:3]
        better = list[tuple[int, _Candidate]]()
        for turn in TURNS if height == width else ("upside_down", "flip_vertical", "flip_horizontal"):
            candidate = _Candidate(PixelChange(turn))
            after = [self._answer_under(half, candidate) for half in (0, 1)]
            pairs = zip(self._as_they_are, after, strict=True)
            if all(is_surely_better(*pair, max_p=MAX_CHANCE_OF_TURN) for pair in pairs):
                better.append((sum(int(answers.right.sum()) for answers in after), candidate))
        return [max(better, key=lambda pair: pair[0])[1]] if better else []

    def _make_candidate_of_some(self, kind: ValueChange, train: PixelSample) -> _Candidate | None:
        """Return the change of the images that look altered; None if there may be none."""
        rows, value_range = np.concatenate(self._rows), self._data.value_range
        change = find_change(kind, train, train)
        if change is None:
            return None
        found = find_altered(self._predictor.source, self._data.rows["train"], rows, change, value_range)
        if found is None:
            return None
        altered, share = found
        if share > 1 - MIN_SHARE:
            return _Candidate(change)
        candidate = _Candidate(change, share)
        for half, images in enumerate(np.split(altered, [len(self._rows[0])])):
            self._altered[half, candidate] = images
        return candidate

    def _find_images(self, half: int, candidate: _Candidate) -> NDArray[np.bool_]:
        """Return (images of the half,) whether the candidate changes each."""
        return self._altered.get((half, candidate), np.ones(len(self._rows[half]), bool))

    def _seems_better(self, candidate: _Candidate) -> bool:
        """Return whether the network answers the changed images better; the pixels have shown that they are altered."""
        after = [self._answer_under(half, candidate) for half in (0, 1)]
        return is_surely_better(join_answers(*self._as_they_are), join_answers(*after), max_p=MAX_CHANCE_OF_SHOWN)

    def _choose(
        self, half: int, start: _Candidate, candidates: list[_Candidate], validation: NDArray[np.int64] | None
    ) -> _Choice:
        """Return the simplest change to which no other is certainly superior on this half.

        Each is judged under the class names that fit it best: with wrong labels, right pixels give wrong answers.
        """
        best = self._answer_under(half, start)
        chosen = _Choice(start, self._choose_renaming(best, validation))
        best = best.under(chosen.renaming)
        for candidate in candidates:
            answers = self._answer_under(half, candidate)
            renaming = self._choose_renaming(answers, validation)
            if is_surely_better(best, answers.under(renaming), max_p=MAX_CHANCE):
                chosen, best = _Choice(candidate, renaming), answers.under(renaming)
        return chosen

    def _choose_renaming(self, answers: Answers, validation: NDArray[np.int64] | None) -> tuple[int, ...] | None:
        if validation is None:
            return None
        return choose_renaming(answers, validation, list_usual_renamings(self._data.classes))

    def _answer_under(self, half: int, candidate: _Candidate) -> Answers:
        before = self._as_they_are[half]
        if candidate == _AS_IT_IS:
            return before
        if (half, candidate) not in self._changed:
            altered = self._find_images(half, candidate)
            predictions = self._predictor.predict(self._rows[half][altered], candidate.change)
            after = Answers.to(before.labels[altered], predictions)
            self._changed[half, candidate] = before.replace_some(altered, after)
        return self._changed[half, candidate]


def _measure_pixels_undone(chosen: list[_Choice], before: list[Answers], after: list[Answers]) -> PixelsUndone | None:
    compared = compare_undone(before, after)
    if compared is None:
        return None
    whole, halves = compared
    first, second = (choice.candidate for choice in chosen)
    return PixelsUndone(
        choices=(first.change.kind, second.change.kind),
        parameters=(first.change.parameters, second.change.parameters),
        tally=whole.tally,
        change=whole.change,
        halves=halves,
        share=first.share if first != _AS_IT_IS else second.share,
    )


_BATCH = 64
# Changes of pixel values after whose undoing the detail of images is as it was.
_KEEPS_DETAIL = ("none", "inversion", "channel_order", "brightness", *TURNS)


class ValidationLikeTest:
    """The validation images (without copies) of a job, and what makes them like its test images.

    Args:
        validation: the answers to the validation images, in the order of its rows.
        related: of the validation images; None if unknown.
    Attributes:
        lost: what the test images have lost, whatever their pixel values mean; None if nothing.
    """

    def __init__(
        self, predictor: ImagePredictor, data: TrainingData, validation: Answers, related: HeldOutRelations | None
    ) -> None:
        clean = np.empty(0, np.int64) if related is None else np.flatnonzero(~related.is_related)
        compared = clean if len(clean) else np.arange(len(validation))
        self._predictor, self._data = predictor, data
        self._rows, self._answers = data.rows["validation"][compared], validation.of(compared)
        self._reference = self._read(_spread(self._rows))
        self.lost = self._find(PixelChange())

    def measure(self, change: PixelChange | None) -> QualityLost | None:
        """Make the images like those of test, and count the answers to them.

        Args:
            change: undoes the pixel values of test; None if it is unknown, or changes only some images.
        """
        lost = self.lost
        if change is None or change.kind not in _KEEPS_DETAIL:
            return None
        if change.kind == "brightness":
            lost = None if change.is_cut_off else self._find(change)
        if lost is None:
            return None
        parts = []
        for begin in range(0, len(self._rows), _BATCH):
            rows = self._rows[begin : begin + _BATCH]
            images, labels = degrade(self._read(rows), lost, seed=begin), self._data.labels[rows]
            parts.append(Answers.to(labels, self._predictor.predict_images(self._scale_back(images), labels)))
        after = join_answers(*parts)
        tally, paired = after.tally(), tally_pairs(self._answers, after)
        if tally is None or paired is None:
            return None
        return QualityLost(kind=lost.kind, strength=lost.strength, tally=tally, change=paired)

    def _find(self, change: PixelChange) -> Degradation | None:
        return find_degradation(self._reference, self._read(_spread(self._data.rows["test"]), change))

    def _read(self, rows: NDArray[np.int32], change: PixelChange | None = None) -> Bytes:
        """Read (images, height, width, channels) in integer levels from 0 to 255, under a change of their pixels."""
        source, (low, high) = self._predictor.source, self._data.value_range
        source.expect(rows, _BATCH)
        parts = []
        for begin in range(0, len(rows), _BATCH):
            pixels = tf.cast(source.pixels(tf.constant(rows[begin : begin + _BATCH])), tf.float32).numpy()
            if change is not None:
                pixels = change_images(pixels, *change.make_tensors(pixels.shape[-1], (low, high))).numpy()
            levels = (pixels - np.float32(low)) * np.float32(255 / (high - low))
            parts.append(np.rint(levels).clip(0, 255).astype(np.uint8))
        return np.concatenate(parts)

    def _scale_back(self, levels: Bytes) -> NDArray[np.float32]:
        low, high = self._data.value_range
        return levels * np.float32((high - low) / 255) + np.float32(low)


def _spread(rows: NDArray[np.int32]) -> NDArray[np.int32]:
    return rows[spread_evenly(len(rows), MAX_COMPARED_IMAGES)]
