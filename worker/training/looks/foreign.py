"""Finds classes whose held-out images look unlike their training images, and which images these are.

The test compares training and held-out images of a class by the energy distance of their features (Székely and Rizzo
2013). It then assigns whole units to the two parts at random, and asks how far apart they are by chance.

Units are images that belong together: copies, declared groups, and images that are among each other's nearest. Images
of one undeclared session share a split without being of another kind.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from analysis.arrays.dataset import SPLITS, ImageSet
from analysis.arrays.features import find_neighbors
from heldout.stored.audit import AuditExample, AuditFinding
from heldout.words import join_with_and, quote_name

# Images of a class and split that are compared, and fewer of which say nothing.
MAX_IMAGES, MIN_IMAGES, MIN_UNITS = 300, 10, 6
PERMUTATIONS = 300
# Images are one unit if each is among the nearest of the other. The deviations from which on a class is foreign were
# chosen by false alarms (docs/measurements/features.md).
MUTUAL, MIN_SIGMAS = 3, 10.0
# An image is unlike training if it is less similar than all but this share of the training images are to each other.
NEAREST, UNLIKE_SHARE = 5, 0.01
MAX_NAMED, MAX_EXAMPLES = 4, 12


@dataclass(frozen=True)
class ForeignClass:
    """unlike: positions of its held-out images that look unlike its training images, the least similar first."""

    label: int
    images: int
    unlike: NDArray[np.int64]
    sigmas: float


def find_foreign_images(
    images: ImageSet,
    rows: NDArray[np.int64],
    normalized: NDArray[np.float32],
    related: NDArray[np.int64],
    names: Sequence[str],
) -> Iterator[AuditFinding]:
    """Yield a finding for each held-out split with classes whose images look unlike the training images.

    Args:
        rows: (sampled,) the images that have features. normalized: (sampled, features) of these images.
        related: (images,) a number for each unit of images that are known to belong together.
    """
    split_of = np.empty(len(images.labels), np.int64)
    for number, split in enumerate(SPLITS):
        split_of[images.splits[split]] = number
    for number in (2, 1):
        classes = []
        for label in range(len(images.classes)):
            members = np.flatnonzero(images.labels[rows] == label)
            training, held = (members[split_of[rows[members]] == which] for which in (0, number))
            found = compare_class(normalized, training, held, related[rows])
            if found is not None:
                unlike, sigmas = found
                classes.append(ForeignClass(label, len(held), rows[unlike], sigmas))
        if classes:
            yield _describe(SPLITS[number], classes, images.classes, names)


def compare_class(
    normalized: NDArray[np.float32], training: NDArray[np.int64], held: NDArray[np.int64], related: NDArray[np.int64]
) -> tuple[NDArray[np.int64], float] | None:
    """Return which held-out images of a class are unlike training, and how sure it is; None if they are alike."""
    draws = np.random.default_rng(0)
    training, held = (np.sort(draws.permutation(part)[:MAX_IMAGES]) for part in (training, held))
    if min(len(training), len(held)) < MIN_IMAGES:
        return None
    both = np.concatenate([training, held])
    sigmas = _measure_sigmas(normalized[both], np.arange(len(both)) >= len(training), related[both], draws)
    if sigmas < MIN_SIGMAS:
        return None
    own = normalized[training] @ normalized[training].T
    np.fill_diagonal(own, -np.inf)
    usual = np.quantile(_average_nearest(own), UNLIKE_SHARE)
    similarity = _average_nearest(normalized[held] @ normalized[training].T)
    order = np.argsort(similarity)
    return held[order[similarity[order] < usual]], sigmas


def _measure_sigmas(
    features: NDArray[np.float32], is_held: NDArray[np.bool_], related: NDArray[np.int64], draws: np.random.Generator
) -> float:
    """Return by how many deviations two parts are further apart than if whole units were assigned at random."""
    units = _find_units(features, related)
    count = int(np.max(units)) + 1
    if count < MIN_UNITS:
        return 0.0
    sizes = np.bincount(units)
    assigned = np.zeros((len(features), 1 + PERMUTATIONS), np.float32)
    assigned[:, 0] = is_held
    for column in range(1, 1 + PERMUTATIONS):
        order = draws.permutation(count)
        last = int(np.searchsorted(np.cumsum(sizes[order]), is_held.sum())) + 1
        assigned[:, column] = np.isin(units, order[:last])
    assigned = assigned[:, (assigned.sum(axis=0) > 0) & (assigned.sum(axis=0) < len(features))]
    distances = 1 - features @ features.T
    held, to_held = assigned.sum(axis=0), distances @ assigned
    within_held = (assigned * to_held).sum(axis=0)
    between = to_held.sum(axis=0) - within_held
    within_rest = distances.sum() - 2 * between - within_held
    rest = len(features) - held
    energy = 2 * between / (held * rest) - within_rest / rest**2 - within_held / held**2
    seen, by_chance = float(energy[0]), energy[1:]
    return (seen - float(by_chance.mean())) / max(float(by_chance.std()), 1e-9)


def _find_units(features: NDArray[np.float32], related: NDArray[np.int64]) -> NDArray[np.int64]:
    """Number the units: images that are among each other's nearest, or known to belong together."""
    count = len(features)
    nearest = find_neighbors(features, MUTUAL).rows
    places = np.repeat(np.arange(count), nearest.shape[1]), nearest.ravel()
    near = coo_matrix((np.ones(nearest.size), places), (count, count)).tocsr()
    _, first, which = np.unique(related, return_index=True, return_inverse=True)
    known = coo_matrix((np.ones(count), (np.arange(count), first[which])), (count, count)).tocsr()
    units: NDArray[np.int64] = connected_components(near.minimum(near.T) + known, directed=False)[1].astype(np.int64)
    return units


def _average_nearest(similarity: NDArray[np.float32]) -> NDArray[np.float64]:
    nearest = min(NEAREST, similarity.shape[1] - 1)
    return np.asarray(-np.partition(-similarity, nearest - 1, axis=1)[:, :nearest].mean(axis=1), np.float64)


def _describe(split: str, found: list[ForeignClass], classes: Sequence[str], names: Sequence[str]) -> AuditFinding:
    found = sorted(found, key=lambda of_class: -len(of_class.unlike) / of_class.images)
    parts = [
        f"{quote_name(classes[of_class.label])} ({len(of_class.unlike):,} of {of_class.images:,})"
        for of_class in found[:MAX_NAMED]
    ]
    more = len(found) - len(parts)
    others = f", and of {more:,} other {'class' if more == 1 else 'classes'}" if more > 0 else ""
    shown = [row for of_class in found[:MAX_NAMED] for row in of_class.unlike[: MAX_EXAMPLES // len(parts)].tolist()]
    return AuditFinding(
        code="foreign_images",
        severity="warning",
        numbers={
            "split": split,
            "classes": [
                {
                    "class": classes[of_class.label],
                    "images": of_class.images,
                    "unlike": len(of_class.unlike),
                    "sigmas": round(of_class.sigmas, 1),
                }
                for of_class in found
            ],
        },
        explanation=f"The {split} images of {join_with_and(parts)}{others} differ from the training images of their "
        f"class. In brackets: how many look less like training images than {1 - UNLIKE_SHARE:.0%} of those look like "
        "each other.",
        what_to_do="Look at the pictures: another source, session, or subject? If the network will meet such images, "
        "add some to training. If not, leave them out of the test.",
        examples=tuple(AuditExample(split=split, index=row, member=names[row]) for row in shown),
    )
