"""Undoes other pixel values and names of classes in a held-out split, in two halves: each chooses for the other."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from analysis.answers.answers import Answers, Predictions, halves_of, joined, surely_better
from analysis.answers.renamed_labels import chosen_renaming
from analysis.answers.undone import labels_renamed, undone_half, undone_halves
from heldout.diagnosis.renaming import usual_renamings
from heldout.stored.gap import HeldOutName, LabelsRenamed, PixelsUndone
from worker.training.altered_images import KINDS, MIN_SHARE, find_altered
from worker.training.data import TrainingData
from worker.training.pixel_change import ChangeKind, PixelChange
from worker.training.resident import BatchSource
from worker.training.undone_pixels import (
    MAX_IMAGES,
    MIN_SUSPECT_SIGMAS,
    PixelSample,
    changes_worth_trying,
    differ,
    distance_left,
    evenly,
    find_change,
    sample_of,
)

# Probability that chance alone makes a change of pixels look better.
MAX_CHANCE = 0.01
# The same of a change of the very images that look altered, where it brings the split nearer to training.
MAX_CHANCE_OF_SHOWN = 0.05


class ImagePredictor(Protocol):
    """Says what a model says of the images in rows of its source, of their pixels under a change."""

    source: BatchSource

    def predict(self, rows: NDArray[np.int32], change: PixelChange | None = None) -> Predictions: ...


@dataclass(frozen=True)
class _Candidate:
    """A change of pixels that is worth trying. share: of the images, where only some are altered; None for all."""

    change: PixelChange
    share: float | None = None


@dataclass(frozen=True)
class _Choice:
    """What was chosen on one half of the images, to be counted on the other."""

    candidate: _Candidate
    renaming: tuple[int, ...] | None


_AS_IT_IS = _Candidate(PixelChange())


class ComparedSplit:
    """The images of a held-out split without copies, in two halves: each chooses for the other.

    Args:
        answers: of the whole split, in the order of its rows.
        related: (images,) whether each has a relative among those trained on; None where that is not known.
    Attributes:
        answers: to the whole split, or to its compared images with their pixels undone.
    """

    def __init__(
        self,
        predictor: ImagePredictor,
        data: TrainingData,
        split: HeldOutName,
        answers: Answers,
        related: NDArray[np.bool_] | None,
    ) -> None:
        self.answers = answers
        self._predictor = predictor
        self._data = data
        # Where all images have copies there is nothing else to compare.
        clean = np.empty(0, np.int64) if related is None else np.flatnonzero(~related)
        compared = clean if len(clean) else np.arange(len(answers))
        labels = answers.labels[compared]
        positions = [compared[half] for half in halves_of(labels)]
        self._rows = [data.rows[split][half] for half in positions]
        self._as_they_are = [answers.of(half) for half in positions]
        self._changed: dict[tuple[int, _Candidate], Answers] = {}
        self._altered: dict[tuple[int, _Candidate], NDArray[np.bool_]] = {}

    def undone(
        self, validation: NDArray[np.int64] | None, *, try_pixels: bool
    ) -> tuple[PixelsUndone | None, LabelsRenamed | None]:
        """The images with their pixels brought back, and then under renamed labels; null where nothing was chosen.

        validation: None to rename nothing.
        """
        if not all(map(len, self._as_they_are)):
            return None, None
        shown, candidates = self._candidates() if try_pixels else ([], ([], []))
        start = next(filter(self._seems_better, shown), _AS_IT_IS)
        choices = [self._choice(half, start, candidates[half], validation) for half in (0, 1)]
        chosen = choices[::-1]  # for each half by the other
        undone = [self._under(half, chosen[half].candidate) for half in (0, 1)]
        pixels = labels = None
        if any(choice.candidate != _AS_IT_IS for choice in chosen):
            pixels = _pixels_undone(chosen, self._as_they_are, undone)
            if pixels is None:
                return None, None
            self.answers = joined(*undone)
        if any(choice.renaming for choice in chosen):
            renamed = [undone[half].under(chosen[half].renaming) for half in (0, 1)]
            labels = labels_renamed((chosen[0].renaming, chosen[1].renaming), undone, renamed)
        return pixels, labels

    def _candidates(self) -> tuple[list[_Candidate], tuple[list[_Candidate], list[_Candidate]]]:
        """The changes of images that look altered, nearest first, and for each half others that are worth trying."""
        value_range, source = self._data.value_range, self._predictor.source
        train = sample_of(source, self._data.rows["train"])
        halves = [sample_of(source, rows) for rows in self._rows]
        both = halves[0].with_images_of(halves[1])
        kinds = changes_worth_trying(train, both, value_range)
        one, two = ([find_change(kind, train, half, value_range) for kind in kinds] for half in halves)
        shown = list[tuple[float, _Candidate]]()
        for kind in KINDS if differ(train, both, value_range, MIN_SUSPECT_SIGMAS) else ():
            candidate = self._candidate_of_some(kind, train)
            if candidate is not None:
                images = [
                    self._images_of(half, candidate)[evenly(len(rows), MAX_IMAGES)]
                    for half, rows in enumerate(self._rows)
                ]
                undone = both.under(candidate.change, value_range, np.concatenate(images))
                shown.append((distance_left(train, both, undone), candidate))
        shown.sort(key=lambda pair: pair[0])
        nearest = [candidate for left, candidate in shown if left < 1]
        return nearest, ([*map(_Candidate, filter(None, one))], [*map(_Candidate, filter(None, two))])

    def _candidate_of_some(self, kind: ChangeKind, train: PixelSample) -> _Candidate | None:
        """The change of the images that look altered; None where there may be none."""
        rows, value_range = np.concatenate(self._rows), self._data.value_range
        change = find_change(kind, train, train, value_range)
        if change is None:
            return None
        altered = find_altered(self._predictor.source, self._data.rows["train"], rows, change, value_range)
        if altered is None:
            return None
        if altered.share > 1 - MIN_SHARE:
            return _Candidate(change)
        candidate = _Candidate(change, altered.share)
        for half, images in enumerate(np.split(altered.images, [len(self._rows[0])])):
            self._altered[half, candidate] = images
        return candidate

    def _images_of(self, half: int, candidate: _Candidate) -> NDArray[np.bool_]:
        """(images of the half,) those that the candidate changes."""
        return self._altered.get((half, candidate), np.ones(len(self._rows[half]), bool))

    def _seems_better(self, candidate: _Candidate) -> bool:
        """Whether the network answers the images better so; the pixels have shown that they are altered."""
        after = [self._under(half, candidate) for half in (0, 1)]
        return surely_better(joined(*self._as_they_are), joined(*after), max_p=MAX_CHANCE_OF_SHOWN)

    def _choice(
        self, half: int, start: _Candidate, candidates: list[_Candidate], validation: NDArray[np.int64] | None
    ) -> _Choice:
        """The simplest change that no other one is surely better than, on this half.

        Each is judged under the names of classes that fit it best: right pixels make wrong answers of wrong labels.
        """
        best = self._under(half, start)
        chosen = _Choice(start, self._renaming(best, validation))
        best = best.under(chosen.renaming)
        for candidate in candidates:
            answers = self._under(half, candidate)
            renaming = self._renaming(answers, validation)
            if surely_better(best, answers.under(renaming), max_p=MAX_CHANCE):
                chosen, best = _Choice(candidate, renaming), answers.under(renaming)
        return chosen

    def _renaming(self, answers: Answers, validation: NDArray[np.int64] | None) -> tuple[int, ...] | None:
        if validation is None:
            return None
        return chosen_renaming(answers, validation, usual_renamings(self._data.classes))

    def _under(self, half: int, candidate: _Candidate) -> Answers:
        before = self._as_they_are[half]
        if candidate == _AS_IT_IS:
            return before
        if (half, candidate) not in self._changed:
            altered = self._images_of(half, candidate)
            said = self._predictor.predict(self._rows[half][altered], candidate.change)
            after = Answers.to(before.labels[altered], said)
            self._changed[half, candidate] = before.replaced(altered, after)
        return self._changed[half, candidate]


def _pixels_undone(chosen: list[_Choice], before: list[Answers], after: list[Answers]) -> PixelsUndone | None:
    undone, halves = undone_half(joined(*before), joined(*after)), undone_halves(before, after)
    if undone is None or halves is None:
        return None
    one, two = (choice.candidate for choice in chosen)
    return PixelsUndone(
        choices=(one.change.kind, two.change.kind),
        parameters=(one.change.parameters, two.change.parameters),
        tally=undone.tally,
        change=undone.change,
        halves=halves,
        share=one.share if one != _AS_IT_IS else two.share,
    )
