"""Audit the data of kept trainings again, as today's audit does it, without training."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from analysis.answers.answers import measure_family
from analysis.arrays.dataset import ImageSet
from analysis.arrays.relations import Relations
from benchmarks.diagnosis.trained import audit_with_relations
from benchmarks.zoo.cuts import Cut
from benchmarks.zoo.data import image_set, training_cut
from benchmarks.zoo.faults import plant
from benchmarks.zoo.record import COLLECTION, ZooRecord, read_set, unpack, write_set
from worker.training.measuring.gap import find_related_images


def audit_again(name: str, folder: Path = COLLECTION) -> None:
    """Replace the findings of a set's trainings, and the parts of their gap that hang on which images are copies.

    What was measured under other pixels or labels stays, with the copies of then: that needs the weights.
    """
    write_set([audited(record) for record in read_set(name, folder)], folder)


def audited(record: ZooRecord, cut: Cut | None = None) -> ZooRecord:
    """The record with what today's audit finds in its images, which are those of its training unless given."""
    training = record.training
    cut = cut or training_cut(training.dataset, training.images, training.seed)
    images = image_set(plant(cut, training.faults, training.seed).data)
    findings, relations = audit_with_relations(images)
    found = replace(record, audit=findings)
    if record.gap is not None:
        counted = copies_counted(record, images, relations)
        if record.gap["pixels"] or record.gap["labels"]:
            del counted["test_copies"]  # changes undone in the images that were not copies then
        found = replace(found, gap=record.gap | counted)
    return found.rounded()


def copies_counted(record: ZooRecord, images: ImageSet, relations: Relations) -> dict[str, Any]:
    """`validation_copies` and `test_copies` of the stored gap, from the answers that are kept."""
    related = find_related_images(relations, {split: images.splits[split] for split in ("train", "validation", "test")})
    counted: dict[str, Any] = {}
    for split, relations_of in related.items():
        are_related = relations_of.is_related
        losses, right = unpack(record.answers[split], len(are_related))
        counted[f"{split}_copies"] = {
            "clean": _tally(losses[~are_related], right[~are_related]),
            "copied": _tally(losses[are_related], right[are_related]),
        }
    return counted


def add_groups(record: ZooRecord) -> ZooRecord:
    """The record as it would be if the dataset had groups."""
    if record.gap is None:
        return record
    training = record.training
    cut = plant(training_cut(training.dataset, training.images, training.seed), training.faults, training.seed).data
    gap = dict(record.gap)
    for split in ("validation", "test"):
        rows = cut.splits[split]
        if copies := gap[f"{split}_copies"]:
            _, right = unpack(record.answers[split], len(rows))
            gap[f"{split}_copies"] = copies | {"family": measure_family(right, cut.groups[rows])}
    return replace(record, gap=gap)


def _tally(losses: np.ndarray[Any, Any], right: np.ndarray[Any, Any]) -> dict[str, Any] | None:
    if not len(losses):
        return None
    exact = losses.astype(np.float64)
    variance = float(exact.var(ddof=1)) if len(exact) > 1 else 0.0
    return {"count": len(exact), "correct": int(right.sum()), "loss": float(exact.mean()), "loss_variance": variance}
