"""Finds the renaming of classes that makes the most answers right, and lists the usual mistakes."""

from collections.abc import Iterator, Sequence
from hashlib import sha256
from itertools import permutations

from heldout.diagnosis.evaluation import SplitFigures, compute_own_chance
from heldout.diagnosis.facts import Facts
from heldout.diagnosis.thresholds import (
    COMPARISON_CONFIDENCE,
    MAX_CLASSES_OF_EXACT,
    MAX_DIGITS,
    MAX_DISTANCE_OF_RENAMED,
    MIN_DISTANCE_OF_CLASSES,
    RENAMINGS_DRAWN,
)
from heldout.statistics import compute_wilson_interval

Counts = Sequence[Sequence[int]]  # (classes, classes), rows the labels and columns the answers
_NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


def measure_distance(split: Counts, other: Counts, renaming: Sequence[int] | None = None) -> float:
    """Distance between the class frequencies of two splits (total variation, 0 to 1), with the first one renamed."""
    here, there = [0.0] * len(other), _compute_shares([sum(row) for row in other])
    for label, share in enumerate(_compute_shares([sum(row) for row in split])):
        here[label if renaming is None else renaming[label]] += share
    return sum(abs(first - second) for first, second in zip(here, there, strict=True)) / 2


def _compute_shares(row: Sequence[int]) -> list[float]:
    return [count / max(1, sum(row)) for count in row]


def find_best_renaming(confusion: Sequence[Sequence[int]], *, more_than: float) -> list[int] | None:
    """Find for each label the answer that it should have been, using each answer once.

    Args:
        confusion: (classes, classes) counts; rows are labels and columns are answers.
        more_than: the number of right answers to exceed.
    Returns:
        None if no renaming makes more than `more_than` answers right.
    """
    # Importing SciPy takes half a second and 35 MB, and workers call this at the end of every job. No renaming beats
    # the sum of the largest counts of rows, or of columns. If the largest counts of rows are in different columns, they
    # already are the best renaming.
    if min(sum(map(max, confusion)), sum(map(max, zip(*confusion, strict=True)))) <= more_than:
        return None
    named = [row.index(max(row)) for row in confusion]
    if len(set(named)) < len(named):
        from scipy.optimize import linear_sum_assignment

        named = linear_sum_assignment(confusion, maximize=True)[1].tolist()
    right = sum(row[answer] for row, answer in zip(confusion, named, strict=True))
    return named if right > more_than else None


def list_usual_renamings(classes: Sequence[str]) -> list[list[int]]:
    """List the usual mistakes: labels shifted by one, reversed, or sorted by name instead of by number.

    Numbers are sorted by their digits ("10" before "2") and, up to nine, as English words ("eight" before "five").

    Args:
        classes: class names in the order of their labels.
    Returns:
        For each mistake, the label that each label means; without duplicates.
    """
    count = len(classes)
    labels = list(range(count))
    found = [labels[1:] + labels[:1], labels[-1:] + labels[:-1], labels[::-1]]
    by_name = sorted(labels, key=lambda label: classes[label])
    by_number = sorted(labels, key=lambda label: _split_off_number(classes[label]))
    for order in (by_name, by_number):
        found += [order, [order.index(label) for label in labels]]
    if all(name in map(str, range(len(_NUMBERS))) for name in classes):
        spelled = sorted(labels, key=lambda label: _NUMBERS[int(classes[label])])
        found += [spelled, [spelled.index(label) for label in labels]]
    for given, meant in ((by_number, by_name), (by_name, by_number)):
        found.append([meant[given.index(label)] for label in labels])
    unique = {tuple(renaming) for renaming in found if renaming != labels}
    return [list(renaming) for renaming in sorted(unique)]


def _split_off_number(name: str) -> tuple[str, int]:
    """Split a name into text and number, so that `class 10` sorts after `class 9`."""
    start = name.rstrip("0123456789")
    return start, int(name[len(start) :][:MAX_DIGITS] or 0)


def compute_chance_of_renaming(confusion: Counts, renamings: Sequence[Sequence[int]]) -> float:
    """The probability that wrong answers fit one of these renamings as well as they do if class order is irrelevant.

    Images of one group are answered alike. If one object, person or picture is taken for another class, all its images
    are. So whole classes are exchanged instead of images: a group within one class then counts once.

    Args:
        confusion: (classes, classes) counts; rows are labels and columns are answers.
        renamings: for each, the label that each label means.
    Returns:
        The smallest probability of a permutation test, times the number of renamings, at most 1.

    Source: Good 2005, Permutation, Parametric and Bootstrap Tests of Hypotheses (with the Bonferroni correction).
    """
    count = len(confusion)

    def count_explained(renaming: Sequence[int]) -> int:
        return sum(confusion[label][means] for label, means in enumerate(renaming) if means != label)

    if count <= MAX_CLASSES_OF_EXACT:
        by_chance = [count_explained(renaming) for renaming in permutations(range(count))]
    else:
        # The data are one more draw, so that no probability is 0.
        by_chance = [count_explained(shuffle(count, seed)) for seed in range(RENAMINGS_DRAWN - 1)]
    extra = count > MAX_CLASSES_OF_EXACT
    smallest = min(
        (extra + sum(other >= count_explained(renaming) for other in by_chance)) / (extra + len(by_chance))
        for renaming in renamings
    )
    return min(1.0, smallest * len(renamings))


def shuffle(count: int, seed: int) -> list[int]:
    """The numbers below count in an order that only the seed decides: the same figures get the same diagnosis."""
    return sorted(range(count), key=lambda number: sha256(f"{seed} {number}".encode()).digest())


Pair = tuple[str, SplitFigures, SplitFigures]  # the name of a split, its figures, the other split's figures


def list_pairs(facts: Facts) -> Iterator[Pair]:
    """Yield test compared with validation, then validation compared with test."""
    if facts.validation is not None and facts.test is not None:
        yield "test", facts.test, facts.validation
        yield "validation", facts.validation, facts.test


def list_pairs_by_answers(facts: Facts) -> Iterator[Pair]:
    """Yield the pairs whose first split has a confusion matrix that no wrong pixel values distort."""
    for split, figures, other in list_pairs(facts):
        if len(figures.confusion) == len(facts.classes) and not (
            facts.is_undone(split) or has_other_pixels(facts, split)
        ):
            yield split, figures, other


def get_known_classes(facts: Facts, split: str, figures: SplitFigures) -> Counts:
    """Answers of another split, whose rows give the class frequencies to expect; of training if they are known."""
    other = facts.test if split == "validation" else facts.validation
    for known in (facts.train, other):
        if known is not None and len(known.confusion) == len(facts.classes):
            return known.confusion
    return figures.confusion


def is_shown_by_frequencies(facts: Facts, split: str, figures: SplitFigures, renaming: Sequence[int]) -> bool:
    """Whether the class frequencies of a split are those of the others only once its classes are renamed."""
    known = get_known_classes(facts, split, figures)
    as_they_are = measure_distance(figures.confusion, known)
    renamed = measure_distance(figures.confusion, known, renaming)
    is_another = as_they_are >= MIN_DISTANCE_OF_CLASSES
    return is_another and renamed <= MAX_DISTANCE_OF_RENAMED * as_they_are


def has_other_pixels(facts: Facts, split: str) -> bool:
    """Whether the audit found wrong pixel values that were not undone; these alone can cause bad answers."""
    return facts.has_other_scale(split) and (facts.gap is None or facts.gap.get_pixels(split) is None)


def is_known(facts: Facts, figures: SplitFigures | None) -> bool:
    """Whether accuracy on a split is clearly above guessing; True if the split is missing."""
    if figures is None:
        return True
    low, _ = compute_wilson_interval(*figures.counts, COMPARISON_CONFIDENCE)
    return low > compute_own_chance(figures, max(2, len(facts.classes)))
