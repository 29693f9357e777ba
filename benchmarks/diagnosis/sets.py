"""The data of a condition: a cut of its dataset, with a referee split that no training sees, and the planted faults."""

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from analysis.arrays.dataset import ImageSet
from analysis.arrays.folds import choose_stratified
from analysis.arrays.relations import Relations
from benchmarks.diagnosis.conditions import Condition
from heldout.service.settings import Settings
from models.bundled import BUNDLED

# Images of train, validation, test and referee. `digits` has 1,797 in all: its referee is what is left.
CUTS = {
    "digits": (500, 150, 350, 797),
    "mnist5k": (2000, 400, 600, 2000),
    "fashion_mnist": (2000, 1000, 1000, 3000),
}
SHUFFLE = 11  # number of the shuffle that trainings share
RARE_SHARE = 50
LEAKED_SHARE = 0.3
FEW = 40
BLUR = 2.0  # standard deviation, in 28ths of a side


@dataclass(frozen=True)
class PlantedSet:
    """Train, validation, test and referee with all that was planted; relations: which images were planted as copies."""

    images: ImageSet
    relations: Relations


def planted_set(condition: Condition) -> PlantedSet:
    """Build the data of a training, with what is planted."""
    plain = cut(condition.dataset, CUTS[condition.dataset])
    copy_of = np.arange(len(plain.labels), dtype=np.int32)
    draw = np.random.default_rng([condition.seed, 1])
    images, labels = plain.images.copy(), plain.labels.copy()
    splits = dict(plain.splits)
    if condition.rare:
        splits["train"] = _without_most(labels, splits["train"], int(draw.integers(10)))
    used = splits["train"][choose_stratified(labels[splits["train"]], condition.images)]
    if condition.conflicts:
        count = round(condition.conflicts * len(used) / 2)
        chosen = draw.permutation(used)[: 2 * count]
        images[chosen[:count]] = images[chosen[count:]]
        copy_of[chosen[:count]] = copy_of[chosen[count:]]
        labels[chosen[:count]] = (labels[chosen[count:]] + draw.integers(1, 10, count)) % 10
    if condition.wrong:
        places = splits["train"] if not condition.wrong_everywhere else np.concatenate(list(splits.values()))
        wrong = places[draw.random(len(places)) < condition.wrong]
        # A redrawn label is a different one. If all are redrawn, they come from all classes, so that no information is
        # left.
        moved = draw.integers(0 if condition.wrong == 1 else 1, 10, len(wrong))
        labels[wrong] = moved if condition.wrong == 1 else (labels[wrong] + moved) % 10
    test = splits["test"]
    match condition.test:
        case "blurred":
            images[test] = blurred(images[test], plain.value_range)
        case "inverted":
            images[test] = plain.value_range[1] - images[test]
        case "rescaled":
            images[test] = (images[test] / plain.value_range[1]).round()
        case "renamed":
            labels[test] = (labels[test] + 1 + draw.integers(9)) % 10
        case "leaked":
            count = min(round(LEAKED_SHARE * len(test)), len(used))
            seen = draw.permutation(used)[:count]
            images[test[:count]], labels[test[:count]] = images[seen], labels[seen]
            copy_of[test[:count]] = copy_of[seen]
        case "few":
            splits["test"] = np.sort(test[:FEW])
    return PlantedSet(replace(plain, images=images, labels=labels, splits=splits), Relations(copy_of))


@lru_cache(maxsize=4)
def cut(dataset: str, counts: tuple[int, int, int, int], shuffle: int = SHUFFLE) -> ImageSet:
    """A shuffle of the dataset, the same for the same number, cut into train, validation, test and referee.

    `fashion_mnist` is read from where the service reads it: the folder that HELDOUT_DATASETS names.
    """
    whole = BUNDLED[dataset].read(Settings().datasets)
    order = np.random.default_rng(shuffle).permutation(len(whole.labels))
    names = ("train", "validation", "test", "referee")
    ends = np.cumsum(counts)
    taken = order[: ends[-1]]
    positions = np.split(np.arange(ends[-1]), ends[:-1])
    return ImageSet(
        images=np.ascontiguousarray(whole.images[taken]),
        labels=np.asarray(whole.labels[taken], np.int32),
        splits=dict(zip(names, positions, strict=True)),
        classes=whole.classes,
        value_range=whole.value_range,
    )


def _without_most(labels: NDArray[np.int32], rows: NDArray[np.int64], label: int) -> NDArray[np.int64]:
    of_class = rows[labels[rows] == label]
    dropped = of_class[max(1, len(of_class) // RARE_SHARE) :]
    return np.setdiff1d(rows, dropped)


def blurred(images: NDArray[np.uint8], value_range: tuple[float, float]) -> NDArray[np.uint8]:
    scale = 255 / value_range[1]
    radius = BLUR * images.shape[1] / 28
    blurred = [
        np.asarray(Image.fromarray((image[..., 0] * scale).astype(np.uint8)).filter(ImageFilter.GaussianBlur(radius)))
        for image in images
    ]
    return (np.stack(blurred)[..., None] / scale).round().astype(np.uint8)
