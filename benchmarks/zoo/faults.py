"""Faults to plant in a set that is cut into splits, and the truth about them by construction.

A fault is one entry of `FAULTS`. It is a pure function of the data, a generator of random numbers and a strength. It
draws a number for each image of the set, whatever the splits are, so that a fault hits the same images with and without
another. What training and figures would be without a fault is `Planted.without(name)`.
"""

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import product

import numpy as np
from numpy.typing import NDArray

from benchmarks.zoo.alterations import (
    blurred,
    brighter,
    cropped,
    exact,
    inverted,
    other_channels,
    recompressed,
    recut,
    rescaled,
    scaled,
    thumbnail,
)
from benchmarks.zoo.cuts import Change, Cut, NotApplicable, Planter, lowest, part_of, record_change


@dataclass(frozen=True)
class Fault:
    """A fault that can be planted. strengths: weak, middle and strong, then others that are never dealt."""

    name: str
    about: str
    strengths: tuple[float, ...]
    plant: Planter


@dataclass(frozen=True)
class Planted:
    """Data with faults, what they changed, and the data without any."""

    data: Cut
    changes: tuple[Change, ...]
    original: Cut
    faults: tuple[tuple[str, int], ...]
    seed: int

    def without(self, name: str) -> "Planted":
        """The same, but for one fault: what the weights are measured on again, or trained on, to know its effect."""
        return plant(self.original, [fault for fault in self.faults if fault[0] != name], self.seed)


def plant(cut: Cut, faults: Sequence[tuple[str, int]], seed: int) -> Planted:
    """Plant faults, each by its name and its level (0, 1 or 2), in the order of the registry.

    Raises:
        NotApplicable: if one of them cannot be planted in this set.
    """
    data, changes = cut, list[Change]()
    ordered = sorted(faults, key=lambda fault: list(FAULTS).index(fault[0]))
    for name, level in ordered:
        rng = np.random.default_rng([seed, zlib.crc32(name.encode())])
        data, found = FAULTS[name].plant(data, rng, FAULTS[name].strengths[level])
        changes += [replace(change, fault=name) for change in found]
    return Planted(data, tuple(changes), cut, tuple(ordered), seed)


# Sizes and splits


def few(split: str, minimum: int) -> Planter:
    """Keep a part of a split (strength below 1) or this many of its images, at least the minimum."""

    def planted(cut: Cut, rng: np.random.Generator, strength: float) -> tuple[Cut, list[Change]]:
        rows = cut.splits[split]
        count = max(minimum, round(strength * len(rows) if strength < 1 else strength))
        if count >= len(rows):
            raise NotApplicable(f"{split} has {len(rows)} images, {count} would be kept")
        kept = lowest(rows, rng.random(len(cut.labels)), count)
        gone = np.setdiff1d(rows, kept)
        return replace(cut, splits={**cut.splits, split: kept}), record_change(strength, split, "splits", gone, rows)

    return planted


def rare_classes(cut: Cut, rng: np.random.Generator, strength: float) -> tuple[Cut, list[Change]]:
    """Leave one of `strength` training images in a third of the classes, at least one image."""
    rows, draws = cut.splits["train"], rng.random(len(cut.labels))
    chosen = rng.permutation(cut.classes)[: max(1, cut.classes // 3)]
    gone = []
    for label in chosen:
        of_class = rows[cut.labels[rows] == label]
        gone.append(np.setdiff1d(of_class, lowest(of_class, draws, max(1, round(len(of_class) / strength)))))
    left_out = np.sort(np.concatenate(gone))
    kept = np.setdiff1d(rows, left_out)
    return replace(cut, splits={**cut.splits, "train": kept}), record_change(
        strength, "train", "splits", left_out, rows
    )


def other_source(cut: Cut, rng: np.random.Generator, strength: float) -> tuple[Cut, list[Change]]:
    """Change places: the groups least like the others go from training to test, and as many of test go to training.

    Groups are ordered by the first principal component of their mean images, each image less the mean of its class.
    """
    train, test = cut.splits["train"], cut.splits["test"]
    names, of = np.unique(cut.groups, return_inverse=True)
    in_train = np.unique(of[train])
    if len(in_train) < 4 or len(np.intersect1d(in_train, of[test])):
        raise NotApplicable("another source needs at least 4 groups in training, and none in two splits")
    small = np.stack([thumbnail(image) for image in cut.images])
    for label in range(cut.classes):
        small[cut.labels == label] -= small[cut.labels == label].mean(axis=0)
    means = np.stack([small[of == group].mean(axis=0) for group in range(len(names))])
    centred = means - means.mean(axis=0)
    along = centred @ np.linalg.svd(centred, full_matrices=False)[2][0]
    # The end of the axis is that at which groups lie farther out.
    along *= 1 if along.max() >= -along.min() else -1
    wanted, taken, size = strength * len(test), list[int](), 0
    for group in in_train[np.argsort(-along[in_train], kind="stable")]:
        if size >= wanted or len(taken) > len(in_train) // 2:
            break
        taken.append(int(group))
        size += int((of[train] == group).sum())
    left, back = list[int](), 0
    for group in rng.permutation(np.unique(of[test])):
        if back >= min(size, wanted):
            break
        left.append(int(group))
        back += int((of[test] == group).sum())
    arrived, gone = train[np.isin(of[train], taken)], test[np.isin(of[test], left)]
    splits = {
        **cut.splits,
        "train": np.sort(np.concatenate([np.setdiff1d(train, arrived), gone])),
        "test": np.sort(np.concatenate([np.setdiff1d(test, gone), arrived])),
    }
    whole = splits["test"]
    return replace(cut, splits=splits), [Change("", strength, "test", "splits", arrived, len(arrived) / len(whole))]


# Labels


def wrong_labels(kind: str, splits: tuple[str, ...]) -> Planter:
    """Give a share of the images another label: any other ("random"), or that of the most similar class."""

    def planted(cut: Cut, rng: np.random.Generator, strength: float) -> tuple[Cut, list[Change]]:
        draws, moves = rng.random(len(cut.labels)), rng.integers(1, cut.classes, len(cut.labels))
        similar = most_similar(cut) if kind == "confusable" else None
        labels, changes = cut.labels.copy(), list[Change]()
        for split in splits:
            rows = cut.splits.get(split, np.empty(0, np.int64))
            if len(rows):
                wrong = part_of(rows, draws, strength)
                moved = (cut.labels[wrong] + moves[wrong]) % cut.classes
                labels[wrong] = moved if similar is None else similar[cut.labels[wrong]]
                changes += record_change(strength, split, "labels", wrong, rows)
        return replace(cut, labels=labels), changes

    return planted


def most_similar(cut: Cut) -> NDArray[np.int32]:
    """(classes,) for each class the one whose mean training image is nearest."""
    rows = cut.splits["train"]
    flat = cut.images[rows].reshape(len(rows), -1)
    means = np.stack([flat[cut.labels[rows] == label].mean(axis=0, dtype=np.float64) for label in range(cut.classes)])
    distances = ((means[:, None] - means[None]) ** 2).sum(axis=2)
    np.fill_diagonal(distances, np.inf)
    return distances.argmin(axis=1).astype(np.int32)


NUMBERS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]


def label_order(kind: str, classes: int) -> NDArray[np.int32]:
    """(classes,) the label that each class gets in another order.

    Alphabetical is by the digits ("10" before "2"), or with at most ten classes by the words ("eight" before "five").
    """
    match kind:
        case "rotated":
            return ((np.arange(classes) + 1) % classes).astype(np.int32)
        case "reversed":
            return np.arange(classes)[::-1].astype(np.int32)
        case _:
            spelled = NUMBERS[:classes] if classes <= len(NUMBERS) else [str(label) for label in range(classes)]
            return np.argsort(np.argsort(spelled)).astype(np.int32)


def reordered(kind: str, split: str) -> Planter:
    """Give a share of a split's images their labels in another order of the classes."""

    def planted(cut: Cut, rng: np.random.Generator, strength: float) -> tuple[Cut, list[Change]]:
        rows = cut.splits[split]
        chosen = part_of(rows, rng.random(len(cut.labels)), strength)
        labels = cut.labels.copy()
        labels[chosen] = label_order(kind, cut.classes)[labels[chosen]]
        changed = chosen[labels[chosen] != cut.labels[chosen]]
        return replace(cut, labels=labels), record_change(strength, split, "labels", changed, rows)

    return planted


# Copies


def copies(
    kind: Callable[[NDArray[np.uint8]], NDArray[np.uint8]], source: str, target: str, other_label: bool
) -> Planter:
    """Replace a share of a split's images by copies of another split's, with their labels or with others.

    In one split, an image is either a copy or what copies are made of.
    """

    def planted(cut: Cut, rng: np.random.Generator, strength: float) -> tuple[Cut, list[Change]]:
        draws, moves = rng.random((2, len(cut.labels))), rng.integers(1, cut.classes, len(cut.labels))
        rows = cut.splits[target]
        replaced = part_of(rows, draws[0], strength)
        pool = np.setdiff1d(cut.splits[source], replaced)
        if len(pool) < len(replaced):
            raise NotApplicable(f"{source} has {len(pool)} images to copy, {len(replaced)} are wanted")
        sources = pool[np.argsort(draws[1][pool], kind="stable")[: len(replaced)]]
        images, labels = cut.images.copy(), cut.labels.copy()
        images[replaced] = np.stack([kind(image) for image in cut.images[sources]])
        labels[replaced] = cut.labels[sources]
        if other_label:
            labels[replaced] = (labels[replaced] + moves[sources]) % cut.classes
        changed = replace(cut, images=images, labels=labels)
        return changed, record_change(strength, target, "both", replaced, rows, sources)

    return planted


# Pixels


def pixels(
    change: Callable[[NDArray[np.uint8], float], NDArray[np.uint8]], split: str, by_share: bool = False
) -> Planter:
    """Change the pixels of all images of a split, or of a share of them where that is the strength."""

    def planted(cut: Cut, rng: np.random.Generator, strength: float) -> tuple[Cut, list[Change]]:
        rows = cut.splits[split]
        chosen = part_of(rows, rng.random(len(cut.labels)), strength) if by_share else rows
        images = cut.images.copy()
        images[chosen] = change(cut.images[chosen], strength)
        differ = (images[chosen] != cut.images[chosen]).any(axis=(1, 2, 3))
        return replace(cut, images=images), record_change(strength, split, "images", chosen[differ], rows)

    return planted


SHARES = (0.25, 0.5, 1.0)
COPIED = (0.05, 0.2, 0.5)
WRONG = (0.05, 0.15, 0.35, 0.25)
QUARTER = 3  # the level of a quarter of wrong labels
EVERYWHERE = ("train", "validation", "test")
WAYS = (("train", "test"), ("train", "validation"), ("validation", "test"))
HELD_OUT = ("validation", "test")

# In the order in which they are planted: first which images there are, then their labels, copies of both, and pixels.
_ALL = (
    Fault("few_training", "few training images", (0.5, 0.2, 0.05), few("train", 20)),
    Fault("tiny_validation", "a tiny validation split", (100, 50, 20), few("validation", 1)),
    Fault("tiny_test", "a tiny test split", (100, 50, 20), few("test", 1)),
    Fault("rare_classes", "a third of the classes is rare in training", (10, 25, 50), rare_classes),
    Fault("other_source", "test images are of another source", SHARES, other_source),
    *(
        Fault(f"wrong_{kind}_{where}", f"wrong labels ({kind}), {where}", WRONG, wrong_labels(kind, splits))
        for kind, (where, splits) in product(
            ("random", "confusable"),
            (("training", ("train",)), ("everywhere", EVERYWHERE), ("training_validation", ("train", "validation"))),
        )
    ),
    *(
        Fault(f"{kind}_{split}", f"labels of {split} are in another order ({kind})", SHARES, reordered(kind, split))
        for kind, split in product(("rotated", "reversed", "alphabetical"), HELD_OUT)
    ),
    *(
        Fault(
            f"{kind.__name__}_{source}_{target}",
            f"copies ({kind.__name__}) of {source} in {target}",
            COPIED,
            copies(kind, source, target, other_label=False),
        )
        for kind, (source, target) in product((exact, recompressed, scaled, cropped, recut), WAYS)
    ),
    *(
        Fault(
            f"conflicting_{kind.__name__}_{source}_{target}",
            f"copies ({kind.__name__}) of {source} in {target}, with other labels",
            COPIED,
            copies(kind, source, target, other_label=True),
        )
        for kind, (source, target) in product((exact, recompressed, scaled, cropped), (("train", "train"), *WAYS))
    ),
    *(
        Fault(f"{name}_{split}", f"{about} in {split}", strengths, pixels(change, split, by_share))
        for (name, about, strengths, change, by_share), split in product(
            (
                ("inverted", "inverted images", SHARES, inverted, True),
                ("other_channels", "red and blue swapped", SHARES, other_channels, True),
                ("rescaled", "values divided", (2, 8, 255), rescaled, False),
                ("brighter", "brighter images", (30, 60, 120), brighter, False),
                ("blurred", "blurred images", (0.7, 1.4, 2.8), blurred, False),
            ),
            HELD_OUT,
        )
    ),
)
FAULTS = {fault.name: fault for fault in _ALL}
# Faults that only the sixth lot is dealt: the plans of earlier lots stay as they were.
LATER = frozenset(name for name in FAULTS if name.startswith("recut_") or name.endswith("_training_validation"))
# A fault of the figures with one of training or of data: the second must not hide the first, nor the first the second.
PAIRS = tuple(
    product(
        (
            "exact_train_test",
            "cropped_train_validation",
            "rotated_test",
            "inverted_test",
            "brighter_test",
            "blurred_test",
        ),
        ("few_training", "wrong_random_training", "wrong_confusable_everywhere", "rare_classes", "tiny_test"),
    )
)
