"""The images of one training: train, validation, test, a referee where there can be one, and more for training."""

from collections.abc import Iterable
from functools import cache
from typing import Any

import numpy as np

from analysis.arrays.dataset import ImageSet
from analysis.arrays.folds import choose_stratified
from benchmarks.zoo.cuts import Cut, Splits, cut_of
from benchmarks.zoo.draw import open_set
from benchmarks.zoo.manifest import read_manifest
from benchmarks.zoo.registry import ZOO
from benchmarks.zoo.sets import Built

LARGEST_SIDE = 40  # pixels; larger images are made smaller by a whole number, those of the sixth lot excepted
REFEREE = 2000
PARTS = 10
FEWEST_GROUPS = 20  # for ten parts of whole groups
MOST_TRAINING, MOST_VALIDATION, MOST_TEST = 2000, 400, 600
SHUFFLES = 2  # in how many ways a set is cut
MOST_SHUFFLES = 400  # that are tried for one in which each split has all classes


@cache
def entry_of(name: str) -> dict[str, Any]:
    """The set's entry of the manifest."""
    return read_manifest()[name]


def side_of(name: str) -> int:
    """Pixels of a side, as it is trained on."""
    side: int = entry_of(name)["size"]
    if entry_of(name)["lot"] == 6:
        return side
    return side // -(-side // LARGEST_SIDE)


def folds_of(name: str) -> tuple[int, int, int, int]:
    """The registry's shares of each split. If it has no referee, enough tenths of the set become one: 2,000 images."""
    entry, folds = entry_of(name), ZOO[name].folds
    parts = -(-PARTS * (REFEREE + 50) // entry["images"])
    if folds[3] or parts > PARTS - 3 or entry["groups"] < FEWEST_GROUPS:
        return folds
    return PARTS - 2 - parts, 1, 1, parts


def has_referee(name: str) -> bool:
    """Whether 2,000 images can be spared to tell what is true."""
    return folds_of(name)[3] > 0


def training_images(name: str) -> int:
    """How many training images a training of the set can have."""
    folds = folds_of(name)
    # Groups do not divide evenly.
    return min(MOST_TRAINING, int(0.85 * entry_of(name)["images"] * folds[0] / sum(folds)))


@cache
def shrunk(name: str) -> Built:
    """The set with large images scaled down. Sealed sets may be trained on, as long as no one looks at the results."""
    built = open_set(name, unseal=True)
    factor = built.images.shape[1] // side_of(name)
    if factor == 1:
        return built
    count, side, _, channels = built.images.shape
    small = side // factor
    boxes = built.images[:, : small * factor, : small * factor].reshape(count, small, factor, small, factor, channels)
    pixels = np.rint(boxes.mean(axis=(2, 4))).astype(np.uint8)
    return Built(pixels, built.labels, built.classes, built.groups, built.dropped)


@cache
def whole_cut(name: str, shuffle: int) -> Cut:
    """Cut the set in one of the ways that it is cut.

    Some classes of the sixth lot have few groups, and a class that a split lacks is a fault which no intervention
    measures. So its sets are cut by the first further shuffle in which each split has all classes, or lacks the fewest.
    """
    built, folds = shrunk(name), folds_of(name)
    seeds = range(shuffle, MOST_SHUFFLES, SHUFFLES) if entry_of(name)["lot"] == 6 else [shuffle]
    return find_fullest(cut_of(built, folds, seed) for seed in seeds)


def find_fullest(cuts: Iterable[Cut]) -> Cut:
    """The first cut whose splits, but for empty ones, have all classes; without one, that which lacks the fewest."""
    fullest: Cut | None = None
    fewest = 0
    for cut in cuts:
        lacking = sum(cut.classes - len(np.unique(cut.labels[rows])) for rows in cut.splits.values() if len(rows))
        if fullest is None or lacking < fewest:
            fullest, fewest = cut, lacking
        if not lacking:
            break
    assert fullest is not None
    return fullest


def training_cut(name: str, images: int, seed: int) -> Cut:
    """A part of the set: `images` of its training images, and as many more under `spare` where it has them.

    The same for the same seed.
    """
    whole = whole_cut(name, seed % SHUFFLES)
    draw = np.random.default_rng([seed, 4])
    splits = {
        split: draw.permutation(rows)[:most]
        for split, rows, most in (
            ("validation", whole.splits["validation"], MOST_VALIDATION),
            ("test", whole.splits["test"], MOST_TEST),
            ("referee", whole.splits["referee"], REFEREE),
        )
    }
    pool = draw.permutation(whole.splits["train"])
    splits["train"] = pool[choose_stratified(whole.labels[pool], images)]
    left = pool[~np.isin(pool, splits["train"])]
    splits["spare"] = left[choose_stratified(whole.labels[left], images)] if len(left) >= images else left[:0]
    return compact(whole, splits)


def compact(cut: Cut, splits: Splits) -> Cut:
    """The cut with no other images than those of its splits, which lie one after another."""
    rows = np.concatenate(list(splits.values()))
    ends = np.cumsum([len(of_split) for of_split in splits.values()])
    places = np.split(np.arange(len(rows)), ends[:-1])
    return Cut(
        cut.images[rows],
        cut.labels[rows],
        dict(zip(splits, places, strict=True)),
        cut.groups[rows],
        cut.classes,
    )


def image_set(cut: Cut, splits: Splits | None = None) -> ImageSet:
    """What the worker is given: the three splits of the cut, or others."""
    chosen = cut.splits if splits is None else splits
    return ImageSet(
        images=cut.images,
        labels=cut.labels.astype(np.int32),
        splits={name: np.asarray(chosen[name], np.int64) for name in ("train", "validation", "test")},
        classes=class_names(cut.classes),
        value_range=(0, 255),
    )


def class_names(count: int) -> tuple[str, ...]:
    return tuple(map(str, range(count)))
