"""The results of learning curves, worded for people who know no statistics. Errors are wrong answers per 100 images."""

from __future__ import annotations

from typing import TYPE_CHECKING

from heldout.words import percent
from heldout.words.labels import name_measure

if TYPE_CHECKING:
    from collections.abc import Sequence

    from heldout.metrics import Measure


def describe_forecast(now: float, error: float, interval: tuple[float, float], objective: Measure | None = None) -> str:
    """The forecast for twice as many images, compared with the current error.

    objective: what the error is missing from 1, if that is not accuracy.
    """
    low, high = interval
    if objective not in (None, "accuracy"):
        before, after, least, most = (percent(1 - each, 0) for each in (now, error, high, low))
        return (
            f"Twice as many training images should raise {name_measure(objective)} from {before} to about {after} "
            f"({least} to {most}).{'' if high < now else ' They may not help at all.'}"
        )
    text = (
        f"Twice as many training images should bring the error from {_of_100(now)} to about {_of_100(error)} of 100 "
        f"images ({_of_100(low)} to {_of_100(high)})."
    )
    return text if high < now else f"{text} They may not help at all."


def describe_no_forecast(
    code: str, sizes: Sequence[tuple[int, float]], rise: Sequence[int], objective: Measure | None = None
) -> str:
    """Say why there is no forecast, with the figures.

    Args:
        sizes: numbers of training images and the error with each, smallest first.
        rise: the two sizes between which the error rises, if that is why.
        objective: as for `describe_forecast`.
    """
    if code == "too_short":
        return f"Only {len(sizes)} sizes were measured, which is too few for a forecast."
    if objective not in (None, "accuracy"):
        return _describe_no_rise(code, name_measure(objective), sizes, rise)
    if code == "no_errors":
        return "With all images, no validation image is answered wrongly, so more images have nothing to improve."
    (first, at_first), (images, at_last) = sizes[0], sizes[-1]
    if code == "too_flat":
        return (
            f"The error has hardly fallen: it is {_of_100(at_first)} of 100 images with {first:,} training images and "
            f"{_of_100(at_last)} with {images:,}, which may be chance."
        )
    if code == "one_step":
        before, error = sizes[-2]
        return (
            f"The error has only begun to fall: it is still {_of_100(error)} of 100 images with {before:,} training "
            f"images, and {_of_100(at_last)} with {images:,}. One step does not show how it continues."
        )
    low, high = rise
    errors = dict(sizes)
    return (
        f"The error does not fall all the way: it rises from {_of_100(errors[low])} of 100 images with {low:,} "
        f"training images to {_of_100(errors[high])} with {high:,}, which is more than chance. Look at the images "
        "added between these sizes, and at their trainings."
    )


def _describe_no_rise(code: str, name: str, sizes: Sequence[tuple[int, float]], fall: Sequence[int]) -> str:
    """The same for an objective, which is what the error is missing from 1. fall: where it falls."""
    at = {images: f"{percent(1 - error)} with {images:,}" for images, error in sizes}
    (first, *_), (before, last) = at, [images for images, _ in sizes[-2:]]
    name = name[:1].upper() + name[1:]
    if code == "no_errors":
        return f"{name} is 100% with all images, so more images have nothing to improve."
    if code == "too_flat":
        return f"{name} has hardly risen: it is {at[first]} training images and {at[last]}, which may be chance."
    if code == "one_step":
        return (
            f"{name} has only begun to rise: it is still {at[before]} training images, and {at[last]}. One step does "
            "not show how it continues."
        )
    low, high = fall
    return (
        f"{name} does not rise all the way: it falls from {at[low]} training images to {at[high]}, which is more than "
        "chance. Look at the images added between these sizes, and at their trainings."
    )


def say_too_few_images(images: int, of_a_class: int, times: int) -> str:
    """Say why a curve cannot start."""
    return (
        f"There are {images:,} training images. A learning curve starts with {of_a_class} images of each class and "
        f"must end with at least {times} times as many."
    )


def _of_100(share: float) -> str:
    """`9.4`, as in the tables; `0.02` if one decimal would show 0."""
    value = 100 * share
    return f"{value:.1f}" if value == 0 or value >= 0.05 else f"{value:.2g}"
