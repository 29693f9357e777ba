"""Two images laid over each other: moved, scaled, mirrored, brightened and sharpened, until they differ least."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter1d

from worker.ingest.audit.signatures import Floats, choose_reduction, convert_to_gray, reduce_images

MIN_COARSE_SIDE = 20  # smaller images are not halved
MARGIN = 1  # pixels at the border that are not compared, because their neighbors are not known
MAX_STEP = 1.0  # pixels
MAX_SCALING_STEP = 0.06
MAX_SCALE = 1.25
MAX_SHIFT_SHARE = 0.2  # of the side
RIDGE = 1e-7
COLOUR_AREA = 4  # compared pixels
# A pair with a larger difference, as a share of its variance, is not a pair of copies. The limits apply after the first
# and second step: for content away from the border, and the addition for content that touches it.
MAX_COARSE_DIFFERENCES = ((0.02, 0.5), (0.015, 0.2))
MAX_FINE_DIFFERENCES = ((0.012, 0.1), (0.01, 0.1))


@dataclass(frozen=True)
class Alignment:
    """How one image is aligned with another; each (pairs,) float32.

    scale: how much larger its content is in the first image than in the second. down, right: by how many compared
    pixels it has moved from the second to the first. gain: the second's contrast in terms of the first's. difference:
    the share of the second's structure that is left unexplained, in brightness. largest: the largest difference of a
    pixel, as a share of the contrast. colour: how much colours differ, as a share of the variance of brightness.
    cornered: 0 for images whose edges are all parallel, which say nothing about moves along them; 1 at most.
    overlap: the share of the first image that the second shows.
    """

    scale: Floats
    down: Floats
    right: Floats
    gain: Floats
    difference: Floats
    largest: Floats
    colour: Floats
    cornered: Floats
    overlap: Floats


def align(
    first_images: NDArray[np.generic], second_images: NDArray[np.generic], frames: tuple[Floats, Floats]
) -> Alignment:
    """Lay images `second_images` over images `first_images`, both (pairs, height, width, channels).

    Args:
        frames: of both, (pairs, 4), as their signatures have them: where to begin.
    Returns:
        The alignments. If a pair clearly is not a copy, its `difference` is infinite.
    """
    first, second = _smooth_and_shrink(first_images), _smooth_and_shrink(second_images)
    a, b = convert_to_gray(first), convert_to_gray(second)
    factor = 2 if min(a.shape[1:]) >= MIN_COARSE_SIDE else 1
    coarse = _smooth(reduce_images(b, factor))
    terms = _make_terms(_smooth(reduce_images(a, factor)))
    touching = np.minimum(np.maximum(frames[0][:, 3], frames[1][:, 3]), 1)
    place = _begin(terms, coarse, (frames[0] / np.float32(factor), frames[1] / np.float32(factor)), touching)
    alive = np.arange(len(a))
    for least, more in MAX_COARSE_DIFFERENCES:
        difference = _improve(terms, coarse[alive], place, alive)
        is_near = difference <= least + more * touching[alive]
        alive, terms = alive[is_near], terms[is_near]
    place[:, 1:] *= factor
    terms, b = _make_terms(_smooth(a[alive])), _smooth(b[alive])
    for least, more in MAX_FINE_DIFFERENCES:
        difference = _improve(terms, b, place, alive)
        is_near = difference <= least + more * touching[alive]
        alive, terms, b = alive[is_near], terms[is_near], b[is_near]
    return _measure_alignment(first, second, terms, place, alive)


def improve_at(first: Floats, second: Floats, place: Floats) -> None:
    """Take one step towards the best alignment of `second` with `first`, both (pairs, height, width, channels).

    Args:
        place: (pairs, 3): scale, down and right of the second's places, in pixels.
    """
    _improve(
        _make_terms(_smooth(convert_to_gray(first))), _smooth(convert_to_gray(second)), place, np.arange(len(first))
    )


def fit_at(first: Floats, second: Floats, place: Floats) -> tuple[list[Floats], Floats, Floats]:
    """Compute the part of `second` that these places leave unexplained.

    Returns:
        (pairs, height, width) of brightness, and of each color if there are three, under one gain and one
        brightness; 1 where pixels are compared, else 0; and (pairs,) the gain.
    """
    terms = _make_terms(_smooth(convert_to_gray(first)))
    target, weights = _warp(_smooth(convert_to_gray(second)), place, is_last=True)
    found, _ = _fit(terms, target, weights)
    rests = [_compute_unexplained(terms, found, target)]
    for channel in range(first.shape[3]) if first.shape[3] == 3 else ():
        target, _ = _warp(_smooth(second[..., channel]), place, is_last=True)
        rests.append(_compute_unexplained(_make_terms(_smooth(first[..., channel])), found, target))
    shape = first.shape[:3]
    return [rest.reshape(shape) for rest in rests], weights.reshape(shape), found[:, 0]


def _smooth_and_shrink(images: NDArray[np.generic]) -> Floats:
    """Shrink after a running mean, so that a move by less than one of the smaller pixels changes no detail."""
    floats: Floats = images.astype(np.float32)
    factor = choose_reduction(images.shape[1], images.shape[2])
    if factor > 1:
        for axis in (1, 2):
            floats = uniform_filter1d(floats, factor, axis=axis, mode="nearest")
    return reduce_images(floats, factor)


def _begin(terms: Floats, b: Floats, frames: tuple[Floats, Floats], touching: Floats) -> Floats:
    """Return (pairs, 3) places to begin at: scale, down and right.

    Content inside the image shows where it is. Content at the border may also not have moved.
    """
    scale = (frames[1][:, 2] / frames[0][:, 2]).clip(1 / MAX_SCALE, MAX_SCALE)
    shift = frames[1][:, :2] - scale[:, np.newaxis] * frames[0][:, :2]
    place: Floats = np.concatenate([scale[:, np.newaxis], shift], axis=1).astype(np.float32)
    unsure = np.flatnonzero(touching > 0.02)
    if len(unsure):
        still = np.tile(np.array([1, 0, 0], np.float32), (len(unsure), 1))
        rests = []
        for start in (place[unsure], still):
            target, weights = _warp(b[unsure], start)
            rests.append(_fit(terms[unsure, :2], target, weights)[1] / _compute_variance(target, weights))
        place[unsure] = np.where((rests[1] < rests[0])[:, np.newaxis], still, place[unsure])
    return place


def _improve(terms: Floats, b: Floats, place: Floats, rows: NDArray[np.int64]) -> Floats:
    """Take a Gauss-Newton step by inverse composition. Write the new places, and return the differences."""
    half = max(b.shape[1:]) / 2
    target, weights = _warp(b, place[rows])
    found, rest = _fit(terms, target, weights)
    gain = np.where(np.abs(found[:, 0]) < 0.05, 0.05, found[:, 0])
    move = (found[:, 2:4] / gain[:, np.newaxis]).clip(-MAX_STEP, MAX_STEP)
    scaling = (found[:, 4] / gain / half).clip(-MAX_SCALING_STEP, MAX_SCALING_STEP)
    scale = place[rows, :1]
    bound = MAX_SHIFT_SHARE * 2 * half
    place[rows, 1:] = (place[rows, 1:] - scale * move).clip(-bound, bound)
    place[rows, :1] = (scale / (1 + scaling[:, np.newaxis])).clip(1 / MAX_SCALE, MAX_SCALE)
    return rest / _compute_variance(target, weights)


def _measure_alignment(
    first: Floats, second: Floats, terms: Floats, place: Floats, alive: NDArray[np.int64]
) -> Alignment:
    count, height, width, channels = first.shape
    target, weights = _warp(_smooth(convert_to_gray(second[alive])), place[alive], is_last=True)
    found, rest = _fit(terms, target, weights)
    unexplained = _compute_unexplained(terms, found, target) * weights
    span = np.minimum(np.ptp(terms[:, 0], axis=1) * np.abs(found[:, 0]), np.ptp(target * weights, axis=1))
    colour = np.zeros(len(alive), np.float32)
    if channels == 3:
        colour = _measure_color_difference(first[alive], second[alive], place[alive], found[:, 0])
    filled = {
        "scale": 1 / place[alive, 0],
        "down": -place[alive, 1] / place[alive, 0],
        "right": -place[alive, 2] / place[alive, 0],
        "gain": found[:, 0],
        "difference": rest / np.maximum(_compute_structure(target, weights, (height, width)), 1e-12),
        "largest": np.abs(unexplained).max(axis=1) / np.maximum(span, 1e-12),
        "colour": colour,
        "cornered": _measure_corners(terms, weights),
        "overlap": weights.sum(axis=1) / ((height - 2 * MARGIN) * (width - 2 * MARGIN)),
    }
    result = {name: np.full(count, np.inf, np.float32) for name in filled}
    for name, values in filled.items():
        result[name][alive] = values
    return Alignment(**result)


def _measure_color_difference(first: Floats, second: Floats, place: Floats, gain: Floats) -> Floats:
    """Return (pairs,) how far colors of areas differ, as a share of the variance of brightness. JPEG blurs colors."""
    factor = min(COLOUR_AREA, min(first.shape[1:3]))
    rest = np.zeros(len(first), np.float32)
    shape = first.shape[:3]
    brightness, weights = _warp(convert_to_gray(second), place)
    areas = reduce_images(weights.reshape(shape), factor) >= 1
    for channel in (0, 2):
        target, _ = _warp(second[..., channel] - convert_to_gray(second), place)
        own = (first[..., channel] - convert_to_gray(first)) * gain[:, np.newaxis, np.newaxis]
        rest += ((reduce_images(target.reshape(shape) - own, factor) ** 2) * areas).sum(axis=(1, 2)) * np.float32(
            factor**2
        )
    return rest / _compute_variance(brightness, weights)


def _measure_corners(terms: Floats, weights: Floats) -> Floats:
    """Return (pairs,) slopes across an image's main direction, by those along it; 0 if all edges are parallel."""
    down, right = terms[:, 2], terms[:, 3]
    products = ((down, down), (right, right), (down, right))
    rows, columns, both = ((first * second * weights).sum(axis=1) for first, second in products)
    half = np.hypot((rows - columns) / 2, both)
    mean = (rows + columns) / 2
    return ((mean - half) / np.maximum(mean + half, 1e-12)).astype(np.float32)


def _fit(terms: Floats, target: Floats, weights: Floats) -> tuple[Floats, Floats]:
    """Fit least squares. Return (pairs, terms) factors, and (pairs,) the sum of squares that is left over."""
    weighted = terms * weights[:, np.newaxis]
    normal = (weighted @ terms.transpose(0, 2, 1)).astype(np.float64)
    ridge = RIDGE * np.trace(normal, axis1=1, axis2=2) + 1e-12
    normal += np.eye(terms.shape[1]) * ridge[:, np.newaxis, np.newaxis]
    right = (weighted @ target[..., np.newaxis]).astype(np.float64)
    found = np.linalg.solve(normal, right)[..., 0].astype(np.float32)
    rest = (_compute_unexplained(terms, found, target) ** 2 * weights).sum(axis=1)
    return found, rest


def _compute_unexplained(terms: Floats, found: Floats, target: Floats) -> Floats:
    return target - (found[:, np.newaxis] @ terms)[:, 0]


def _compute_variance(target: Floats, weights: Floats) -> Floats:
    """Return (pairs,) the sum of squares of the compared pixels around their mean."""
    count = np.maximum(weights.sum(axis=1), 1)
    weighted = target * weights
    found: Floats = np.einsum("pi,pi->p", weighted, target) - weighted.sum(axis=1) ** 2 / count
    return np.maximum(found, 1e-12)


def _compute_structure(target: Floats, weights: Floats, shape: tuple[int, int]) -> Floats:
    """Return (pairs,) the sum of squares without a twist, and without what rows and columns have in common.

    Skies, horizons and other gradients of light all look alike.
    """
    inside = weights.reshape(-1, *shape)
    values = target.reshape(-1, *shape) * inside
    rows, columns = inside.max(axis=2, keepdims=True), inside.max(axis=1, keepdims=True)
    count = [np.maximum(side.sum(axis=(1, 2), keepdims=True), 1) for side in (rows, columns)]
    of_rows = values.sum(axis=2, keepdims=True) / count[1]
    of_columns = values.sum(axis=1, keepdims=True) / count[0]
    values -= (of_rows + of_columns - of_rows.sum(axis=1, keepdims=True) / count[0]) * inside
    y, x = (np.linspace(-1, 1, side, dtype=np.float32) for side in shape)
    centred = [
        (side - (side * used).sum(axis=(1, 2), keepdims=True) / number) * used
        for side, used, number in zip((y[:, np.newaxis], x), (rows, columns), count, strict=True)
    ]
    twist = centred[0] * centred[1]
    slope = (values * twist).sum(axis=(1, 2)) / np.maximum((twist**2).sum(axis=(1, 2)), 1e-12)
    return np.asarray((values**2).sum(axis=(1, 2)) - slope**2 * (twist**2).sum(axis=(1, 2)), np.float32)


def _make_terms(a: Floats) -> Floats:
    """Return the (pairs, 6, pixels) terms that explain a warped image.

    The image itself, a constant, moves down and right, scaling and sharpness.
    """
    pairs, height, width = a.shape
    y, x = (np.arange(side, dtype=np.float32) - (side - 1) / 2 for side in (height, width))
    padded = np.pad(a, ((0, 0), (1, 1), (1, 1)), mode="edge")
    above, below = padded[:, :-2, 1:-1], padded[:, 2:, 1:-1]
    left, right = padded[:, 1:-1, :-2], padded[:, 1:-1, 2:]
    terms = np.empty((pairs, 6, height, width), np.float32)
    terms[:, 0], terms[:, 1] = a, 1
    terms[:, 2], terms[:, 3] = (below - above) / 2, (right - left) / 2
    terms[:, 4] = (terms[:, 2] * y[:, np.newaxis] + terms[:, 3] * x) / (max(height, width) / 2)
    terms[:, 5] = above + below + left + right - 4 * a
    return terms.reshape(pairs, 6, height * width)


def _smooth(images: Floats) -> Floats:
    padded = np.pad(images, ((0, 0), (1, 1), (1, 1)), mode="edge")
    rows = padded[:, :-2] + 2 * padded[:, 1:-1] + padded[:, 2:]
    return (rows[:, :, :-2] + 2 * rows[:, :, 1:-1] + rows[:, :, 2:]) / 16


def _warp(b: Floats, place: Floats, *, is_last: bool = False) -> tuple[Floats, Floats]:
    """Return (pairs, pixels) images at the places of the others, and 1 for compared pixels, 0 for others."""
    matrices, insides = [], []
    for axis, side in enumerate(b.shape[1:]):
        middle = np.float32((side - 1) / 2)
        own = np.arange(side, dtype=np.float32)
        at = middle + place[:, :1] * (own - middle) + place[:, 1 + axis, np.newaxis]
        edge = MARGIN - np.float32(0.01)
        insides.append((at >= edge) & (at <= side - 1 - edge) & (own >= edge) & (own <= side - 1 - edge))
        matrices.append(_make_interpolation(at.clip(0, side - 1), side, is_cubic=is_last))
    inside = (insides[0][:, :, np.newaxis] & insides[1][:, np.newaxis]).astype(np.float32)
    warped: Floats = (matrices[0] @ b @ matrices[1].transpose(0, 2, 1)).astype(np.float32, copy=False)
    pixels = b.shape[1] * b.shape[2]
    return warped.reshape(-1, pixels), inside.reshape(-1, pixels)


def _make_interpolation(at: Floats, side: int, *, is_cubic: bool) -> Floats:
    """Return (pairs, places, side) weights of each pixel at each place: linear, or Keys' cubic."""
    distance = np.abs(at[..., np.newaxis] - np.arange(side, dtype=np.float32))
    if not is_cubic:
        return np.maximum(1 - distance, 0)
    squared = distance**2
    near = (1.5 * distance - 2.5) * squared + 1
    far = ((2.5 - 0.5 * distance) * distance - 4) * distance + 2
    return np.where(distance <= 1, near, np.where(distance < 2, far, 0)).astype(np.float32)
