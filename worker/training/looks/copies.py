"""Finds copies across splits that an ingest does not see: turned, strongly cropped, recolored, or encoded coarsely.

Features propose the training images that a held-out image may show; pixels prove it. Images of different classes are
not compared, because a class can be a direction, a size or a color.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from analysis.arrays.dataset import SPLITS, ImageSet
from heldout.fixes.leakage import COMPARED, make_leakage
from heldout.fixes.offers import MAX_EXAMPLES, MAX_PAIRS
from heldout.stored.audit import AuditExample, AuditFinding
from worker.ingest.audit.alignment import Alignment
from worker.ingest.audit.copies import MIN_MOVED_SIDE
from worker.training.looks.overlays import SIDE, Overlay, Placing, cut_out, find_placings, lay_over, turn

# Each held-out image is compared with its nearest of another split, as long as there are no more pairs than these.
NEAREST, MAX_COMPARED = 5, 20_000
PAIRS_AT_ONCE = 64
HOWS = ("encoded again", "turned", "mirrored", "cropped", "recolored")


@dataclass(frozen=True)
class FoundCopies:
    """Copies across splits that were found by features.

    pairs: (pairs, 2) positions in the dataset, the held-out image first. how: (pairs,) positions in HOWS. is_bounded:
    whether there were too many pairs to compare them all.
    """

    pairs: NDArray[np.int64]
    how: NDArray[np.int64]
    is_bounded: bool


def find_copies(
    images: ImageSet, rows: NDArray[np.int64], normalized: NDArray[np.float32], copy_of: NDArray[np.int64]
) -> FoundCopies:
    """Find the copies across splits that are not known yet.

    Args:
        rows: (sampled,) the images that have features. normalized: (sampled, features) of these images.
        copy_of: (images,) the first image of each cluster of known copies. Images that have one are left out.
    """
    pairs, is_bounded = propose_pairs(images, rows, normalized, copy_of)
    if min(images.shape[:2]) < MIN_MOVED_SIDE:
        pairs = pairs[:0]
    how = np.full(len(pairs), -1, np.int64)
    for at in range(0, len(pairs), PAIRS_AT_ONCE):
        how[at : at + PAIRS_AT_ONCE] = prove(images, pairs[at : at + PAIRS_AT_ONCE])
    is_copy = how >= 0
    return FoundCopies(pairs[is_copy], how[is_copy], is_bounded)


def propose_pairs(
    images: ImageSet, rows: NDArray[np.int64], normalized: NDArray[np.float32], copy_of: NDArray[np.int64]
) -> tuple[NDArray[np.int64], bool]:
    """Return (pairs, 2) positions in the dataset, the most similar first; and whether a bound left some out."""
    found, similarity = [np.empty((0, 2), np.int64)], [np.empty(0, np.float32)]
    for held, seen in COMPARED:
        of_held, of_seen = (np.flatnonzero(np.isin(rows, images.splits[split])) for split in (held, seen))
        of_held = of_held[~np.isin(copy_of[rows[of_held]], copy_of[images.splits[seen]])]
        for label in np.unique(images.labels[rows[of_held]]):
            own, others = (part[images.labels[rows[part]] == label] for part in (of_held, of_seen))
            if not len(others):
                continue
            alike = normalized[own] @ normalized[others].T
            nearest = np.argsort(-alike, axis=1, kind="stable")[:, :NEAREST]
            pairs = np.stack([np.repeat(rows[own], nearest.shape[1]), rows[others[nearest.ravel()]]], axis=1)
            found.append(pairs)
            similarity.append(np.take_along_axis(alike, nearest, axis=1).ravel())
    pairs = np.concatenate(found)
    order = np.argsort(-np.concatenate(similarity), kind="stable")
    return pairs[order][:MAX_COMPARED], len(order) > MAX_COMPARED


def prove(images: ImageSet, pairs: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return (pairs,) how one of each two images was made from the other, as a position in HOWS; -1 if it was not."""
    how = np.full(len(pairs), -1, np.int64)
    for placing, overlay in overlay_pairs(images, pairs):
        is_copy = are_copies(overlay.alignment, overlay)
        is_new = is_copy & (how[placing.pairs] < 0)
        how[placing.pairs[is_new]] = describe_how(placing, overlay)[is_new]
    return how


def overlay_pairs(images: ImageSet, pairs: NDArray[np.int64]) -> Iterator[tuple[Placing, Overlay]]:
    """Yield ways to lay the images of pairs over each other."""
    low, high = images.value_range
    pixels = [
        (np.asarray(images.images[pairs[:, side]], np.float32) - low) * np.float32(255 / (high - low)) for side in (0, 1)
    ]
    side = min(SIDE, max(images.shape[:2]))
    whole = np.tile(np.array([0, 0, 1], np.float32), (len(pairs), 1))
    squares = [cut_out(values, whole, side) for values in pixels]
    for placing in find_placings(*squares):
        rows, wholes, part = placing.pairs, int(placing.is_swapped), squares[1 - placing.is_swapped][placing.pairs]
        for way in np.unique(placing.turn[placing.turn > 0]).tolist():
            part[placing.turn == way] = turn(part[placing.turn == way], way)
        yield placing, lay_over(pixels[wholes][rows], part, placing.box)


def are_copies(aligned: Alignment, overlay: Overlay) -> NDArray[np.bool_]:
    """Decide which pairs lie on each other so well that they are copies."""
    return (
        (aligned.difference <= 0.004 + 0.012 * overlay.touching)
        & (aligned.largest <= 0.07)
        & (aligned.colour <= 0.1)
        & (aligned.cornered >= 0.005)
        & (aligned.overlap >= 0.7)
        & (aligned.gain >= 0.4)
        & (aligned.gain <= 2.5)
    )


def describe_how(placing: Placing, overlay: Overlay) -> NDArray[np.int64]:
    """Return (count,) what was done to one of the images, as positions in HOWS."""
    how = np.zeros(len(placing.pairs), np.int64)
    how[overlay.recolored > 0.03] = HOWS.index("recolored")
    how[overlay.extent < 0.93] = HOWS.index("cropped")
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
