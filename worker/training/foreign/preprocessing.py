"""Finds the change of pixels that a model needs for a dataset, from training images only.

A model that was trained elsewhere may expect pixels from 0 to 1, or channels in another order.
"""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from analysis.answers.answers import Answers, is_surely_better, split_into_halves
from heldout.stored.results import Preprocessing

# Training images that are used; half of them choose, and the other half confirms.
MAX_IMAGES = 2000
# The least effect of a change that matters: this share of wrong images become right, or at most this share of the loss
# remains. Training made the loss small on the pixels that it saw; networks without large biases give similar answers on
# another pixel scale, but with too high or too low confidence.
MIN_GAIN = 0.03
MAX_LOSS_LEFT = 0.6
# Probability that a change looks better by chance alone.
MAX_CHANCE = 0.01
# ImageNet's colours: red, green, blue, as shares of white.
_MEAN, _SPREAD = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
# Caffe's means of bytes, in the order of the channels that it reads: blue, green, red.
_CAFFE_MEANS = np.array([103.939, 116.779, 123.68])

_IN_WORDS = {
    "as_given": "the values as they are",
    "unit": "pixels from 0 to 1",
    "symmetric": "pixels from −1 to 1",
    "bytes": "pixels from 0 to 255",
    "standardised": "pixels with mean 0 and spread 1",
    "imagenet": "pixels normalized by ImageNet's mean and spread",
    "caffe": "pixels from 0 to 255 less ImageNet's means",
    "inverted": "light and dark swapped",
    "inverted_unit": "light and dark swapped, from 0 to 1",
}


_Numbers = float | NDArray[np.float64]  # one for all channels, or one for each


def list_candidates(value_range: tuple[float, float], sample: NDArray[np.float32]) -> list[Preprocessing]:
    """List changes that a model's training may have made to pixels, the most common first; none without effect.

    Args:
        value_range: the dataset's lowest and highest pixel value.
        sample: (images, height, width, channels) of training.
    """
    low, high = map(float, value_range)
    channels = sample.shape[-1]
    unit = 1 / (high - low), -low / (high - low)
    flat = sample.reshape(-1, channels).astype(np.float64)
    spread = np.maximum(flat.std(axis=0), 1e-6 * (high - low))
    changes: dict[str, tuple[_Numbers, _Numbers]] = {
        "as_given": (1.0, 0.0),
        "unit": unit,
        "symmetric": (2 * unit[0], 2 * unit[1] - 1),
        "bytes": (255 * unit[0], 255 * unit[1]),
        "standardised": (1 / spread, -flat.mean(axis=0) / spread),
        "inverted": (-1.0, low + high),
        "inverted_unit": (-unit[0], 1 - unit[1]),
    }
    if channels == 3:
        changes["imagenet"] = unit[0] / _SPREAD, (unit[1] - _MEAN) / _SPREAD
        changes["caffe"] = 255 * unit[0], 255 * unit[1] - _CAFFE_MEANS
    found, seen = list[Preprocessing](), {_make_numbers(1.0, 0.0, channels, is_reversed=False)}
    for is_reversed in (False, True) if channels == 3 else (False,):
        for kind, (factor, offset) in changes.items():
            numbers = _make_numbers(factor, offset, channels, is_reversed=is_reversed)
            if numbers not in seen:
                seen.add(numbers)
                words = _IN_WORDS[kind] + (", channels in the order blue, green, red" if is_reversed else "")
                if kind == "as_given":
                    words = "channels in the order blue, green, red"
                candidate = Preprocessing(
                    kind=kind,
                    reversed_channels=is_reversed,
                    factor=numbers[1],
                    offset=numbers[2],
                    value_range=(low, high),
                    in_words=words,
                )
                found.append(candidate)
    return found


def _make_numbers(
    factor: _Numbers, offset: _Numbers, channels: int, *, is_reversed: bool
) -> tuple[bool, tuple[float, ...], tuple[float, ...]]:
    factors, offsets = (tuple(np.broadcast_to(value, channels).astype(float).tolist()) for value in (factor, offset))
    return is_reversed, factors, offsets


def prepare_images(images: NDArray[np.float32], change: Preprocessing | None) -> NDArray[np.float32]:
    """Convert (…, channels) pixels to what the model expects."""
    if change is None:
        return images
    ordered = images[..., ::-1] if change.reversed_channels else images
    return (ordered * np.asarray(change.factor, np.float32) + np.asarray(change.offset, np.float32)).astype(np.float32)


def choose_preprocessing(
    labels: NDArray[np.int32],
    answers_under: Callable[[Preprocessing | None], Answers],
    tried: Sequence[Preprocessing],
) -> Preprocessing | None:
    """Return the change under which a model certainly gets more training images right; None if it needs none.

    Args:
        labels: (images,) of the sample.
        answers_under: returns the model's answers to the sample under a change.
        tried: `list_candidates`.
    """
    choosing, confirming = split_into_halves(labels)
    as_given = answers_under(None)
    if not len(confirming):
        return None
    best, of_best = None, as_given
    for change in tried:  # the simplest one that no other clearly improves on
        answers = answers_under(change)
        if is_surely_better(of_best.of(choosing), answers.of(choosing), max_p=MAX_CHANCE):
            best, of_best = change, answers
    if best is None:
        return None
    before, after = as_given.of(confirming), of_best.of(confirming)
    gain = float(after.right.mean() - before.right.mean())
    matters = gain >= MIN_GAIN or float(after.losses.mean()) <= MAX_LOSS_LEFT * float(before.losses.mean())
    return best if matters and is_surely_better(before, after, max_p=MAX_CHANCE) else None
