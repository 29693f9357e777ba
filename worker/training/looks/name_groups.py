"""Groups that file names suggest and features confirm, and by how much such groups flatter random splits."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

import numpy as np
from numpy.typing import NDArray

from analysis.arrays.dataset import SPLITS, ImageSet
from heldout.stored.audit import AuditExample, AuditFinding
from heldout.words import join_with_and, of_100, pluralize
from worker.ingest.local_audit.name_groups import NameGroups, guess_groups

# Images of a class that are compared, and random groups that the groups of the names are compared with.
MAX_OF_CLASS, PERMUTATIONS = 400, 199
# Names explain features if images of one group are this many deviations more alike than those of random groups.
MIN_SIGMAS = 6.0
# Similar images that vote, and from which loss of accuracy on, surely, splits that divide groups are a fault.
VOTERS, MIN_FLATTERY = 5, 0.02
MAX_PAIRS = 6
_NORMAL_95 = 1.96


@dataclass(frozen=True)
class Flattery:
    """Accuracy of a vote of the most similar images, with and without images of the same group.

    interval: of the difference, which counts groups and not images.
    """

    mixed: float
    apart: float
    interval: tuple[float, float]


def find_name_groups(
    images: ImageSet,
    rows: NDArray[np.int64],
    normalized: NDArray[np.float32],
    names: Sequence[str],
) -> AuditFinding | None:
    """Return the finding; None if names suggest no groups, or if their images are not more alike than others.

    Args:
        rows: (sampled,) the images that have features. normalized: (sampled, features) of these images.
        names: of all images.
    """
    guessed = guess_groups(names, images.labels, images.splits)
    if guessed is None:
        return None
    groups, labels = guessed.groups[rows], images.labels[rows]
    sigmas = compare_with_random_groups(normalized, labels, groups)
    if sigmas < MIN_SIGMAS:
        return None
    flattery = measure_flattery(normalized, labels, groups)
    return _describe(guessed, flattery, sigmas, _list_pairs(images, rows, normalized, groups, names))


def compare_with_random_groups(
    normalized: NDArray[np.float32], labels: NDArray[np.int32], groups: NDArray[np.int64]
) -> float:
    """Return by how many deviations images of one group are more alike than if groups were random in each class."""
    draws = np.random.default_rng(0)
    seen, by_chance = 0.0, np.zeros(PERMUTATIONS)
    for label in np.unique(labels):
        members = draws.permutation(np.flatnonzero(labels == label))[:MAX_OF_CLASS]
        similar = normalized[members] @ normalized[members].T
        np.fill_diagonal(similar, 0)
        _, of_member = np.unique(groups[members], return_inverse=True)

        def add_up(of_member: NDArray[np.int64], similar: NDArray[np.float32] = similar) -> float:
            one_hot = np.zeros((len(of_member), int(np.max(of_member)) + 1), np.float32)
            one_hot[np.arange(len(of_member)), of_member] = 1
            return float(((similar @ one_hot) * one_hot).sum())

        seen += add_up(of_member)
        by_chance += [add_up(draws.permutation(of_member)) for _ in range(PERMUTATIONS)]
    deviation = by_chance.std()
    return float((seen - by_chance.mean()) / deviation) if deviation > 0 else 0.0


def measure_flattery(normalized: NDArray[np.float32], labels: NDArray[np.int32], groups: NDArray[np.int64]) -> Flattery:
    """Measure how much better similar images predict a class if images of the same group may vote."""
    count, classes = len(labels), int(np.max(labels)) + 1
    right = np.zeros((2, count))
    for first in range(0, count, 512):
        places = np.arange(first, min(first + 512, count))
        similar = normalized[places] @ normalized.T
        similar[np.arange(len(places)), places] = -np.inf
        for way in range(2):
            if way:
                similar[groups[places][:, None] == groups[None, :]] = -np.inf
            voters = np.argpartition(-similar, VOTERS, axis=1)[:, :VOTERS]
            votes = np.zeros((len(places), classes))
            np.add.at(votes, (np.arange(len(places))[:, None], labels[voters]), np.take_along_axis(similar, voters, 1))
            right[way, places] = votes.argmax(axis=1) == labels[places]
    difference = right[0] - right[1]
    _, of_image = np.unique(groups, return_inverse=True)
    of_group = np.bincount(of_image, difference - difference.mean())
    error = sqrt(float((of_group**2).sum())) / count
    mean = float(difference.mean())
    interval = mean - _NORMAL_95 * error, mean + _NORMAL_95 * error
    return Flattery(float(right[0].mean()), float(right[1].mean()), interval)


def _list_pairs(
    images: ImageSet,
    rows: NDArray[np.int64],
    normalized: NDArray[np.float32],
    groups: NDArray[np.int64],
    names: Sequence[str],
) -> list[tuple[AuditExample, AuditExample]]:
    """Return the most similar images of one group in different splits: one pair of each group."""
    split_of = np.empty(len(names), np.int64)
    for number, split in enumerate(SPLITS):
        split_of[images.splits[split]] = number
    found = []
    for group in np.unique(groups):
        places = np.flatnonzero(groups == group)
        training = places[split_of[rows[places]] == 0]
        held_out = places[split_of[rows[places]] != 0]
        if len(training) and len(held_out):
            similar = normalized[held_out] @ normalized[training].T
            held, trained = np.unravel_index(similar.argmax(), similar.shape)
            found.append((float(similar.max()), int(rows[held_out[held]]), int(rows[training[trained]])))
    found.sort(reverse=True)

    def make_example(row: int) -> AuditExample:
        return AuditExample(split=SPLITS[split_of[row]], index=row, member=names[row])

    return [(make_example(held), make_example(trained)) for _, held, trained in found[:MAX_PAIRS]]


def _describe(
    guessed: NameGroups, flattery: Flattery, sigmas: float, pairs: list[tuple[AuditExample, AuditExample]]
) -> AuditFinding:
    count, crossing, (low, high) = len(guessed.names), len(guessed.crossing), flattery.interval
    examples = join_with_and([f"`{name}`" for name in guessed.names[:3]])
    flatters = low >= MIN_FLATTERY
    effect = (
        f" A vote of the most similar images gets {of_100(flattery.mixed)} images right, and {of_100(flattery.apart)} "
        "without images of the same group. Splits that divide groups flatter such a vote by "
        f"{100 * (flattery.mixed - flattery.apart):.0f} points (surely {100 * low:.0f} to {100 * high:.0f}), and a "
        "network usually by less."
        if flatters
        else " Similar images predict classes about as well without images of the same group."
    )
    return AuditFinding(
        code="names_suggest_groups",
        severity="warning" if crossing and flatters else "info",
        numbers={
            "groups": count,
            "crossing": crossing,
            "rule": guessed.rule,
            "sigmas": round(sigmas, 1),
            "mixed_accuracy": round(flattery.mixed, 4),
            "apart_accuracy": round(flattery.apart, 4),
            "flattery_interval": [round(low, 4), round(high, 4)],
        },
        explanation=f"Do these belong together? File names look as if {pluralize(len(guessed.groups), 'image')} came "
        f"from {count:,} groups, such as {examples}, and images of one group look more alike than others of their "
        f"class. {crossing:,} of the groups have images in several splits.{effect}",
        what_to_do=f"If they do, split all images again with `group_by` = `{guessed.rule}`, which keeps each group in "
        "one split. If not, there is nothing to do.",
        pairs=tuple(pairs),
    )
