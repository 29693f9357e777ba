"""Compares answers before and after undoing one fault: copies left out, or labels renamed half by half."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from analysis.answers.answers import Answers, join_answers, tally_pairs
from heldout.stored.gap import HeldOutCopies, LabelsRenamed, UndoneHalf

Renaming = tuple[int, ...] | None


def divide_by_copies(answers: Answers, related: NDArray[np.bool_] | None) -> HeldOutCopies | None:
    """Divide the answers by (count,) whether an image has a relative in training; None if unknown."""
    if related is None:
        return None
    return HeldOutCopies(clean=answers.of(~related).tally(), copied=answers.of(related).tally())


def compare_renamed_labels(
    renamings: tuple[Renaming, Renaming], before: Sequence[Answers], after: Sequence[Answers]
) -> LabelsRenamed | None:
    """Compare two halves under the renaming chosen on the other; None if a loss is not finite."""
    undone, halves = (
        compare_undone_half(join_answers(*before), join_answers(*after)),
        compare_undone_halves(before, after),
    )
    if undone is None or halves is None:
        return None
    return LabelsRenamed(renamings=renamings, tally=undone.tally, change=undone.change, halves=halves)


def compare_undone_halves(before: Sequence[Answers], after: Sequence[Answers]) -> tuple[UndoneHalf, UndoneHalf] | None:
    """The change in each half; None if a loss is not finite."""
    first, second = (compare_undone_half(*half) for half in zip(before, after, strict=True))
    return None if first is None or second is None else (first, second)


def compare_undone_half(before: Answers, after: Answers) -> UndoneHalf | None:
    """Compare two answers to the same images; None without images, or if a loss is not finite."""
    tally, change = after.tally(), tally_pairs(before, after)
    return None if tally is None or change is None else UndoneHalf(tally=tally, change=change)
