"""What labels of copies across the splits say about the order of classes."""

from collections.abc import Iterable, Sequence

from heldout.diagnosis.thresholds import COMPARISON_CONFIDENCE
from heldout.statistics import compute_wilson_interval


def count_agreeing_copies(pairs: Iterable[Sequence[int]], renaming: Sequence[int]) -> tuple[int, int]:
    """Count copies whose label is that of their copy in training, as they are and once renamed.

    Copies about which both say the same are left out.

    Args:
        pairs: label, label of the copy in training, how many.
        renaming: the label that each label means.
    """
    as_they_are = renamed = 0
    for own, other, count in pairs:
        if renaming[own] != own:
            as_they_are += count * (own == other)
            renamed += count * (renaming[own] == other)
    return as_they_are, renamed


def is_disproved_by_copies(pairs: Iterable[Sequence[int]], renaming: Sequence[int]) -> bool:
    """Whether labels of copies across the splits surely agree better as they are than under a renaming."""
    as_they_are, renamed = count_agreeing_copies(pairs, renaming)
    if not as_they_are:
        return False
    low, _ = compute_wilson_interval(as_they_are, as_they_are + renamed, COMPARISON_CONFIDENCE)
    return low > 1 / 2
