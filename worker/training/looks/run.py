"""The process that computes the features of a dataset: from its assignment to its last message."""

from collections.abc import Iterator
from multiprocessing.connection import Connection

import numpy as np
from numpy.typing import NDArray

from analysis.arrays.dataset import ImageSet, load
from analysis.arrays.features import Picture, find_neighbors, normalize, save_features
from analysis.arrays.relations import Relations, load_relations
from heldout.stored.audit import AuditFinding
from heldout.stored.looks import FEATURES_FILE, StoredLooks
from worker.ingest.local_audit.odd_images import MAX_LISTED, describe_odd_images, find_odd_images, make_example
from worker.messages import FeaturesAssignment, FeaturesFound
from worker.training.looks.compute import choose_images, choose_size, compute_features
from worker.training.looks.copies import describe_copies, find_copies
from worker.training.looks.foreign import find_foreign_images
from worker.training.looks.name_groups import find_name_groups
from worker.training.looks.places import place_images
from worker.training.supervisor_pipe import answer_once


def run(assignment: FeaturesAssignment, pipe: Connection) -> None:
    """Compute the features, and what they show."""
    answer_once(lambda: _look(assignment), pipe, too_large="The images do", side_by_side=assignment.threads)


def _list_findings(
    images: ImageSet,
    rows: NDArray[np.int64],
    normalized: NDArray[np.float32],
    related: NDArray[np.int64],
    similarity: NDArray[np.float32],
    names: list[str],
) -> Iterator[AuditFinding]:
    """Yield findings that the audit of the upload could not make."""
    if len(names) != len(images.labels):
        return
    grouped = find_name_groups(images, rows, normalized, names)
    if grouped is not None:
        yield grouped
    yield from find_foreign_images(images, rows, normalized, related, names)
    # Where only a sample has features, all images are compared by their pixels.
    odd = find_odd_images(images, similarity if len(rows) == len(images.labels) else None)
    if odd:
        yield describe_odd_images(odd, [make_example(images, names, image.row) for image in odd[:MAX_LISTED]])


def _look(assignment: FeaturesAssignment) -> FeaturesFound:
    images = load(assignment.dataset.folder)
    rows = choose_images(images)
    features = compute_features(assignment, images, rows)
    normalized = normalize(features)
    neighbors = find_neighbors(normalized)
    picture = Picture(
        rows.astype(np.int32),
        rows.astype(np.int32)[neighbors.rows],
        neighbors.similarity.astype(np.float16),
        place_images(normalized),
    )
    found = FeaturesFound(assignment.scratch / FEATURES_FILE, assignment.scratch / StoredLooks.file_name)
    save_features(picture, features.astype(np.float16), found.features)
    known = assignment.dataset.relations
    relations = Relations(np.arange(len(images.labels), dtype=np.int32)) if known is None else load_relations(known)
    related = relations.units().astype(np.int64)
    copies = find_copies(images, rows, normalized, relations.copy_of)
    listed = assignment.dataset.names
    names = None if listed is None else listed.read_text(encoding="utf-8").split("\n")[:-1]
    looks = StoredLooks(
        model=assignment.model_name,
        model_sha256=assignment.model_sha256,
        images=len(images.labels),
        sampled=len(rows),
        seen_as=choose_size(*images.shape[:2]),
        findings=()
        if names is None
        else tuple(_list_findings(images, rows, normalized, related, neighbors.similarity, names)),
        leakage=None if names is None else describe_copies(images, copies, names),
        copies=tuple((held, seen) for held, seen in copies.pairs.tolist()),
    )
    found.looks.write_bytes(looks.to_bytes())
    return found
