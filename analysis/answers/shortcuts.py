"""Whether a network answers by a border, a corner or the brightness of images. Pure.

Each property is exchanged between held-out images of different classes. The control exchanges the same property
between images of one class, so it has the same place, size and edges, and only the class of the other image differs.
A block elsewhere would be no fair control: as many pixels as a border has, in the middle, cover the object. What is not
controlled: if the object itself reaches into a place, exchanging that place also exchanges a part of the object.
"""

from collections.abc import Callable, Iterator
from math import sqrt
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from analysis.arrays.pictures import TILE, embed_png, encode_png
from heldout.stored.evaluation import StoredExchange, StoredIntervention

Pixels = NDArray[np.float32]
# Returns (images,) the answers to raw images with these labels.
Answer = Callable[[Pixels, NDArray[np.int32]], NDArray[np.int64]]
# Points that an exchange must surely cost beyond its control. All exchanges share the error.
MIN_EFFECT, ERROR = 0.05, 0.05
MAX_SHOWN = 3
# A corner has a fourth of the image's sides, a border a tenth of them on each side.
CORNER, BORDER = 4, 10
# Corners come first: exchanging a border also exchanges much of each corner, and of equal effects the first is named.
PLACES = ("top left corner", "top right corner", "bottom left corner", "bottom right corner", "border")
PROPERTIES = (*PLACES, "brightness")


def intervene(
    images: Pixels, labels: NDArray[np.int32], answer: Answer, value_range: tuple[float, float], seed: int = 0
) -> tuple[StoredIntervention, ...]:
    """Exchange each property between images of different classes, and count what it costs beyond its control.

    Args:
        images: (count, height, width, channels) raw pixels.
        labels: (count,) their classes.
        value_range: the lowest and highest pixel value.
    """
    if len(np.unique(labels)) < 2:
        return ()
    draw = np.random.default_rng(seed)
    is_alike = labels[:, None] == labels
    others, alike = (np.array([draw.choice(np.flatnonzero(row)) for row in each]) for each in (~is_alike, is_alike))
    before, found = answer(images, labels) == labels, list[StoredIntervention]()
    for name, exchanged, control in _exchange(images, others, alike, value_range):
        answers = answer(exchanged, labels)
        each = _compare(name, before, answers == labels, answer(control, labels) == labels)
        pictures = tuple(
            StoredExchange(
                label=labels[place],
                other=labels[others[place]],
                answer=answers[place],
                before=_draw(images[place], value_range),
                exchanged=_draw(exchanged[place], value_range),
                control=_draw(control[place], value_range),
            )
            for place in (each.changed if each.is_confirmed else ())
        )
        found.append(each.model_copy(update={"pictures": pictures}))
    return tuple(found)


def _draw(image: Pixels, value_range: tuple[float, float]) -> str:
    return embed_png(encode_png(image, value_range, TILE))


def _exchange(
    images: Pixels, others: NDArray[np.int64], alike: NDArray[np.int64], value_range: tuple[float, float]
) -> Iterator[tuple[str, Pixels, Pixels]]:
    """Yield each property, the images with it exchanged, and those of its control."""
    for name in PLACES:
        mask = make_mask(name, images.shape[1], images.shape[2])[None, :, :, None]
        yield name, np.where(mask, images[others], images), np.where(mask, images[alike], images)
    means = images.mean(axis=(1, 2, 3), keepdims=True)
    changed, control = (
        np.clip(images + means[partner] - means, *value_range).astype(np.float32) for partner in (others, alike)
    )
    yield "brightness", changed, control


def make_mask(name: str, height: int, width: int) -> NDArray[np.bool_]:
    """Return (height, width) which pixels are at a place."""
    mask = np.zeros((height, width), np.bool_)
    if name == "border":
        margin = max(1, min(height, width) // BORDER)
        mask[:] = True
        mask[margin:-margin, margin:-margin] = False
        return mask
    tall, wide = max(1, height // CORNER), max(1, width // CORNER)
    mask[
        slice(tall) if "top" in name else slice(-tall, None), slice(wide) if "left" in name else slice(-wide, None)
    ] = True
    return mask


def _compare(
    name: str, before: NDArray[np.bool_], changed: NDArray[np.bool_], control: NDArray[np.bool_]
) -> StoredIntervention:
    differences = control.astype(np.float64) - changed
    z, count = NormalDist().inv_cdf(1 - ERROR / len(PROPERTIES) / 2), len(before)
    # One more image that differs each way, so that no effect is known exactly.
    spread = sqrt((np.square(differences).sum() + 2) / (count + 2) - differences.mean() ** 2)
    followed = np.flatnonzero(before & control & ~changed)
    half, points = z * spread / sqrt(count), float(differences.mean())
    return StoredIntervention(
        what=name,
        count=count,
        right=int(before.sum()),
        right_changed=int(changed.sum()),
        right_control=int(control.sum()),
        points=points,
        interval=(points - half, points + half),
        is_confirmed=points - half > MIN_EFFECT,
        changed=tuple(followed[:: max(1, len(followed) // MAX_SHOWN)][:MAX_SHOWN].tolist()),
    )
