"""Gaps made from answers to single images, so that every term can be recomputed from them."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from heldout.diagnosis.evaluation import Evaluation, SplitFigures
from heldout.stored.gap import (
    BestEpoch,
    HeldOutCopies,
    LabelsRenamed,
    PairedTally,
    PixelsUndone,
    QualityLost,
    StoredGap,
    Tally,
)


@dataclass
class Answers:
    """Whether each image is answered correctly, and its loss."""

    right: NDArray[np.bool_]
    loss: NDArray[np.float64]

    def __getitem__(self, rows) -> "Answers":
        return Answers(self.right[rows], self.loss[rows])

    def tally(self) -> Tally:
        count = len(self.right)
        return Tally(
            count=count,
            correct=int(self.right.sum()),
            loss=float(self.loss.mean()),
            loss_variance=float(self.loss.var(ddof=1)) if count > 1 else 0.0,
        )


def answers(accuracy: float, count: int, seed: int = 0, loss: float = 1.0) -> Answers:
    """Make answers to `count` images, of which this share is correct; wrong answers cost `loss` or more."""
    draw = np.random.default_rng(seed)
    right = draw.permutation(np.arange(count) < round(accuracy * count))
    return Answers(right, np.where(right, draw.exponential(0.05, count), loss + draw.exponential(0.5, count)))


def changed(before: Answers, after: Answers) -> PairedTally:
    difference = after.loss - before.loss
    return PairedTally(
        count=len(difference),
        gained=int((~before.right & after.right).sum()),
        lost=int((before.right & ~after.right).sum()),
        loss=float(difference.mean()),
        loss_variance=float(difference.var(ddof=1)) if len(difference) > 1 else 0.0,
    )


@dataclass
class Made:
    """The answers of the kept weights to each image, and what else was measured.

    validation_copied, test_copied: which images have copies in the training set; None if unknown.
    best_by_accuracy, best_by_loss: the best epoch and its answers to validation.
    pixels, labels: answers to the clean test images after their pixels are undone, and after labels are renamed too.
    validation_pixels: answers to validation after its pixels are undone. pixels_share: the share of changed images.
    degraded: answers to the clean validation images made like those of test. label_pairs: of copies in test.
    """

    train: Answers
    validation: Answers
    test: Answers | None
    epochs: int = 10
    kept_epoch: int = 10
    validation_copied: NDArray[np.bool_] | None = None
    test_copied: NDArray[np.bool_] | None = None
    best_by_accuracy: tuple[int, Answers] | None = None
    best_by_loss: tuple[int, Answers] | None = None
    pixels: Answers | None = None
    pixels_choice: str = "brightness"
    pixels_share: float | None = None
    validation_pixels: Answers | None = None
    labels: Answers | None = None
    degraded: Answers | None = None
    quality: str = "blur"
    label_pairs: tuple[tuple[int, int, int], ...] = ()
    classes: tuple[str, ...] = tuple("abcdefghij")
    renaming: tuple[int, ...] = field(default=(1, 2, 3, 4, 5, 6, 7, 8, 9, 0))

    def clean_test(self) -> Answers:
        assert self.test is not None
        if self.test_copied is None or self.test_copied.all():
            return self.test
        return self.test[~self.test_copied]

    def clean_validation(self) -> Answers:
        return self.validation if self.validation_copied is None else self.validation[~self.validation_copied]

    def stored(self) -> StoredGap:
        undone = self.pixels
        if self.labels is not None and undone is None:
            undone = self.clean_test()
        return StoredGap(
            kept_epoch=self.kept_epoch,
            epochs=self.epochs,
            train=self.train.tally(),
            validation=self.validation.tally(),
            test=None if self.test is None else self.test.tally(),
            best_by_accuracy=self._best(self.best_by_accuracy),
            best_by_loss=self._best(self.best_by_loss),
            validation_copies=_parted(self.validation, self.validation_copied),
            test_copies=None if self.test is None else _parted(self.test, self.test_copied, self.label_pairs),
            quality=None
            if self.degraded is None
            else QualityLost(
                kind=self.quality,
                strength=1.6,
                tally=self.degraded.tally(),
                change=changed(self.clean_validation(), self.degraded),
            ),
            pixels=self._undone(self.pixels, self.clean_test),
            validation_pixels=self._undone(self.validation_pixels, lambda: self.validation),
            labels=None
            if self.labels is None or undone is None
            else LabelsRenamed(
                renamings=(self.renaming, self.renaming),
                tally=self.labels.tally(),
                change=changed(undone, self.labels),
            ),
        )

    def _undone(self, after: Answers | None, before: Callable[[], Answers]) -> PixelsUndone | None:
        if after is None:
            return None
        return PixelsUndone(
            choices=(self.pixels_choice, self.pixels_choice),
            parameters=({}, {}),
            tally=after.tally(),
            change=changed(before(), after),
            share=self.pixels_share,
        )

    def evaluation(self) -> Evaluation:
        stored = self.stored()
        splits = {
            name: SplitFigures(tally.correct / tally.count, tally.count, tally.loss)
            for name, tally in (("train", stored.train), ("validation", stored.validation), ("test", stored.test))
            if tally is not None
        }
        return Evaluation(splits, self.classes, gap=stored)

    def _best(self, best: tuple[int, Answers] | None) -> BestEpoch | None:
        if best is None:
            return None
        epoch, answered = best
        return BestEpoch(epoch=epoch, validation=answered.tally(), change=changed(self.validation, answered))


def _parted(
    split: Answers, copied: NDArray[np.bool_] | None, label_pairs: tuple[tuple[int, int, int], ...] = ()
) -> HeldOutCopies | None:
    if copied is None:
        return None
    return HeldOutCopies(
        clean=split[~copied].tally() if not copied.all() else None,
        copied=split[copied].tally() if copied.any() else None,
        label_pairs=label_pairs,
    )
