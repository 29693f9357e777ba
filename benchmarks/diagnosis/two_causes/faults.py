"""What is planted: in the training images, in validation, in test, and in the same way in the referee's images."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from analysis.arrays.job_splits import stratified
from analysis.arrays.relations import Relations
from benchmarks.diagnosis.sets import PlantedSet, cut
from benchmarks.diagnosis.two_causes.conditions import CUTS, TwoCauses

Images = NDArray[Any]  # (count, 28, 28, 1), 0 to 255; uint8, or float32 where one split is scaled to 0 to 1
Labels = NDArray[np.int32]


def planted_set(condition: TwoCauses) -> PlantedSet:
    """The data of a training; its referee split is clean."""
    plain = cut(condition.dataset, CUTS[condition.dataset], condition.shuffle)
    draw = np.random.default_rng([condition.seed, 1])
    images, labels = plain.images.copy(), plain.labels.copy()
    copy_of = np.arange(len(labels), dtype=np.int32)
    train, validation, test = (plain.splits[name] for name in ("train", "validation", "test"))
    causes = condition.causes
    used = train[stratified(labels[train], condition.spec.training.train_limit)]
    if share := causes.get("wrong_labels"):
        wrong = train[draw.random(len(train)) < share]
        labels[wrong] = (labels[wrong] + draw.integers(1, 10, len(wrong))) % 10
    for split, rows in (("validation", validation), ("test", test)):
        if share := causes.get(f"{split}_copies"):
            copies = draw.permutation(rows)[: round(share * len(rows))]
            seen = draw.choice(used, len(copies), replace=len(copies) > len(used))
            images[copies], labels[copies], copy_of[copies] = images[seen], labels[seen], copy_of[seen]
    if causes.get("pixels") == "unit":
        images = images.astype(np.float32)
    images[test] = changed_pixels(shifted(images[test], condition), causes)
    labels[test] = renamed(labels[test], condition)
    return PlantedSet(replace(plain, images=images, labels=labels), Relations(copy_of))


def shifted(images: Images, condition: TwoCauses) -> Images:
    """Images of another kind than training's: blurred, rotated or noisy."""
    if "shift" not in condition.causes:
        return images
    kind, amount = _kind_and_amount(condition.causes["shift"])
    images = images.astype(np.uint8)
    draw = np.random.default_rng([condition.seed, 2])
    if kind == "noisy":
        noise = draw.normal(0, amount, images.shape)
        return np.clip(images + noise, 0, 255).round().astype(np.uint8)
    return np.stack([_redrawn(one[..., 0], kind, amount, draw) for one in images])[..., None]


def _redrawn(image: NDArray[np.uint8], kind: str, amount: float, draw: np.random.Generator) -> NDArray[np.uint8]:
    picture = Image.fromarray(image)
    if kind == "blurred":
        return np.asarray(picture.filter(ImageFilter.GaussianBlur(amount)))
    angle = amount * draw.choice([-1, 1])
    return np.asarray(picture.rotate(angle, Image.Resampling.BILINEAR))


def changed_pixels(images: Images, causes: Mapping[str, Any]) -> Images:
    """Other pixel values of the same pictures: inverted, scaled to 0 and 1, dimmed or brightened."""
    if "pixels" not in causes:
        return images
    kind, amount = _kind_and_amount(causes["pixels"])
    match kind:
        case "inverted":
            return 255 - images
        case "unit":
            return (images / 255).astype(np.float32)
        case "dimmed":
            return (images * amount).round().astype(np.uint8)
    return np.clip(images.astype(np.int64) + round(amount), 0, 255).astype(np.uint8)


def renamed(labels: Labels, condition: TwoCauses) -> Labels:
    """Some classes, drawn anew for each training, bear the name of the next one of them."""
    if "renamed" not in condition.causes:
        return labels
    moved = np.random.default_rng([condition.seed, 3]).permutation(10)[: condition.causes["renamed"]]
    names = np.arange(10, dtype=np.int32)
    names[moved] = np.roll(moved, 1)
    return names[labels]


def _kind_and_amount(text: str) -> tuple[str, float]:
    kind, _, amount = text.partition(" ")
    return kind, float(amount or 0)
