"""What a learning curve says, for someone who knows no statistics. Pure."""

from collections.abc import Iterable, Sequence

import numpy as np

from analysis.studies.forecasting import Forecast, NoForecast, Size
from analysis.studies.runs import MIN_OF_A_CLASS, MIN_RANGE
from analysis.studies.state import Run
from heldout.lifecycle.job import TERMINAL, JobStatus


def forecast(found: Forecast, now: float) -> str:
    """The forecast beside the error of today, in wrong answers of 100 images."""
    low, high = found.interval
    told = (
        f"Twice as many training images should bring the error from {_of_100(now)} to about {_of_100(found.error)} "
        f"of 100 images ({_of_100(low)} to {_of_100(high)})."
    )
    return told if high < now else f"{told} It is not sure that they help at all."


def no_forecast(found: NoForecast, sizes: Sequence[Size]) -> str:
    """Why there is none, with the figures that say so."""
    errors = {size.images: float(np.mean(size.errors)) for size in sizes}
    if found.code == "too_short":
        return f"Only {len(sizes)} sizes were measured: too few to go on from."
    if found.code == "no_errors":
        return "With all images there are no wrong answers on validation: more images cannot show that they help."
    if found.code == "too_flat":
        first, last = (errors[size.images] for size in (sizes[0], sizes[-1]))
        return (
            f"The error has hardly fallen: it is {_of_100(first)} of 100 images with {sizes[0].images:,} training "
            f"images and {_of_100(last)} with {sizes[-1].images:,}, which may be chance."
        )
    if found.code == "one_step":
        last, largest = (errors[size.images] for size in sizes[-2:])
        return (
            f"The error has only begun to fall: it is still {_of_100(last)} of 100 images with {sizes[-2].images:,} "
            f"training images, and {_of_100(largest)} with {sizes[-1].images:,}. One step does not say how it goes on."
        )
    low, high = found.images
    return (
        f"The error does not fall all the way: it rises from {_of_100(errors[low])} of 100 images with {low:,} "
        f"training images to {_of_100(errors[high])} with {high:,}, which is more than chance. Look at the images that "
        "come in between, and at the trainings of these sizes."
    )


def too_few_images(images: int) -> str:
    """Why a curve cannot begin."""
    return (
        f"There are {images:,} training images. A learning curve begins with {MIN_OF_A_CLASS} images of each class and "
        f"needs at least {MIN_RANGE} times as many at its end."
    )


def failed(runs: Iterable[Run]) -> str:
    """Which training has failed first, and how."""
    broken = [run for run in runs if run.status in TERMINAL and run.status is not JobStatus.SUCCEEDED]
    if not broken:
        return "Its trainings have left no figures."
    run = min(broken, key=lambda one: (one.status is JobStatus.CANCELLED, one.key))
    how = "was cancelled" if run.status is JobStatus.CANCELLED else "failed" + (f" (`{run.error}`)" * bool(run.error))
    return f"The training on {run.key.variant:,} images with seed number {run.key.seed + 1} {how}."


def _of_100(share: float) -> str:
    """`9.4`, as the tables beside it say it; `0.02` where that would be nothing."""
    value = 100 * share
    return f"{value:.1f}" if value == 0 or value >= 0.05 else f"{value:.2g}"
