"""What undoing one fault changes in the answers: copies left out, or labels renamed half by half."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from analysis.answers.answers import Answers, joined, paired
from heldout.stored.gap import HeldOutCopies, LabelsRenamed, UndoneHalf

Renaming = tuple[int, ...] | None


def copies_of(answers: Answers, related: NDArray[np.bool_] | None) -> HeldOutCopies | None:
    """The answers parted by (count,) whether an image has a relative among those trained on; None where unknown."""
    if related is None:
        return None
    return HeldOutCopies(clean=answers.of(~related).tally(), copied=answers.of(related).tally())


def labels_renamed(
    renamings: tuple[Renaming, Renaming], before: Sequence[Answers], after: Sequence[Answers]
) -> LabelsRenamed | None:
    """Two halves under the renaming that was chosen on the other; None where a loss is not finite."""
    undone, halves = undone_half(joined(*before), joined(*after)), undone_halves(before, after)
    if undone is None or halves is None:
        return None
    return LabelsRenamed(renamings=renamings, tally=undone.tally, change=undone.change, halves=halves)


def undone_halves(before: Sequence[Answers], after: Sequence[Answers]) -> tuple[UndoneHalf, UndoneHalf] | None:
    """The same of each half."""
    one, two = (undone_half(*half) for half in zip(before, after, strict=True))
    return None if one is None or two is None else (one, two)


def undone_half(before: Answers, after: Answers) -> UndoneHalf | None:
    """What changed between two answers to the same images; None without images, and where a loss is not finite."""
    tally, change = after.tally(), paired(before, after)
    return None if tally is None or change is None else UndoneHalf(tally=tally, change=change)
