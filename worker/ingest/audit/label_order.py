"""Whether a held-out split numbers the classes as train does, judged by the mean image of each class."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from heldout.stored.audit import AuditFinding
from heldout.words import rough_percent
from worker.ingest.audit.dataset import IngestedDataset
from worker.ingest.audit.samples import Sample, compute_features, standardize, take_sample
from worker.ingest.audit.wording import ADJECTIVES

SAMPLE_IMAGES = 2000
MIN_IMAGES_PER_CLASS = 8
MAX_CLASSES = 50
# Accuracies of the nearest mean image: as labeled, the split is worse than train by at least this much …
MIN_LOSS_AS_LABELLED = 0.2
# … and with its classes renamed by no more than this.
MAX_LOSS_ONCE_RENAMED = 0.1


def find_label_order(dataset: IngestedDataset) -> list[AuditFinding]:
    """A finding for the first held-out split whose labels make sense only after they are exchanged."""
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
    said = _find_nearest(of_held, means)
    as_labelled = float((said == held.labels).mean())
    if at_train - as_labelled < MIN_LOSS_AS_LABELLED:
        return None
    from scipy.optimize import linear_sum_assignment

    table = np.zeros((count, count), np.int64)
    np.add.at(table, (held.labels, said), 1)
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
    found: NDArray[np.int64] = ((means * means).sum(axis=1) - 2 * points @ means.T).argmin(axis=1)
    return found
