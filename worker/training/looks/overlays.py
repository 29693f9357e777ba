"""Lays pairs of images over each other: turned, strongly cropped, or in other colors.

Where to begin is found on small gray images. `worker/ingest/audit/alignment.py` does the rest, as for other copies.
"""

from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from worker.ingest.audit.alignment import Alignment, align
from worker.ingest.audit.signatures import Floats, choose_reduction, compute_signatures, convert_to_gray

# Images are compared as squares of at most this side, so that a turned one has the shape of the other.
SIDE = 80
# Places are found on images of this side. A crop keeps one of these sides of the whole.
COARSE_SIDE = 24
CROPPED_SIDES = (22, 20, 19, 17, 16, 14, 13, 12)
# Turns are quarters, and 4 more for images that are mirrored first.
TURNS = 8
MIN_CORRELATION = 0.6
ROUNDS = 2


@dataclass(frozen=True)
class Placing:
    """Where to begin, for some pairs.

    pairs: (count,) which of the pairs. is_swapped: whether the second image is the whole one of which the first shows
    a part. turn: (count,) how the part is turned. box: (count, 3) top, left and extent of the part within the whole.
    """

    pairs: NDArray[np.int64]
    is_swapped: bool
    turn: NDArray[np.int64]
    box: Floats


@dataclass(frozen=True)
class Overlay:
    """How well two images lie on each other.

    touching: (count,) how much of the content touches the border, 1 at most. recolored: (count,) the part of the
    colors' variance that another color map changes. extent: (count,) the share of the whole's side that the part shows.
    """

    alignment: Alignment
    touching: Floats
    recolored: Floats
    extent: Floats


def turn(images: Floats, quarters: int) -> Floats:
    """Turn square images (count, side, side, channels)."""
    return np.rot90(images[:, :, ::-1] if quarters >= 4 else images, quarters % 4, axes=(1, 2))


def cut_out(images: NDArray[np.generic], box: Floats, side: int) -> Floats:
    """Resize a part of each image (count, height, width, channels) to a square.

    Args:
        box: (count, 3) top, left and extent, as shares of the sides.
    """
    rows, columns = (
        _make_weights(box[:, axis] * length, box[:, 2] * length, length, side)
        for axis, length in enumerate(images.shape[1:3])
    )
    floats = np.moveaxis(images.astype(np.float32), -1, 1)
    cut = rows[:, np.newaxis] @ floats @ columns.transpose(0, 2, 1)[:, np.newaxis]
    return np.ascontiguousarray(np.moveaxis(cut, 1, -1))


def _make_weights(start: Floats, extent: Floats, length: int, side: int) -> Floats:
    """Return (count, side, length): the weight of each pixel in each of the new ones, under a triangle."""
    step = (extent / side)[:, np.newaxis, np.newaxis]
    at = start[:, np.newaxis, np.newaxis] + (np.arange(side, dtype=np.float32)[:, np.newaxis] + 0.5) * step - 0.5
    at = at.clip(0, length - 1)
    weights = np.maximum(1 - np.abs(at - np.arange(length, dtype=np.float32)) / np.maximum(step, 1), 0)
    found: Floats = (weights / weights.sum(axis=2, keepdims=True)).astype(np.float32)
    return found


def find_placings(first: Floats, second: Floats) -> list[Placing]:
    """Find where to begin with pairs of square images: in place, turned, and one as a part of the other."""
    small = [convert_to_gray(cut_out(images, repeat_whole(len(images)), COARSE_SIDE)) for images in (first, second)]
    count, everything = len(first), np.arange(len(first))
    units = [scale_to_unit(images.reshape(count, -1)) for images in small]
    turned = np.stack(
        [
            np.einsum(
                "pi,pi->p", units[0], turn(units[1].reshape(count, COARSE_SIDE, COARSE_SIDE, 1), way).reshape(count, -1)
            )
            for way in range(TURNS)
        ]
    )
    best = 1 + turned[1:].argmax(axis=0)
    is_turned = turned[best, everything] >= MIN_CORRELATION
    found = [
        Placing(everything, False, np.zeros(count, np.int64), repeat_whole(count)),
        Placing(everything[is_turned], False, best[is_turned], repeat_whole(int(is_turned.sum()))),
    ]
    for is_swapped in (False, True):
        whole, part = small[::-1] if is_swapped else small
        box, correlation = _find_part(whole, part)
        rows = everything[correlation >= MIN_CORRELATION]
        found.append(Placing(rows, is_swapped, np.zeros(len(rows), np.int64), box[rows]))
    return [placing for placing in found if len(placing.pairs)]


def _find_part(whole: Floats, part: Floats) -> tuple[Floats, Floats]:
    """Find the place of a part within a whole image, both (count, side, side); and how much they correlate there."""
    count = len(whole)
    best, box = np.full(count, -1, np.float32), repeat_whole(count)
    for side in CROPPED_SIDES:
        template = cut_out(part[..., np.newaxis], repeat_whole(count), side).reshape(count, -1, 1)
        windows = sliding_window_view(whole, (side, side), axis=(1, 2))
        places = windows.shape[1:3]
        flat = windows.reshape(count, -1, side * side)
        alike = (flat @ scale_to_unit(template[..., 0])[..., np.newaxis])[..., 0]
        spread = np.sqrt(np.maximum((flat**2).sum(axis=2) - flat.sum(axis=2) ** 2 / side**2, 1e-12))
        alike /= spread
        place = alike.argmax(axis=1)
        value = alike[np.arange(count), place]
        is_better = value > best
        down, right = np.unravel_index(place, places)
        found = np.stack([down, right, np.full(count, side)], axis=1).astype(np.float32) / COARSE_SIDE
        best[is_better], box[is_better] = value[is_better], found[is_better]
    return box, best


def lay_over(whole: NDArray[np.generic], part: Floats, box: Floats) -> Overlay:
    """Lay parts, squares (count, side, side, channels), over the whole images (count, height, width, channels).

    Args:
        box: where to begin.
    """
    side, box = part.shape[1], box.copy()
    compared = side // choose_reduction(side, side)
    touching = np.minimum(compute_signatures(part).frames[:, 3], 1)
    frames = np.stack([np.zeros(len(part)), np.zeros(len(part)), np.ones(len(part)), touching], axis=1).astype(
        np.float32
    )
    for _ in range(ROUNDS):
        seen = cut_out(whole, box, side)
        colored, recolored = _match_colors(seen, part)
        aligned = align(colored, part, (frames, frames))
        moved = np.isfinite(aligned.scale)
        scale = np.where(moved, aligned.scale, 1)
        # The part's pixel x lies at the middle + scale * x + move in what was cut out.
        for axis, move in enumerate((aligned.down, aligned.right)):
            middle = box[:, axis] + box[:, 2] * (0.5 + np.where(moved, move, 0) / compared)
            box[:, axis] = middle - box[:, 2] * scale / 2
        box[:, 2] *= scale
    return Overlay(aligned, touching.astype(np.float32), recolored, box[:, 2])


def _match_colors(images: Floats, like: Floats) -> tuple[Floats, Floats]:
    """Give images the colors of others by one linear map for each image; and the share of variance that it changes."""
    count, channels = len(images), images.shape[3]
    values, wanted = images.reshape(count, -1, channels), like.reshape(count, -1, channels)
    means = [part.mean(axis=1, keepdims=True) for part in (values, wanted)]
    values, wanted = values - means[0], wanted - means[1]
    normal = values.transpose(0, 2, 1) @ values
    normal += np.eye(channels, dtype=np.float32) * (1e-3 * np.trace(normal, axis1=1, axis2=2) + 1e-6)[:, None, None]
    colors = np.linalg.solve(normal, values.transpose(0, 2, 1) @ wanted)
    mapped = values @ colors
    variance = np.maximum((mapped**2).sum(axis=(1, 2)), 1e-12)
    gain = (values * mapped).sum(axis=(1, 2)) / np.maximum((values**2).sum(axis=(1, 2)), 1e-12)
    changed = ((mapped - gain[:, None, None] * values) ** 2).sum(axis=(1, 2)) / variance
    return (mapped + means[1]).reshape(images.shape).astype(np.float32), changed.astype(np.float32)


def scale_to_unit(flat: Floats) -> Floats:
    """Return (count, values) without their mean, at unit length."""
    centered: Floats = flat - flat.mean(axis=1, keepdims=True)
    lengths: Floats = np.linalg.norm(centered, axis=1, keepdims=True).astype(np.float32)
    return np.asarray(centered / np.maximum(lengths, 1e-6), np.float32)


def repeat_whole(count: int) -> Floats:
    """Return (count, 3) boxes of whole images."""
    return np.tile(np.array([0, 0, 1], np.float32), (count, 1))
