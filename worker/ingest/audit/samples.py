"""Samples of splits as small images in [0, 1], and whether a held-out split numbers the classes as train does."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from heldout.stored.audit import AuditFinding
from heldout.words import rough_percent
from worker.ingest.audit.dataset import ADJECTIVES, IngestedDataset
from worker.ingest.rejection import MIB

SIDE = 32  # larger images are averaged down to about this
CELLS = 8
BYTES_AT_ONCE = 4 * MIB


@dataclass(frozen=True)
class Sample:
    """Some images of a split, reduced.

    rows, labels: (count,); units: (count,) the images' groups, or numbers of their own; images: (count, height, width,
    channels) in [0, 1].
    """

    rows: NDArray[np.int64]
    labels: NDArray[np.int32]
    units: NDArray[np.int64]
    images: NDArray[np.float32]


def take_sample(dataset: IngestedDataset, split: str, most: int) -> Sample:
    """Take all images of a split, or a random choice by a fixed seed."""
    rows = dataset.splits[split]
    if len(rows) > most:
        rows = np.sort(np.random.default_rng(0).choice(rows, most, replace=False))
    low, high = dataset.value_range
    parts = []
    step = max(1, BYTES_AT_ONCE // dataset.pixels.row_bytes)
    for first in range(0, len(rows), step):
        block = dataset.pixels.take(rows[first : first + step]).astype(np.float32)
        parts.append((_reduce(block) - low) / (high - low))
    # Groups are numbered from 0; images without a group must not be mistaken for them.
    units = -1 - rows if dataset.groups is None else dataset.groups[rows]
    return Sample(rows, dataset.labels[rows], units, np.concatenate(parts))


def compute_features(images: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Compute (count, cells) brightness of 8×8 cells a channel, and means, deviations, edges and fine detail."""
    count, height, width, _ = images.shape
    rows, columns = (np.arange(CELLS) * side // CELLS for side in (height, width))
    areas = np.outer(np.diff(np.append(rows, height)), np.diff(np.append(columns, width)))
    cells = np.add.reduceat(np.add.reduceat(images, rows, axis=1), columns, axis=2) / areas[None, :, :, None]
    middle = images[:, 1:-1, 1:-1]
    around = images[:, :-2, 1:-1] + images[:, 2:, 1:-1] + images[:, 1:-1, :-2] + images[:, 1:-1, 2:]
    summaries = [
        images.mean(axis=(1, 2)),
        images.std(axis=(1, 2)),
        *(np.abs(np.diff(images, axis=axis)).mean(axis=(1, 2, 3))[:, None] for axis in (1, 2)),
        np.abs(4 * middle - around).mean(axis=(1, 2, 3))[:, None],
    ]
    return cells.reshape(count, -1).astype(np.float32), np.concatenate(summaries, axis=1)


def standardize(parts: list[tuple[NDArray[np.float32], NDArray[np.float32]]]) -> NDArray[np.float32]:
    """Turn cells and summaries of several samples into points, (all images, features). Each kind has the same weight.

    Cells keep their relation to each other; summaries are of different kinds, so each has its own unit.
    """
    cells = np.concatenate([cells for cells, _ in parts])
    summaries = np.concatenate([summaries for _, summaries in parts])
    cells = (cells - cells.mean(axis=0)) / (cells.std(axis=0).mean() + 1e-6) / np.sqrt(cells.shape[1])
    summaries = (summaries - summaries.mean(axis=0)) / (summaries.std(axis=0) + 1e-6) / np.sqrt(summaries.shape[1])
    return np.concatenate([cells, summaries], axis=1).astype(np.float32)


def _reduce(block: NDArray[np.float32]) -> NDArray[np.float32]:
    found: Any = block
    for axis in (1, 2):
        step = found.shape[axis] // SIDE
        if step > 1:
            whole = found.shape[axis] // step * step
            starts = np.arange(0, whole, step)
            found = np.add.reduceat(found.take(np.arange(whole), axis=axis), starts, axis=axis) / step
    return found


SAMPLE_IMAGES = 2000
MIN_IMAGES_PER_CLASS = 8
MAX_CLASSES = 50
# Accuracies of the nearest mean image: as labeled, the split is worse than train by at least this much …
MIN_LOSS_AS_LABELLED = 0.2
# … and with its classes renamed by no more than this.
MAX_LOSS_ONCE_RENAMED = 0.1


def find_label_order(dataset: IngestedDataset) -> list[AuditFinding]:
    """Find the first held-out split whose labels make sense only after they are exchanged."""
    if len(dataset.classes) > MAX_CLASSES:
        return []
    train = take_sample(dataset, "train", SAMPLE_IMAGES)
    for split in ("test", "validation"):
        held = take_sample(dataset, split, SAMPLE_IMAGES)
        finding = _compare_split(dataset, split, train, held)
        if finding is not None:
            return [finding]
    return []


def _compare_split(dataset: IngestedDataset, split: str, train: Sample, held: Sample) -> AuditFinding | None:
    count = len(dataset.classes)
    fewest = min(np.min(np.bincount(sample.labels, minlength=count)) for sample in (train, held))
    if fewest < MIN_IMAGES_PER_CLASS:
        return None
    points = standardize([compute_features(train.images), compute_features(held.images)])
    of_train, of_held = points[: len(train.rows)], points[len(train.rows) :]
    # Half of the images of each class make the means; the other half are classified by them.
    turn = np.zeros(len(train.rows), np.int64)
    for label in range(count):
        of_class = np.flatnonzero(train.labels == label)
        turn[of_class] = np.arange(len(of_class)) % 2
    means = np.stack([of_train[(train.labels == label) & (turn == 0)].mean(axis=0) for label in range(count)])
    checked = turn == 1
    at_train = float((_find_nearest(of_train[checked], means) == train.labels[checked]).mean())
    predicted = _find_nearest(of_held, means)
    as_labelled = float((predicted == held.labels).mean())
    if at_train - as_labelled < MIN_LOSS_AS_LABELLED:
        return None
    from scipy.optimize import linear_sum_assignment

    table = np.zeros((count, count), np.int64)
    np.add.at(table, (held.labels, predicted), 1)
    labels, renamed = linear_sum_assignment(-table)
    as_renamed = float(table[labels, renamed].sum() / len(held.rows))
    if at_train - as_renamed > MAX_LOSS_ONCE_RENAMED:
        return None
    numbers: dict[str, Any] = {
        "split": split,
        "train_accuracy": round(at_train, 4),
        "accuracy": round(as_labelled, 4),
        "accuracy_once_renamed": round(as_renamed, 4),
        "renamed": {
            dataset.classes[number]: dataset.classes[renamed_number]
            for number, renamed_number in zip(labels.tolist(), renamed.tolist(), strict=True)
            if number != renamed_number
        },
    }
    moved = held.rows[np.isin(held.labels, labels[labels != renamed])]
    return AuditFinding(
        code="label_order_mismatch",
        severity="critical",
        numbers=numbers,
        explanation=f"The {ADJECTIVES[split]} labels number the classes in a different order. "
        f"{rough_percent(as_labelled)} of these images look most like the average training image "
        f"of their class, and {rough_percent(as_renamed)} once the classes are renamed.",
        what_to_do="Give all splits the same list of classes, in the same order.",
        examples=dataset.examples(moved),
    )


def _find_nearest(points: NDArray[np.float32], means: NDArray[np.float32]) -> NDArray[np.int64]:
    return ((means * means).sum(axis=1) - 2 * points @ means.T).argmin(axis=1)
