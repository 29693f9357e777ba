"""Images that are copies of each other: exact ones by digest; near ones proposed by signature, confirmed by pixels."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from threadpoolctl import threadpool_limits

from analysis.arrays.relations import Relations
from worker.ingest.audit.alignment import Alignment, align
from worker.ingest.audit.dataset import IngestedDataset
from worker.ingest.audit.look_alikes import PIXELS_AT_ONCE, are_one_picture
from worker.ingest.audit.scan import Scan
from worker.ingest.audit.signatures import Floats, Signatures, convert_to_gray, find_near_pairs, shrink
from worker.ingest.images.pixels import Pixels
from worker.ingest.pool import ProcessPool

T = TypeVar("T", bound=np.generic)

MIN_CONTRAST = 0.02  # of the value range: images with less contrast are not compared
# Pixels are compared up to half this squared distance of two signatures. The second number is added for content that
# touches the border, because there a move changes what is visible.
MAX_SIGNATURE_DISTANCE, MORE_SIGNATURE_DISTANCE = 0.009, 0.1
PAIRS_AT_ONCE = 256
MAX_EXAMINED_PIXELS = 20_000_000  # of pairs with different labels, together
MIN_MOVED_SIDE = 16  # smaller images show too little to be distinguished from others once they are moved

# The pixels of a copy that has not moved, at unit contrast, correlate and differ nowhere by much of the contrast. Among
# mnist5k's 12.5 million pairs, distinct digits correlate by at most 0.981 and differ by at least 0.31. At quality 75,
# JPEG keeps 99% of its copies above 0.995 and below 0.18.
MIN_PIXEL_CORRELATION = 0.99
MAX_PIXEL_DIFFERENCE = 0.25
# Once aligned, a copy differs by a share of its structure, and nowhere by much of its contrast. Distinct digits of
# mnist5k, aligned in the same way, differ by at least 0.0086 and 0.1; 95% of moved, scaled and cropped digits by less
# than 0.002 and 0.05. Images whose content touches the border, photos above all, are less alike; interpolating their
# detail costs more.
MAX_DIFFERENCE, MORE_DIFFERENCE = 0.004, 0.012
MAX_LARGEST_DIFFERENCE = 0.07
MAX_COLOUR_DIFFERENCE = 0.1
MIN_CORNERED = 0.005  # digits have 0.05 and more, one straight edge 0.001
# Images that have not moved and show little more than a gradient of light correlate, whatever they show.
MAX_DIFFERENCE_IN_PLACE = 0.1
MIN_OVERLAP = 0.7
GAINS = (0.4, 2.5)

# What happened to a copy besides encoding it again; the first that applies.
MIN_SCALING = 0.015
MIN_SHIFT = 0.3  # compared pixels
HOWS = ("encoded again", "shifted", "scaled or cropped", "mirrored", "found by features before")


class Confirmed(NamedTuple):
    """(pairs,) whether two images are copies, and how, as a position in HOWS."""

    are_copies: NDArray[np.bool_]
    how: NDArray[np.int8]


@dataclass(frozen=True)
class Copies:
    """Which images are copies of each other.

    original: (images,) the first image with the same pixels, which is the image itself where there is none before it.
    near: (pairs, 2) originals that are near copies of each other, the earlier first. is_bounded: whether too many
    images look alike for all of them to be compared. how: (pairs,) what happened to each near copy, as a position
    in HOWS. look_alikes: (pairs, 2) originals with different labels that look alike, and may be two things.
    undone: the splits whose pixels were undone first.
    """

    original: NDArray[np.int64]
    near: NDArray[np.int64]
    is_bounded: bool
    how: NDArray[np.int8]
    look_alikes: NDArray[np.int64]
    undone: tuple[str, ...] = ()


@dataclass(frozen=True)
class _PairsPart:
    pixels: Pixels
    pairs: NDArray[np.int64]
    frames: tuple[Floats, Floats]
    is_mirrored: NDArray[np.bool_]
    value_range: tuple[float, float] = (0, 255)


def find_copies(dataset: IngestedDataset, scan: Scan, pool: ProcessPool) -> Copies:
    """Find exact and near copies among all images. Images without contrast are left out.

    Mirror images are copies only if they have the same label: an arrow to the left is not a copy of one to the right.
    Images with different labels that may only look alike are listed separately.
    """
    pixels, (low, high) = dataset.pixels, dataset.value_range
    is_picture = scan.images["high"] - scan.images["low"] > MIN_CONTRAST * (high - low)
    original = _find_originals(pixels, scan.images["digest"], is_picture)
    unique = np.flatnonzero((original == np.arange(len(original))) & is_picture)
    pairs, is_bounded = _propose_pairs(scan.signatures, unique)
    near, how = _confirm_copies(pixels, scan.signatures, pairs, pool)
    # So far each of several copies is paired only with its nearest ones.
    pairs, are_too_many = _list_cluster_others(near, pairs, len(original))
    more, how_more = _confirm_copies(pixels, scan.signatures, pairs, pool)
    near, how = np.concatenate([near, more]), np.concatenate([how, how_more])
    order = np.lexsort((near[:, 1], near[:, 0]))
    near, how = near[order], how[order]
    contradicts = dataset.labels[near[:, 0]] != dataset.labels[near[:, 1]]
    is_left = ~_are_among(near, original[dataset.different], len(original))
    is_left &= ~contradicts | (how != HOWS.index("mirrored"))
    near, how, contradicts = near[is_left], how[is_left], contradicts[is_left]
    rows = np.flatnonzero(contradicts)
    is_one, are_left_out = _find_same_pictures(dataset, scan.signatures, near[rows], pool)
    look_alikes = near[rows[~is_one]]
    near, how = np.delete(near, rows[~is_one], axis=0), np.delete(how, rows[~is_one])
    near, how = _add_known(near, how, original[dataset.copies])
    return Copies(original, near, is_bounded or are_too_many or are_left_out, how, look_alikes)


def _add_known(
    near: NDArray[np.int64], how: NDArray[np.int8], known: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int8]]:
    """Add pairs of originals that features found before, which this search may not see."""
    pairs = np.concatenate([near, np.sort(known[known[:, 0] != known[:, 1]], axis=1)])
    by = np.concatenate([how, np.full(len(pairs) - len(near), HOWS.index("found by features before"), np.int8)])
    pairs, first = np.unique(pairs, axis=0, return_index=True)
    return pairs, by[first]


def _are_among(pairs: NDArray[np.int64], known: NDArray[np.int64], count: int) -> NDArray[np.bool_]:
    known = np.sort(known, axis=1)
    return np.isin(pairs[:, 0] * count + pairs[:, 1], known[:, 0] * count + known[:, 1])


def _find_same_pictures(
    dataset: IngestedDataset, signatures: Signatures, pairs: NDArray[np.int64], pool: ProcessPool
) -> tuple[NDArray[np.bool_], bool]:
    """Decide which pairs with different labels are certainly one picture, and whether a bound left some out."""
    pixels, frames = dataset.pixels, signatures.frames
    size = pixels.shape[1] * pixels.shape[2]
    most, step = MAX_EXAMINED_PIXELS // size + 1, max(1, min(PIXELS_AT_ONCE // size, pixels.rows_in_block))
    parts = (
        _PairsPart(
            pixels, chunk, (frames[chunk[:, 0]], frames[chunk[:, 1]]), np.zeros(len(chunk), bool), dataset.value_range
        )
        for chunk in _iterate_chunks(pairs[:most], step)
    )
    found = list(pool.map(_examine_part, parts, names=lambda part: ["the comparison of images that look alike"]))
    are_one = np.concatenate([*found, np.zeros(max(0, len(pairs) - most), bool)])
    return are_one.astype(bool), len(pairs) > most


def _examine_part(part: _PairsPart) -> NDArray[np.bool_]:
    first, second = (part.pixels.take(part.pairs[:, side]) for side in (0, 1))
    return are_one_picture(first, second, part.frames, part.value_range)


def confirm(
    first_images: NDArray[np.generic],
    second_images: NDArray[np.generic],
    frames: tuple[Floats, Floats],
    is_mirrored: NDArray[np.bool_],
) -> Confirmed:
    """Decide if images (pairs, height, width, channels) are one picture, encoded again, brightened, moved or scaled.

    Args:
        frames: of both, (pairs, 4), as their signatures have them.
        is_mirrored: (pairs,) which of the second images are mirrored first.
    """
    turned = is_mirrored[:, np.newaxis, np.newaxis, np.newaxis]
    second_images = np.where(turned, second_images[:, :, ::-1], second_images)
    second = np.where(is_mirrored[:, np.newaxis], frames[1] * np.array([1, -1, 1, 1], np.float32), frames[1])
    aligned = align(first_images, second_images, (frames[0], second))
    in_place = (aligned.difference <= MAX_DIFFERENCE_IN_PLACE) & (aligned.colour <= MAX_COLOUR_DIFFERENCE)
    in_place[in_place] = are_copies_in_place(first_images[in_place], second_images[in_place])
    touching = np.minimum(np.maximum(frames[0][:, 3], frames[1][:, 3]), 1)
    moved = ~in_place & _are_copies(aligned, touching) & (min(first_images.shape[1:3]) >= MIN_MOVED_SIDE)
    how = np.zeros(len(first_images), np.int8)
    is_shifted = np.maximum(np.abs(aligned.down), np.abs(aligned.right)) >= MIN_SHIFT
    how[moved & is_shifted] = HOWS.index("shifted")
    how[moved & (np.abs(aligned.scale - 1) >= MIN_SCALING)] = HOWS.index("scaled or cropped")
    how[is_mirrored] = HOWS.index("mirrored")
    return Confirmed(in_place | moved, how)


def are_copies_in_place(first: NDArray[np.generic], second: NDArray[np.generic]) -> NDArray[np.bool_]:
    """Decide for (pairs,) whether images (pairs, height, width, channels) differ only by encoding or brightness."""
    a, b = _scale_to_unit(first), _scale_to_unit(second)
    alike = np.einsum("pi,pi->p", a, b)
    span = np.minimum(np.ptp(a, axis=1), np.ptp(b, axis=1))
    difference = np.abs(a - b).max(axis=1)
    return (alike >= MIN_PIXEL_CORRELATION) & (difference <= MAX_PIXEL_DIFFERENCE * span)


def _are_copies(aligned: Alignment, touching: Floats) -> NDArray[np.bool_]:
    return (
        (aligned.difference <= MAX_DIFFERENCE + MORE_DIFFERENCE * touching)
        & (aligned.largest <= MAX_LARGEST_DIFFERENCE)
        & (aligned.colour <= MAX_COLOUR_DIFFERENCE)
        & (aligned.cornered >= MIN_CORNERED)
        & (aligned.overlap >= MIN_OVERLAP)
        & (aligned.gain >= GAINS[0])
        & (aligned.gain <= GAINS[1])
    )


def _confirm_copies(
    pixels: Pixels, signatures: Signatures, pairs: NDArray[np.int64], pool: ProcessPool
) -> tuple[NDArray[np.int64], NDArray[np.int8]]:
    """Return those of `pairs` that are copies, and how."""
    step, frames = min(PAIRS_AT_ONCE, pixels.rows_in_block), signatures.frames
    parts = (
        _PairsPart(pixels, chunk, (frames[chunk[:, 0]], frames[chunk[:, 1]]), _are_mirrored(signatures, chunk))
        for chunk in _iterate_chunks(pairs, step)
    )
    found = list(pool.map(_confirm_part, parts, names=lambda part: ["the comparison of images that look alike"]))
    are_copies = np.concatenate([part.are_copies for part in found] or [np.empty(0, bool)])
    how = np.concatenate([part.how for part in found] or [np.empty(0, np.int8)])
    return pairs[are_copies], how[are_copies]


def _confirm_part(part: _PairsPart) -> Confirmed:
    first, second = (part.pixels.take(part.pairs[:, side]) for side in (0, 1))
    return confirm(first, second, part.frames, part.is_mirrored)


def _are_mirrored(signatures: Signatures, pairs: NDArray[np.int64]) -> NDArray[np.bool_]:
    first, second = (signatures.odd[pairs[:, side]].astype(np.float32) for side in (0, 1))
    return np.einsum("pi,pi->p", first, second) < 0


def _list_cluster_others(
    near: NDArray[np.int64], compared: NDArray[np.int64], count: int
) -> tuple[NDArray[np.int64], bool]:
    """Return (pairs, 2) uncompared pairs of clusters, small clusters first, and whether some are left out."""
    cluster = find_clusters(near, count)
    sizes = np.bincount(cluster)
    members = np.split(np.argsort(cluster, kind="stable"), np.cumsum(sizes)[:-1])
    found, left = [np.empty((0, 2), np.int64)], max(count // 2, 1000)
    for number in np.argsort(sizes, kind="stable")[np.count_nonzero(sizes <= 2) :].tolist():
        first, second = np.triu_indices(sizes[number], 1)
        left -= len(first)
        if left < 0:
            break
        found.append(np.stack([members[number][first], members[number][second]], axis=1))
    pairs = np.concatenate(found)
    is_new = ~np.isin(pairs[:, 0] * count + pairs[:, 1], compared[:, 0] * count + compared[:, 1])
    return pairs[is_new], left < 0


def build_relations(copies: Copies, groups: NDArray[np.int64] | None) -> Relations:
    """Return the clusters that copies form, and the groups.

    Two images are in one cluster if a chain of copies joins them, each a copy of the next. The two ends of a chain may
    differ by more than copies do, but once a whole cluster is left out, no copy of it remains.
    """
    cluster = find_clusters(copies.near, len(copies.original))
    _, first = np.unique(cluster, return_index=True)
    firsts = first[cluster].astype(np.int32)
    return Relations(firsts[copies.original], None if groups is None else groups.astype(np.int32))


def find_clusters(pairs: NDArray[np.int64], count: int) -> NDArray[np.int32]:
    """Return (count,) a number for each cluster of images that chains of pairs join."""
    graph = coo_array((np.ones(len(pairs), bool), (pairs[:, 0], pairs[:, 1])), shape=(count, count))
    cluster: NDArray[np.int32] = connected_components(graph, directed=False)[1]
    return cluster


def _propose_pairs(signatures: Signatures, rows: NDArray[np.int64]) -> tuple[NDArray[np.int64], bool]:
    """Return (pairs, 2) of `rows` with near signatures, mirrored or not, and whether a bound left some out."""
    even, odd = (half[rows].astype(np.float32) for half in (signatures.even, signatures.odd))
    vectors = np.concatenate([even, odd], axis=1)
    of_odd = vectors[:, even.shape[1] :]
    np.abs(of_odd, out=of_odd)  # in place: a copy for a million images takes 128 MB
    touching = np.minimum(signatures.frames[rows, 3], 1)
    with threadpool_limits(1, "blas"):  # for matrices this small, threads only wait for each other
        found, is_bounded = find_near_pairs(vectors, 1 - MAX_SIGNATURE_DISTANCE - MORE_SIGNATURE_DISTANCE * touching)
    is_near = np.empty(len(found), bool)
    for first in range(0, len(found), 50_000):
        left, right = found[first : first + 50_000].T
        alike, odds = (np.einsum("pi,pi->p", half[left], half[right]) for half in (even, odd))
        furthest = MAX_SIGNATURE_DISTANCE + MORE_SIGNATURE_DISTANCE * np.maximum(touching[left], touching[right])
        is_near[first : first + len(left)] = alike + np.abs(odds) >= 1 - furthest
    return rows[found[is_near]], is_bounded


def _find_originals(pixels: Pixels, digests: NDArray[np.uint64], is_picture: NDArray[np.bool_]) -> NDArray[np.int64]:
    _, first, which = np.unique(digests, return_index=True, return_inverse=True)
    original = first[which].astype(np.int64)
    later = np.flatnonzero((original != np.arange(len(original))) & is_picture)
    for chunk in _iterate_chunks(later, pixels.rows_in_block):
        same = (pixels.take(chunk) == pixels.take(original[chunk])).reshape(len(chunk), -1).all(axis=1)
        original[chunk[~same]] = chunk[~same]  # digests may collide, pixels do not
    return np.where(is_picture, original, np.arange(len(original)))


def _iterate_chunks(values: NDArray[T], size: int) -> Iterator[NDArray[T]]:
    for first in range(0, len(values), size):
        yield values[first : first + size]


def _scale_to_unit(images: NDArray[np.generic]) -> Floats:
    """Return (count, pixels) brightness without its mean, at unit length and at most at the size of comparison."""
    small = convert_to_gray(shrink(images))
    flat = small.reshape(len(images), small.shape[1] * small.shape[2])
    flat = flat - flat.mean(axis=1, keepdims=True)
    flat /= np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-12)
    return flat
