"""Finds copies across splits that an ingest does not see: turned, strongly cropped, recolored, or encoded coarsely.

Features propose the training images that a held-out image may show; pixels prove it. Images of different classes are
not compared, because a class can be a direction, a size or a color.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import prod

import numpy as np
from numpy.typing import NDArray

from analysis.arrays.dataset import SPLITS, ImageSet
from heldout.fixes.leakage import COMPARED, make_leakage
from heldout.fixes.offers import MAX_EXAMPLES, MAX_PAIRS
from heldout.stored.audit import AuditExample, AuditFinding
from worker.ingest.audit.copies import GAINS, MAX_COLOUR_DIFFERENCE, MIN_CORNERED, MIN_MOVED_SIDE, MIN_OVERLAP
from worker.ingest.audit.signatures import convert_to_gray
from worker.training.looks.overlays import (
    SIDE,
    TURNS,
    Overlay,
    Placing,
    cut_out,
    find_placings,
    lay_over,
    repeat_whole,
    scale_to_unit,
    turn,
)

# Each held-out image is compared with its nearest of another split, as long as there are no more pairs than these.
NEAREST, NEAREST_TURNED, MAX_COMPARED = 5, 2, 20_000
HELD_AT_ONCE, TURNED_SIDE = 512, 8
PAIRS_AT_ONCE, VALUES_AT_ONCE = 64, 4_000_000
# Chosen on six sets, of which docs/measurements/copies.md has the names.
MAX_DIFFERENCE, MORE_DIFFERENCE, MAX_LARGEST_DIFFERENCE = 0.008, 0.024, 0.1
MIN_RECOLORED, MAX_EXTENT = 0.03, 0.93
HOWS = ("encoded again", "turned", "mirrored", "cropped", "recolored")


@dataclass(frozen=True)
class FoundCopies:
    """Copies across splits that were found by features.

    pairs: (pairs, 2) positions in the dataset, the held-out image first. how: (pairs,) positions in HOWS.
    """

    pairs: NDArray[np.int64]
    how: NDArray[np.int64]


def find_copies(
    images: ImageSet, rows: NDArray[np.int64], normalized: NDArray[np.float32], copy_of: NDArray[np.integer]
) -> FoundCopies:
    """Find the copies across splits that are not known yet.

    Args:
        rows: (sampled,) the images that have features. normalized: (sampled, features) of these images.
        copy_of: (images,) the first image of each cluster of known copies. Images that have one are left out.
    """
    pairs = propose_pairs(images, rows, normalized, copy_of)
    if min(images.shape[:2]) < MIN_MOVED_SIDE:
        pairs = pairs[:0]
    how = np.full(len(pairs), -1, np.int64)
    step = _count_at_once(images)
    for at in range(0, len(pairs), step):
        how[at : at + step] = prove(images, pairs[at : at + step])
    is_copy = how >= 0
    return FoundCopies(pairs[is_copy], how[is_copy])


def propose_pairs(
    images: ImageSet, rows: NDArray[np.int64], normalized: NDArray[np.float32], copy_of: NDArray[np.integer]
) -> NDArray[np.int64]:
    """Return (pairs, 2) positions in the dataset, the most similar first."""
    found, similarity = [np.empty((0, 2), np.int64)], [np.empty(0, np.float32)]
    turned = _make_turned(images, rows)
    for held, seen in COMPARED:
        of_held, of_seen = (np.flatnonzero(np.isin(rows, images.splits[split])) for split in (held, seen))
        of_held = of_held[~np.isin(copy_of[rows[of_held]], copy_of[images.splits[seen]])]
        for label in np.unique(images.labels[rows[of_held]]):
            own, others = (part[images.labels[rows[part]] == label] for part in (of_held, of_seen))
            for at in range(0, len(own), HELD_AT_ONCE) if len(others) else ():
                part = own[at : at + HELD_AT_ONCE]
                # Features of turned images differ, so these are also proposed by small images.
                by_pixels = np.full((len(part), len(others)), -1, np.float32)
                for small in turned[1:]:
                    np.maximum(by_pixels, turned[0, part] @ small[others].T, out=by_pixels)
                for alike, count in ((normalized[part] @ normalized[others].T, NEAREST), (by_pixels, NEAREST_TURNED)):
                    nearest = np.argsort(-alike, axis=1, kind="stable")[:, :count]
                    pairs = np.stack([np.repeat(rows[part], nearest.shape[1]), rows[others[nearest.ravel()]]], axis=1)
                    found.append(pairs)
                    similarity.append(np.take_along_axis(alike, nearest, axis=1).ravel())
    order = np.argsort(-np.concatenate(similarity), kind="stable")
    pairs = np.concatenate(found)[order]
    pairs = pairs[np.sort(np.unique(pairs, axis=0, return_index=True)[1])]
    return pairs[:MAX_COMPARED]


def _make_turned(images: ImageSet, rows: NDArray[np.int64]) -> NDArray[np.float32]:
    """Return (turns, sampled, pixels): small gray images of unit length, as they are and in all other directions."""
    parts, step = [], _count_at_once(images)
    for at in range(0, len(rows), step):
        block = np.asarray(images.images[rows[at : at + step]])
        parts.append(convert_to_gray(cut_out(block, repeat_whole(len(block)), TURNED_SIDE)))
    small = np.concatenate(parts)[..., np.newaxis]
    return np.stack([scale_to_unit(turn(small, way).reshape(len(rows), -1)) for way in range(TURNS)])


def _count_at_once(images: ImageSet) -> int:
    return max(1, min(PAIRS_AT_ONCE, VALUES_AT_ONCE // prod(images.shape)))


def prove(images: ImageSet, pairs: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return (pairs,) how one of each two images was made from the other, as a position in HOWS; -1 if it was not."""
    how = np.full(len(pairs), -1, np.int64)
    for placing, overlay in overlay_pairs(images, pairs):
        is_copy = are_copies(overlay)
        is_new = is_copy & (how[placing.pairs] < 0)
        how[placing.pairs[is_new]] = describe_how(placing, overlay)[is_new]
    return how


def overlay_pairs(images: ImageSet, pairs: NDArray[np.int64]) -> Iterator[tuple[Placing, Overlay]]:
    """Yield ways to lay the images of pairs over each other."""
    low, high = images.value_range
    pixels = [
        (np.asarray(images.images[pairs[:, side]], np.float32) - low) * np.float32(255 / (high - low))
        for side in (0, 1)
    ]
    side = min(SIDE, max(images.shape[:2]))
    squares = [cut_out(values, repeat_whole(len(pairs)), side) for values in pixels]
    for placing in find_placings(*squares):
        rows, wholes, part = placing.pairs, int(placing.is_swapped), squares[1 - placing.is_swapped][placing.pairs]
        for way in np.unique(placing.turn[placing.turn > 0]).tolist():
            part[placing.turn == way] = turn(part[placing.turn == way], way)
        yield placing, lay_over(pixels[wholes][rows], part, placing.box)


def are_copies(overlay: Overlay) -> NDArray[np.bool_]:
    """Decide which images lie on each other so well that one was made from the other."""
    aligned = overlay.alignment
    return (
        (aligned.difference <= MAX_DIFFERENCE + MORE_DIFFERENCE * overlay.touching)
        & (aligned.largest <= MAX_LARGEST_DIFFERENCE)
        & (aligned.colour <= MAX_COLOUR_DIFFERENCE)
        & (aligned.cornered >= MIN_CORNERED)
        & (aligned.overlap >= MIN_OVERLAP)
        & (aligned.gain >= GAINS[0])
        & (aligned.gain <= GAINS[1])
    )


def describe_how(placing: Placing, overlay: Overlay) -> NDArray[np.int64]:
    """Return (count,) what was done to one of the images, as positions in HOWS."""
    how = np.zeros(len(placing.pairs), np.int64)
    how[overlay.recolored > MIN_RECOLORED] = HOWS.index("recolored")
    how[overlay.extent < MAX_EXTENT] = HOWS.index("cropped")
    how[placing.turn == 4] = HOWS.index("mirrored")
    how[(placing.turn > 0) & (placing.turn != 4)] = HOWS.index("turned")
    return how


def describe_copies(images: ImageSet, found: FoundCopies, names: Sequence[str]) -> AuditFinding | None:
    """Make the finding of an audit, of copies that its ingest did not count; None if there are none."""
    split_of = np.empty(len(images.labels), np.int64)
    for number, split in enumerate(SPLITS):
        split_of[images.splits[split]] = number

    def make_example(row: int) -> AuditExample:
        return AuditExample(split=SPLITS[split_of[row]], index=row, member=names[row] if len(names) > row else "")

    numbers, shown = {}, []
    for held, seen in COMPARED:
        splits = np.array([SPLITS.index(held), SPLITS.index(seen)])
        rows = np.flatnonzero((split_of[found.pairs] == splits).all(axis=1))
        rows = rows[np.unique(found.pairs[rows, 0], return_index=True)[1]]
        how = Counter(HOWS[number] for number in found.how[rows].tolist())
        numbers[f"{held}_in_{seen}"] = {
            "images": len(rows),
            "exact": 0,
            "near": len(rows),
            **({"how": dict(how)} if how else {}),
            "by_features": len(rows),
        }
        shown += [(make_example(first), make_example(second)) for second, first in found.pairs[rows].tolist()]
    counts = {split: len(rows) for split, rows in images.splits.items()}
    examples = [image for pair in shown[: MAX_EXAMPLES // 2] for image in pair]
    return make_leakage(numbers, counts, examples, shown[:MAX_PAIRS])
