"""What a learning curve says, for someone who knows no statistics: errors in wrong answers of 100 images."""

from collections.abc import Sequence

# Training images, and the error of networks that were trained on them.
Size = tuple[int, float]


def describe_forecast(now: float, error: float, interval: tuple[float, float]) -> str:
    """The forecast for twice as many images beside the error of today."""
    low, high = interval
    told = (
        f"Twice as many training images should bring the error from {_of_100(now)} to about {_of_100(error)} of 100 "
        f"images ({_of_100(low)} to {_of_100(high)})."
    )
    return told if high < now else f"{told} It is not sure that they help at all."


def describe_no_forecast(code: str, sizes: Sequence[Size], rise: Sequence[int]) -> str:
    """Why there is none, with the figures that say so.

    Args:
        sizes: smallest first. rise: the two of them between which the error rises, where that is why.
    """
    if code == "too_short":
        return f"Only {len(sizes)} sizes were measured: too few to go on from."
    if code == "no_errors":
        return "With all images there are no wrong answers on validation: more images cannot show that they help."
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
            f"images, and {_of_100(at_last)} with {images:,}. One step does not say how it goes on."
        )
    low, high = rise
    errors = dict(sizes)
    return (
        f"The error does not fall all the way: it rises from {_of_100(errors[low])} of 100 images with {low:,} "
        f"training images to {_of_100(errors[high])} with {high:,}, which is more than chance. Look at the images that "
        "come in between, and at the trainings of these sizes."
    )


def say_too_few_images(images: int, of_a_class: int, times: int) -> str:
    """Why a curve cannot begin."""
    return (
        f"There are {images:,} training images. A learning curve begins with {of_a_class} images of each class and "
        f"needs at least {times} times as many at its end."
    )


def _of_100(share: float) -> str:
    """`9.4`, as the tables beside it say it; `0.02` where that would be nothing."""
    value = 100 * share
    return f"{value:.1f}" if value == 0 or value >= 0.05 else f"{value:.2g}"
