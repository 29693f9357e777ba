"""Estimates from pixels alone whether images are more blurred, noisy, compressed or enlarged than reference images.

No label is used, and nothing has to be undone: the reference images are degraded in the same way instead. Each kind of
degradation is tried in several strengths on the reference images. The one that brings their figures nearest to those of
the other images is chosen, if it leaves little of the difference. The figures are power spectra and what encoding does
to blocks of 8×8 pixels.
"""

import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.fft import dctn, rfft2
from scipy.ndimage import gaussian_filter

from heldout.stored.gap import QualityKind

Bytes = NDArray[np.uint8]
Floats = NDArray[np.float64]

# Images that are compared, and the fewest.
MAX_IMAGES = 64
MIN_IMAGES = 20
# Fine detail is measured in the middle of an image, coarse detail in the whole image, reduced.
SIDE = 64
# Images with shorter sides have no spectrum to speak of.
MIN_SIDE = 12
# Squared distance of the figures, in standard deviations, from which on the images are compared at all. Splits of one
# source have up to 30, whole images of other sources up to a few hundred.
MIN_DISTANCE = 40.0
# The largest share of the distance that a degradation may leave.
MAX_DISTANCE_LEFT = 0.25

# Strengths that are tried, weakest first: pixels; levels of 255; the quality of JPEG; the share of the sides that is
# left. The best is then sought between its neighbors.
_NO_STRENGTH: Mapping[QualityKind, float] = {"blur": 0.0, "noise": 0.0, "compression": 98.0, "resolution": 1.0}
_STRENGTHS: Mapping[QualityKind, tuple[float, ...]] = {
    "blur": (0.4, 0.6, 0.9, 1.4, 2.1, 3.2, 4.8, 8.0, 14.0, 24.0),
    "noise": (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0),
    "compression": (90.0, 75.0, 60.0, 40.0, 20.0, 8.0),
    "resolution": (0.85, 0.75, 0.65, 0.55, 0.5, 0.45, 0.4, 0.33, 0.25, 0.2, 0.15, 0.1),
}
_LARGEST_BLUR = 1 / 8  # of the longer side
_FINEST_BLUR = 10.0  # pixels: beyond that, no fine detail is left
_KINDS_WITH_MORE_DETAIL: tuple[QualityKind, ...] = ("noise", "compression")
_KINDS_WITH_LESS_DETAIL: tuple[QualityKind, ...] = ("blur", "compression", "resolution")
_REFINEMENTS = 3
_STEPS = 8  # between two strengths, where figures are interpolated
_EDGES = np.array([0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.71])  # of spectra, in cycles per pixel
_MIDDLES = (_EDGES[:-1] + _EDGES[1:]) / 2
_MEDIAN_BLOCK = len(_MIDDLES) + 1  # the place of the fine detail of usual blocks among the figures
_ROUNDING = 1 / 12  # variance of rounding to whole levels: less power than that says nothing
_BLOCK = 8
_IS_FINE = np.add.outer(np.arange(_BLOCK), np.arange(_BLOCK)) >= 6  # of a block's cosines
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)
# What splits of one kind differ in anyway: contrast, and how quickly power falls with frequency; and each figure alone.
_USUAL_GAIN, _USUAL_SLOPE, _USUAL_FIGURE = 0.3, 0.3, 0.05
# Programs blur and reduce in slightly different ways: this share of a large difference.
_USUAL_SHARE = 0.1


@dataclass(frozen=True)
class Degradation:
    """What images have lost.

    strength: of blur, the standard deviation in pixels. Of noise, the same in 255ths of the range of values. Of
        compression, the quality of JPEG. Of resolution, the share of the sides that is left.
    """

    kind: QualityKind
    strength: float


def find_degradation(reference: Bytes, images: Bytes) -> Degradation | None:
    """Find what makes the reference images like the others; None if they do not differ surely, or in another way.

    Args:
        reference, images: (count, height, width, channels), all of one size. MAX_IMAGES of them are compared.
    """
    if min(len(reference), len(images)) < MIN_IMAGES or min(reference.shape[1:3]) < MIN_SIDE:
        return None
    views, others = (_View.list_of(_choose_some(part)) for part in (reference, images))
    known, found = _compute_figures(views, None), _compute_figures(others, None)
    difference = found.mean(axis=0) - known.mean(axis=0)
    weights = _weigh(known, found, difference, views)
    distance = float(difference @ weights @ difference)
    if distance < MIN_DISTANCE:
        return None
    largest_blur = _LARGEST_BLUR * max(reference.shape[1:3])
    kinds = _KINDS_WITH_MORE_DETAIL if difference[_MEDIAN_BLOCK] > 0 else _KINDS_WITH_LESS_DETAIL
    searches = [_Search(kind, views, known.mean(axis=0), difference, weights, largest_blur) for kind in kinds]
    best = min(searches, key=lambda search: search.distance)
    for _ in range(_REFINEMENTS):
        best.refine()
    weakest, nothing = _STRENGTHS[best.kind][0], _NO_STRENGTH[best.kind]
    is_weak = abs(best.strength - nothing) < abs(weakest - nothing)
    if is_weak or best.distance > MAX_DISTANCE_LEFT * distance:
        return None
    return Degradation(best.kind, best.strength)


def _choose_some(images: Bytes) -> Bytes:
    return images[np.linspace(0, len(images) - 1, min(len(images), MAX_IMAGES)).round().astype(np.int64)]


def degrade(images: Bytes, degradation: Degradation, *, seed: int = 0) -> Bytes:
    """Return the images (count, height, width, channels) with this degradation; the same each time."""
    kind, strength = degradation.kind, degradation.strength
    if kind == "blur":
        return _to_bytes(gaussian_filter(images.astype(np.float32), (0, strength, strength, 0), truncate=3))
    if kind == "noise":
        noise = np.random.default_rng(seed).standard_normal(images.shape, np.float32)
        return _to_bytes(images + np.float32(strength) * noise)
    return np.stack(
        [_change_picture(image, _encode if kind == "compression" else _reduce, strength) for image in images]
    )


def _to_bytes(values: NDArray[np.float32]) -> Bytes:
    return np.rint(values).clip(0, 255).astype(np.uint8)


def _change_picture(image: Bytes, change: Callable[[Image.Image, float], Image.Image], strength: float) -> Bytes:
    picture = Image.fromarray(image[..., 0] if image.shape[2] == 1 else image)
    return np.asarray(change(picture, strength), np.uint8).reshape(image.shape)


def _encode(picture: Image.Image, quality: float) -> Image.Image:
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=round(quality))
    return Image.open(file)


def _reduce(picture: Image.Image, share: float) -> Image.Image:
    sides = (max(1, round(picture.width * share)), max(1, round(picture.height * share)))
    return picture.resize(sides, Image.Resampling.BILINEAR).resize(picture.size, Image.Resampling.BILINEAR)


@dataclass(frozen=True)
class _View:
    """Images as their figures are computed: in full detail, or reduced by a factor."""

    images: Bytes
    factor: int
    is_part: bool = False

    @classmethod
    def list_of(cls, images: Bytes) -> list["_View"]:
        """Return the middle of the images, with complete blocks of 8×8 pixels, and larger images reduced."""
        _, height, width, _ = images.shape
        top, left = ((side - SIDE) // 2 // _BLOCK * _BLOCK if side > SIDE else 0 for side in (height, width))
        factor = -(-max(height, width) // SIDE)
        views = [cls(images[:, top : top + SIDE, left : left + SIDE], 1, factor > 1)]
        if factor > 1 and min(height, width) // factor >= MIN_SIDE:
            views.append(cls(_average(images, factor), factor))
        return views

    def degrade(self, degradation: Degradation | None) -> Bytes:
        """Degrade the full images, and return how that shows in these."""
        if degradation is None:
            return self.images
        kind, strength = degradation.kind, degradation.strength
        if self.factor > 1:
            if kind == "compression":
                return self.images
            strength = strength * self.factor if kind == "resolution" else strength / self.factor
            if kind == "resolution" and strength >= 1:
                return self.images
        elif kind == "blur" and self.is_part:
            strength = min(strength, _FINEST_BLUR)
        return degrade(self.images, Degradation(kind, strength), seed=1)


def _average(images: Bytes, factor: int) -> Bytes:
    count, height, width, channels = images.shape
    rows, columns = height // factor, width // factor
    whole = images[:, : rows * factor, : columns * factor]
    return _to_bytes(whole.reshape(count, rows, factor, columns, factor, channels).mean(axis=(2, 4), dtype=np.float32))


def _compute_figures(views: list[_View], degradation: Degradation | None) -> Floats:
    """Return (images, figures) of the images under a degradation."""
    parts = list[NDArray[Any]]()
    for view in views:
        images = view.degrade(degradation).astype(np.float32)
        gray = images[..., 0] if images.shape[3] == 1 else images @ _LUMA
        parts.append(_measure_spectrum(gray))
        if view.factor == 1:
            parts += [_measure_blocks(gray), _measure_grid(gray)]
            if images.shape[3] == 3:
                colors = [_compute_block_power(images[..., channel] - gray) for channel in (0, 2)]
                parts.append(np.stack([np.median(power, axis=1) for power in colors], axis=1))
    return np.concatenate(parts, axis=1).astype(np.float64)


def _measure_spectrum(gray: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return (images, frequencies): the logarithm of the mean power in rings, under a Hann window."""
    _, height, width = gray.shape
    window = np.outer(*(np.hanning(side + 2)[1:-1] for side in (height, width))).astype(np.float32)
    window /= np.sqrt((window**2).mean())
    centered = gray - gray.mean(axis=(1, 2), keepdims=True)
    power = (np.abs(rfft2(centered * window)) ** 2 / (height * width)).reshape(len(gray), -1)
    frequencies = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None]).reshape(-1)
    ring = np.digitize(frequencies, _EDGES) - 1
    sums = np.stack([power[:, ring == number].mean(axis=1) for number in range(len(_MIDDLES))], axis=1)
    return np.asarray(np.log(sums + np.float32(_ROUNDING)))


def _compute_block_power(gray: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return (images, blocks): the logarithm of the fine detail in each block of 8×8 pixels."""
    count, height, width = gray.shape
    rows, columns = height // _BLOCK, width // _BLOCK
    whole = gray[:, : rows * _BLOCK, : columns * _BLOCK].reshape(count, rows, _BLOCK, columns, _BLOCK)
    cosines: Any = dctn(whole, axes=(2, 4), norm="ortho").transpose(0, 1, 3, 2, 4)[..., _IS_FINE]
    return np.asarray(np.log((cosines**2).mean(axis=-1) + np.float32(_ROUNDING)), np.float32).reshape(count, -1)


def _measure_blocks(gray: NDArray[np.float32]) -> Floats:
    """Return (images, 3): fine detail in the plainest blocks, where noise shows, in usual ones and the richest."""
    return np.asarray(np.quantile(_compute_block_power(gray), (0.1, 0.5, 0.9), axis=1).T, np.float64)


def _measure_grid(gray: NDArray[np.float32]) -> NDArray[Any]:
    """Return (images, 1): how much larger the steps between blocks of 8×8 pixels are than those within."""
    found = []
    for axis in (1, 2):
        steps = np.abs(np.diff(gray, axis=axis)).mean(axis=3 - axis)
        is_between = np.arange(steps.shape[1]) % _BLOCK == _BLOCK - 1
        between, within = steps[:, is_between].mean(axis=1), steps[:, ~is_between].mean(axis=1)
        found.append(np.log((between + 0.5) / (within + 0.5)))
    return np.asarray(np.mean(found, axis=0))[:, None]


def _weigh(known: Floats, found: Floats, difference: Floats, views: list[_View]) -> Floats:
    """Return (figures, figures): the inverse covariance of differences of mean figures between splits of one kind."""
    coarse = len(_MIDDLES) if len(views) > 1 else 0
    colors = 2 if views[0].images.shape[3] == 3 else 0
    fine = np.full(3, 0.35)  # about the frequency of a block's fine detail
    frequency = np.concatenate([_MIDDLES, fine, [np.nan], np.full(colors, 0.35), _MIDDLES[:coarse]])
    gain = np.isfinite(frequency).astype(float)
    slope = np.where(gain > 0, np.log(frequency / 0.2), 0.0)
    usual = _USUAL_GAIN**2 * np.outer(gain, gain) + _USUAL_SLOPE**2 * np.outer(slope, slope)
    chance = np.cov(known.T) / len(known) + np.cov(found.T) / len(found)
    own = np.diag(_USUAL_FIGURE**2 + (_USUAL_SHARE * difference) ** 2)
    return np.linalg.inv(chance + usual + own)


class _Search:
    """The strength of one kind of degradation that leaves the least of a difference."""

    def __init__(
        self,
        kind: QualityKind,
        views: list[_View],
        known: Floats,
        difference: Floats,
        weights: Floats,
        largest_blur: float,
    ) -> None:
        self.kind = kind
        self._views, self._known = views, known
        self._difference, self._weights = difference, weights
        self._tried: dict[float, Floats] = {_NO_STRENGTH[kind]: np.zeros_like(known)}
        for strength in _STRENGTHS[kind]:
            if kind == "blur" and strength > largest_blur:
                break
            self._try(strength)
        self._choose()

    def refine(self) -> None:
        """Try the best strength so far itself."""
        if self.strength not in self._tried:
            self._try(self.strength)
            self._choose()

    def _try(self, strength: float) -> None:
        figures = _compute_figures(self._views, Degradation(self.kind, strength))
        self._tried[strength] = figures.mean(axis=0) - self._known

    def _measure(self, change: Floats) -> float:
        left = self._difference - change
        return float(left @ self._weights @ left)

    def _choose(self) -> None:
        """Interpolate between the strengths that were tried."""
        strengths = sorted(self._tried, reverse=_NO_STRENGTH[self.kind] > _STRENGTHS[self.kind][-1])
        options = [(self._measure(self._tried[strengths[0]]), strengths[0])]
        for weaker, stronger in pairwise(strengths):
            for step in np.linspace(0, 1, _STEPS + 1)[1:].tolist():
                change = (1 - step) * self._tried[weaker] + step * self._tried[stronger]
                options.append((self._measure(change), (1 - step) * weaker + step * stronger))
        self.distance, self.strength = min(options)
