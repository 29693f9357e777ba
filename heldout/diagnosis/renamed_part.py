"""Finds a renaming of classes that only some labels of a split follow."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice, product
from math import inf, log, sqrt
from operator import eq
from statistics import fmean, pstdev

from heldout.diagnosis import thresholds
from heldout.diagnosis.renaming import Counts, shuffle

Renaming = Sequence[int]  # for each label, the label that it means


@dataclass(frozen=True)
class RenamedPart:
    """Evidence for a renaming of some of a split's labels, compared with another split.

    Figures cover the images whose label the renaming changes. In pairs, this split comes before the other one.

    share: share of these labels that are renamed. answered: shares answered as the renaming says. right: shares
        answered as the label says. counts: numbers of images.
    """

    renaming: Renaming
    share: float
    answered: tuple[float, float]
    right: tuple[float, float]
    counts: tuple[int, int]


@dataclass(frozen=True)
class _UsualAnswers:
    """How images of a split with the right labels are answered: as in the other split, apart from two changes.

    rates: (classes, classes) distributions of answers in the other split. often: how often each answer is given.
    boost: multiple of the rate of right answers. guessed: share of the images that get any answer.
    """

    rates: Sequence[Sequence[float]]
    often: Sequence[float]
    boost: float
    guessed: float

    def compute_rate(self, label: int, answer: int) -> float:
        rates = self.rates[label]
        rate = rates[answer] * (self.boost if answer == label else 1) / (1 + (self.boost - 1) * rates[label])
        return (1 - self.guessed) * rate + self.guessed * self.often[answer]


def find_renamed_part(split: Counts, other: Counts, renamings: Sequence[Renaming]) -> RenamedPart | None:
    """Find the renaming that some labels of a split follow, by comparing its answers with those to another split.

    No two splits are answered alike, so any renaming seems to explain something. This one must explain much more than
    random renamings do, and fewer answers must be right than in the other split.

    Args:
        renamings: those to look for.
    """
    answers = [(label, answer, count) for label, row in enumerate(split) for answer, count in enumerate(row) if count]
    usual = _fit_usual_answers(answers, other)
    plain = [usual.compute_rate(label, answer) for label, answer, _ in answers]

    def measure_gain(renaming: Renaming) -> tuple[float, float]:
        """How much likelier the answers are if some labels are renamed, and the share that makes them the likeliest."""
        likelier = [
            (count, usual.compute_rate(renaming[label], answer) / now)
            for (label, answer, count), now in zip(answers, plain, strict=True)
        ]
        best = -inf, 0.0
        for share in thresholds.SHARES_RENAMED:
            gain = sum(count * log(1 - share + share * ratio) for count, ratio in likelier)
            if gain < best[0]:
                break  # the gain is concave in the share, so larger shares gain even less
            best = gain, share
        return best

    (gain, share), best = max(((measure_gain(renaming), renaming) for renaming in renamings), default=((0.0, 0.0), ()))
    if gain < thresholds.MIN_GAIN_OF_RENAMING or share < thresholds.MIN_SHARE_RENAMED:
        return None
    part = measure_part(split, other, best)
    if part is None or part.right[0] >= part.right[1]:
        return None
    if _measure_classes(split, usual, part) < thresholds.MIN_CLASSES_OF_PART:
        return None
    # Renamed labels make answers wrong: a split that is answered worse needs less evidence of another kind.
    is_worse = _measure_deficit(split, other) >= thresholds.MIN_DEFICIT_SIGMAS
    needed = thresholds.MIN_SIGMAS_BESIDE_DEFICIT if is_worse else thresholds.MIN_SIGMAS_OF_RENAMING
    return part if _compare_with_chance(gain, best, lambda renaming: measure_gain(renaming)[0]) >= needed else None


def _measure_classes(split: Counts, usual: _UsualAnswers, part: RenamedPart) -> float:
    """The share of classes, by the renamed answers expected of them, in which at least half of these are there."""
    expected = seen = 0.0
    for label, means in enumerate(part.renaming):
        as_usual, count = usual.compute_rate(label, means), sum(split[label])
        more = count * part.share * (usual.compute_rate(means, means) - as_usual)
        if means != label and more > 0:
            expected += more
            seen += more * (split[label][means] - count * as_usual >= more / 2)
    return seen / expected if expected else 0.0


def _compare_with_chance(gain: float, renaming: Renaming, measure_gain: Callable[[Renaming], float]) -> float:
    """Standard deviations by which a renaming gains more than random ones."""
    drawn = (shuffle(len(renaming), seed) for seed in range(2 * thresholds.RANDOM_RENAMINGS))
    # With few classes, many random renamings are nearly the one being tested, so they are left out.
    unlike = (other for other in drawn if sum(map(eq, other, renaming)) < len(renaming) / 3)
    by_chance = [measure_gain(other) for other in islice(unlike, thresholds.RANDOM_RENAMINGS)]
    if len(by_chance) < 2:
        return 0.0
    return (gain - fmean(by_chance)) / (pstdev(by_chance) + thresholds.LEAST_DEVIATION_OF_GAINS)


def _measure_deficit(split: Counts, other: Counts) -> float:
    """Standard errors by which a split's accuracy is below the other's."""
    (here, count), (there, of_other) = (
        (sum(row[label] for label, row in enumerate(of)) / sum(map(sum, of)), sum(map(sum, of)))
        for of in (split, other)
    )
    error = sqrt(here * (1 - here) / count + there * (1 - there) / of_other)
    return (there - here) / error if error else 0.0


def measure_part(split: Counts, other: Counts, renaming: Renaming) -> RenamedPart | None:
    """Return None if a split has no images of the renamed classes, or the network does not know them."""
    moved = [label for label, means in enumerate(renaming) if means != label]
    counts = sum(sum(split[label]) for label in moved), sum(sum(other[label]) for label in moved)
    if not all(counts):
        return None
    here, there = (
        (sum(of[label][renaming[label]] for label in moved) / count, sum(of[label][label] for label in moved) / count)
        for of, count in zip((split, other), counts, strict=True)
    )
    if there[1] <= there[0]:
        return None
    share = min(1.0, max(0.0, (here[0] - there[0]) / (there[1] - there[0])))
    return RenamedPart(renaming, share, (here[0], there[0]), (here[1], there[1]), counts)


def _fit_usual_answers(answers: Sequence[tuple[int, int, int]], other: Counts) -> _UsualAnswers:
    """Choose the changes that make a split's answers the likeliest. answers: label, answer and count."""
    total = sum(map(sum, other)) + len(other)
    often = [(sum(column) + 1) / total for column in zip(*other, strict=True)]
    prior = thresholds.PRIOR_ANSWERS
    rates = [
        [(count + prior * rate) / images for count, rate in zip(row, often, strict=True)]
        for row, images in ((row, sum(row) + prior) for row in other)
    ]
    changes = product(thresholds.BOOSTS, thresholds.SHARES_GUESSED)
    return max(
        (_UsualAnswers(rates, often, *change) for change in changes),
        key=lambda usual: sum(count * log(usual.compute_rate(label, answer)) for label, answer, count in answers),
    )
