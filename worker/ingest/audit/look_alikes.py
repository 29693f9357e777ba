"""Decides whether two images that look alike are one picture, changed only by encoding and scaling.

Two classes may differ only by a dot, a stroke or a shade. So a pair with different labels is compared with what re-
encoding, scaling and cropping do to these very images: each of the two is changed in these ways, moved as the pair has
moved, and compared with itself. If the pair differs more than that anywhere, it shows two different things. So it does
if its difference is more concentrated than theirs: encoding spreads over all edges, while a dot or a stroke is in one
place, however faint it is.
"""

import io
from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import gaussian_filter, maximum_filter

from worker.ingest.audit.alignment import align, fit_at, improve_at
from worker.ingest.audit.signatures import Floats, choose_reduction, reduce_images

Bytes = NDArray[np.uint8]

DETAIL_SIDE = 96  # larger images are reduced until their sides are no longer
STEPS = 3
# Pixels: the deviation of the bell that squared differences are averaged under, and that of their signed means, which
# encoding leaves alone though another shade does not.
DETAIL_WIDTH, SHADE_WIDTH = 1.0, 3.0
# A class can be a shade or a size: a larger difference of either is not an accident.
GAINS = (0.93, 1.07)
MAX_SCALING = 1.16
# Moves by less are errors of the alignment.
STILL_SCALING, STILL_SHIFT = 0.01, 0.25
QUALITY, HALF_QUALITY = 50, 75  # of JPEG
SMALLER = 0.75
# Times the effect of the changes. Two encodings need not differ at the same places; interpolation does.
STILL_TOLERANCE, MOVED_TOLERANCE = 1.8, 1.15
LEVELS = 2.0  # that any encoding may differ by
# How often the largest difference of an image contains that of most of its places, compared with the same of the
# changes. The floor is in levels: without it, a plain image that hardly differs would divide by zero.
MOST_PLACES, CONCENTRATION_FLOOR, MORE_CONCENTRATED = 0.8, 0.1, 1.55
STILL_AROUND, MOVED_AROUND = 9, 5  # pixels, in which a change may do at one place what it does at another
PIXELS_AT_ONCE = 300_000


def are_one_picture(
    first_images: NDArray[np.generic],
    second_images: NDArray[np.generic],
    frames: tuple[Floats, Floats],
    value_range: tuple[float, float],
) -> NDArray[np.bool_]:
    """Return (pairs,) whether nothing but encoding, scaling and cropping sets two images apart.

    Args:
        one, other: (pairs, height, width, channels), not mirrored.
        frames: of both, (pairs, 4), as their signatures have them.
    """
    first, second = _convert_to_bytes(first_images, value_range), _convert_to_bytes(second_images, value_range)
    aligned = align(first, second, frames)
    scale = 1 / aligned.scale
    shift = choose_reduction(*first.shape[1:3]) * scale
    place = np.stack([scale, -aligned.down * shift, -aligned.right * shift], axis=1).astype(np.float32)
    side = min(first.shape[1:3])
    largest = max(MAX_SCALING, 1.02 * side / max(side - 2, 1))  # the least crop is a pixel on each side
    is_near = np.isfinite(place).all(axis=1) & (np.abs(np.log(scale)) <= np.log(largest))
    alike = np.zeros(len(first), bool)
    rows = np.flatnonzero(is_near)
    if not len(rows):
        return alike
    first, second, place = first[rows], second[rows], place[rows]
    difference, gain = _measure_differences(first, second, place, STEPS)
    allowed, concentration = np.full_like(difference, LEVELS), np.zeros(len(rows), np.float32)
    for effect in _measure_effects(first, second, place):
        allowed = np.maximum(allowed, effect)
        concentration = np.maximum(concentration, _measure_concentration(effect))
    is_still = _are_still(place)
    still = STILL_TOLERANCE * maximum_filter(allowed, (1, 1, STILL_AROUND, STILL_AROUND))
    moved = MOVED_TOLERANCE * maximum_filter(allowed, (1, 1, MOVED_AROUND, MOVED_AROUND))
    bound = np.where(is_still[:, np.newaxis, np.newaxis, np.newaxis], still, moved)
    is_within = (difference <= bound).all(axis=(1, 2, 3))
    is_spread = ~is_still | (_measure_concentration(difference) <= MORE_CONCENTRATED * concentration)
    alike[rows] = is_within & is_spread & (gain >= GAINS[0]) & (gain <= GAINS[1])
    return alike


def _convert_to_bytes(images: NDArray[np.generic], value_range: tuple[float, float]) -> Bytes:
    if images.dtype == np.uint8 and value_range == (0, 255):
        return images.astype(np.uint8, copy=False)
    low, high = value_range
    scaled = (images.astype(np.float32) - low) * np.float32(255 / (high - low))
    return scaled.clip(0, 255).round().astype(np.uint8)


def _measure_differences(first: Bytes, second: Bytes, place: Floats, steps: int) -> tuple[Floats, Floats]:
    """Compute how far each place of both differs in any color, in levels, after alignment; and the gain.

    Args:
        place: (pairs, 3) where to begin: scale, down and right, in pixels.
    Returns:
        (pairs, 2, height, width): of details, and of shades; and (pairs,).
    """
    factor = -(-max(first.shape[1:3]) // DETAIL_SIDE)
    a, b = (reduce_images(images.astype(np.float32), factor) for images in (first, second))
    at: Floats = (place / np.array([1, factor, factor])).astype(np.float32)
    for _ in range(steps):
        improve_at(a, b, at)
    rests, inside, gain = fit_at(a, b, at)
    detail = np.sqrt(_compute_averages([rest**2 for rest in rests], inside, DETAIL_WIDTH).max(axis=0))
    shade = np.abs(_compute_averages(rests, inside, SHADE_WIDTH)).max(axis=0)
    return np.stack([detail, shade], axis=1), gain


def _measure_effects(first: Bytes, second: Bytes, place: Floats) -> Iterator[Floats]:
    """Measure for each change what it changes in each image at the other's place: (pairs, 2, height, width)."""
    for change in _CHANGES:
        changed = np.stack([_move_image(image, at, change) for image, at in zip(first, place, strict=True)])
        yield _measure_differences(first, changed, place, 1)[0]
        changed = np.stack(
            [_move_image(image, _invert_place(at), change) for image, at in zip(second, place, strict=True)]
        )
        yield _measure_differences(changed, second, place, 1)[0]


def _measure_concentration(difference: Floats) -> Floats:
    """Return (pairs,) the largest difference in detail, in terms of what most places stay below."""
    details = difference[:, 0].reshape(len(difference), -1)
    concentration = details.max(axis=1) / (np.quantile(details, MOST_PLACES, axis=1) + CONCENTRATION_FLOOR)
    return concentration.astype(np.float32)


def _compute_averages(rests: list[Floats], inside: Floats, width: float) -> Floats:
    """Return (colors, pairs, height, width) means of the compared pixels under a Gaussian."""
    around = (0, width, width)
    seen = np.maximum(gaussian_filter(inside, around), 1e-3)
    return np.stack([gaussian_filter(rest * inside, around) / seen * inside for rest in rests])


def _move_image(image: Bytes, place: Floats, change: Callable[[Image.Image], Image.Image]) -> Bytes:
    """Return the image moved to another place, changed."""
    height, width, channels = image.shape
    scale, down, right = place.tolist()
    picture = _make_picture(image)
    if not _are_still(place[np.newaxis])[0]:
        margin = max(2, max(height, width) // 4)
        padded = _make_picture(np.pad(image, ((margin, margin), (margin, margin), (0, 0)), mode="edge"))
        top, left = (margin + side / 2 - (side / 2 + move) / scale for side, move in ((height, down), (width, right)))
        corners = (left, top, left + width / scale, top + height / scale)
        box = tuple(
            min(max(corner, 0), side) for corner, side in zip(corners, (padded.width, padded.height) * 2, strict=True)
        )
        picture = padded.resize((width, height), Image.Resampling.BILINEAR, box=box)
    return np.asarray(change(picture), np.uint8).reshape(height, width, channels)


def _are_still(place: Floats) -> NDArray[np.bool_]:
    return (np.abs(place[:, 0] - 1) < STILL_SCALING) & (np.abs(place[:, 1:]) < STILL_SHIFT).all(axis=1)


def _invert_place(place: Floats) -> Floats:
    """Return the place of the first image relative to the second."""
    scale = place[0]
    return np.array([1 / scale, -place[1] / scale, -place[2] / scale], np.float32)


def _make_picture(image: Bytes) -> Image.Image:
    return Image.fromarray(image[..., 0] if image.shape[2] == 1 else image)


def _encode(picture: Image.Image, quality: int) -> Image.Image:
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=quality)
    return Image.open(file)


def _make_small(picture: Image.Image) -> Image.Image:
    sides = (max(1, int(picture.width * SMALLER)), max(1, int(picture.height * SMALLER)))
    return picture.resize(sides, Image.Resampling.BILINEAR).resize(picture.size, Image.Resampling.BILINEAR)


_CHANGES: tuple[Callable[[Image.Image], Image.Image], ...] = (
    lambda picture: _encode(picture, QUALITY),
    _make_small,
    lambda picture: _encode(_make_small(picture), HALF_QUALITY),
)
