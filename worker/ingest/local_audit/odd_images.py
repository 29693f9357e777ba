"""Images that stand out from all others: darker or brighter, without contrast, blurred, cut, or without a neighbor."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.neighbors import NearestNeighbors

from analysis.arrays.dataset import BLOCK_BYTES, SPLITS, ImageSet
from heldout.stored.audit import AuditExample, AuditFinding
from heldout.words import pluralize

# Fewer images say too little about what is usual.
MIN_IMAGES = 40
# Distance from the median, in standard deviations estimated from the middle half of the images.
MIN_DEVIATIONS = 6.0
# A fault of more images than this share is a part of the dataset, not an exception.
MAX_SHARE = 0.02
# Smallest difference from the median that a person would notice, as a share of the value range or as a factor.
MIN_DIFFERENCE, MIN_FACTOR = 0.15, 2.5
# Almost nothing can be seen in an image that leaves out this share of the value range, where most use half of it.
MIN_UNSEEN, MOST_UNSEEN = 0.85, 0.5
# An image is cut if this share of it is one color at one side, where that of most images shows something.
MIN_CUT = 0.2
# Neighbors by features are unlike if they are this much less similar than those of most images.
MIN_UNLIKE = 0.2
# Images are compared as squares of this side, by the distance to one of the nearest other images.
SIDE = 8
NEIGHBOR = 5
MAX_COMPARED = 5_000
MAX_LISTED = 24
# The words for one image, and for several.
REASONS = {
    "dark": "much darker",
    "bright": "much brighter",
    "flat": "with much less contrast",
    "blurred": "much more blurred",
    "cut": "empty at one side, as if cut off",
    "unlike": "unlike every other image",
}


@dataclass(frozen=True)
class Measured:
    """What is measured of images, each (count,). small: (count, cells) of them, shrunk.

    mean, darkest, brightest, contrast, detail: as shares of the value range, of which darkest and brightest are the
    percentiles 1 and 99 of an image. empty: the largest share of the image that lies at one side and has one color.
    """

    mean: NDArray[np.float64]
    darkest: NDArray[np.float64]
    brightest: NDArray[np.float64]
    contrast: NDArray[np.float64]
    detail: NDArray[np.float64]
    empty: NDArray[np.float64]
    small: NDArray[np.float32]


@dataclass(frozen=True)
class OddImage:
    """row: its position in the dataset. reason: a key of REASONS. deviations: how far it is from the others."""

    row: int
    reason: str
    deviations: float


def find_odd_images(images: ImageSet, similarity: NDArray[np.floating] | None = None) -> list[OddImage]:
    """Return the images that stand out, the oddest first; none if there are too few images to say what is usual.

    Args:
        similarity: (images, neighbors) of the features of each image and its nearest others, the most similar first.
            Without it, images are compared as squares of 8×8 pixels.
    """
    count = len(images.labels)
    if count < MIN_IMAGES:
        return []
    found = _measure(images)
    scores = {
        "dark": _score(-found.mean, MIN_DIFFERENCE, 1 - found.brightest),
        "bright": _score(found.mean, MIN_DIFFERENCE, found.darkest),
        "flat": _score(-np.log(found.contrast), np.log(MIN_FACTOR), 1 - (found.brightest - found.darkest)),
        "blurred": _score(-np.log(found.detail / found.contrast), np.log(MIN_FACTOR)),
        "cut": _score(found.empty, MIN_CUT),
        "unlike": _score_distances(found.small)
        if similarity is None
        else _score(-similarity[:, :NEIGHBOR][:, -1].astype(np.float64), MIN_UNLIKE),
    }
    odd: dict[int, OddImage] = {}
    for reason, score in scores.items():
        rows = np.flatnonzero(score >= MIN_DEVIATIONS)
        if len(rows) <= max(1, MAX_SHARE * count):
            for row in rows.tolist():
                odd.setdefault(row, OddImage(row, reason, float(score[row])))
    return sorted(odd.values(), key=lambda image: -image.deviations)


def describe_odd_images(odd: Sequence[OddImage], examples: Sequence[AuditExample]) -> AuditFinding:
    """Return the finding. examples: one for each of the images, in their order."""
    counts = Counter(image.reason for image in odd)
    parts = [f"{count:,} {REASONS[reason]}" for reason, count in counts.most_common()]
    return AuditFinding(
        code="odd_images",
        severity="info",
        numbers={"images": len(odd), **counts, "reasons": [REASONS[image.reason] for image in odd[:MAX_LISTED]]},
        explanation=f"{pluralize(len(odd), 'image')} {'stands' if len(odd) == 1 else 'stand'} out from all others: "
        f"{', '.join(parts)}.",
        what_to_do="Look at them. Remove those that do not belong here, and keep rare but real ones.",
        examples=tuple(examples[:MAX_LISTED]),
    )


def make_example(images: ImageSet, names: Sequence[str], row: int) -> AuditExample:
    """Return an image's split, position and name."""
    split = next(split for split in SPLITS if np.isin(row, images.splits[split]))
    return AuditExample(split=split, index=row, member=names[row])


def _measure(images: ImageSet) -> Measured:
    """Measure all images, block by block."""
    parts = [_measure_block(block) for block in _iterate_blocks(images)]
    return Measured(*(np.concatenate(part) for part in zip(*parts, strict=True)))


def _iterate_blocks(images: ImageSet) -> Iterator[NDArray[np.float32]]:
    """Yield images (count, height, width, channels) as shares of the value range."""
    low, high = images.value_range
    step = max(1, BLOCK_BYTES // max(1, images.images[0].size))
    for first in range(0, len(images.images), step):
        block = np.asarray(images.images[first : first + step], np.float32)
        yield np.asarray((block - low) / (high - low), np.float32)


def _measure_block(block: NDArray[np.float32]) -> tuple[NDArray[np.floating], ...]:
    """Return the fields of `Measured`."""
    gray = block.mean(axis=3)
    darkest, brightest = np.quantile(gray, (0.01, 0.99), axis=(1, 2))
    # A value range of 256 steps cannot show less.
    contrast = np.maximum(gray.std(axis=(1, 2), dtype=np.float64), 1 / 256)
    steps = (np.abs(np.diff(gray, n=2, axis=axis)).mean(axis=(1, 2), dtype=np.float64) for axis in (1, 2))
    detail = np.maximum(sum(steps), 1 / 1024)
    mean = gray.mean(axis=(1, 2), dtype=np.float64)
    return mean, darkest, brightest, contrast, detail, _measure_empty(gray), _shrink(block)


def _measure_empty(gray: NDArray[np.float32]) -> NDArray[np.float64]:
    """Measure the largest share of each image that lies at one side, and has one color."""
    shares = np.zeros(len(gray))
    for turns in range(4):
        turned = np.rot90(gray, turns, axes=(1, 2))
        is_same = np.abs(turned - turned[:, :1, :1]).max(axis=2) < 1 / 256
        shares = np.maximum(shares, np.logical_and.accumulate(is_same, axis=1).mean(axis=1))
    return shares


def _shrink(block: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the means of a grid of at most SIDE×SIDE cells of each image, as a row."""
    for axis in (1, 2):
        cells = min(SIDE, block.shape[axis])
        edges = np.linspace(0, block.shape[axis], cells + 1).astype(int)
        sizes = np.diff(edges).reshape([-1 if place == axis else 1 for place in range(4)])
        block = np.add.reduceat(block, edges[:-1], axis=axis) / sizes
    return np.asarray(block.reshape(len(block), -1), np.float32)


def _score(
    values: NDArray[np.float64], min_difference: float, unseen: NDArray[np.float64] | None = None
) -> NDArray[np.float64]:
    """Return how many deviations each value is above the median; 0 where the difference would not be noticed.

    Args:
        unseen: the share of the value range that an image does not use. The brightness of photographs varies widely, so
            even a black one is not many deviations away. Among images that use most of the range, it is still odd.
    """
    low, median, high = np.quantile(values, (0.25, 0.5, 0.75))
    deviation = max((high - low) / 1.349, min_difference / MIN_DEVIATIONS)  # the middle half of a normal distribution
    score = np.where(values - median >= min_difference, (values - median) / deviation, 0.0)
    if unseen is None or np.median(unseen) > MOST_UNSEEN:
        return score
    return np.where(unseen >= MIN_UNSEEN, np.maximum(score, MIN_DEVIATIONS), score)


def _score_distances(small: NDArray[np.float32]) -> NDArray[np.float64]:
    """Score how far each image is from its neighbors. Of very many images, each is compared with a random part."""
    # What differs in brightness alone is not unlike.
    shapes = small - small.mean(axis=1, keepdims=True)
    compared = shapes
    if len(shapes) > MAX_COMPARED:
        compared = shapes[np.random.default_rng(0).choice(len(shapes), MAX_COMPARED, replace=False)]
    search = NearestNeighbors(n_neighbors=min(NEIGHBOR + 1, len(compared)), algorithm="brute").fit(compared)
    distance = search.kneighbors(shapes)[0][:, -1].astype(np.float64)
    return _score(np.log(np.maximum(distance, 1e-6)), float(np.log(MIN_FACTOR)))
