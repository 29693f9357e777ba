"""Previews which images of a version a change removes or changes."""

import io
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis.arrays.changed_labels import change_labels, rename_classes
from analysis.arrays.dataset import SPLITS
from analysis.arrays.relations import find_superfluous_copies, join_copies, load_relations, make_relations_key
from heldout.errors import DatasetLost
from heldout.fixes.changes import VersionChanges, parse_index
from heldout.lifecycle.resources import RelationsStatus
from heldout.views.dataset import EffectView, ExampleView, SplitImagesView
from models.blob_files import guard_reading
from models.blobs import BlobMissing, Blobs, raise_if_missing
from models.database import Session
from models.stored_files import (
    find_positions,
    read_file,
    read_labels,
    read_looks,
    read_names_at,
    read_splits,
    read_unless_lost,
)
from models.tables import DatasetRow
from models.views.dataset import get_thumbnail_route

Rows = NDArray[np.int64]
SHOWN_FIRST = ("test", "validation", "train")
ADJECTIVES = {"train": "training", "validation": "validation", "test": "test"}


@dataclass(frozen=True)
class FixEffect:
    """The effect of a change. removed, changed: (images,) disjoint. is_complete: False if copies are unknown.

    together: how many images with copies stay together where splits are cut again; None if that is unknown.
    """

    removed: Rows
    changed: Rows
    cuts_splits: bool
    is_complete: bool
    together: int | None = None


def build_effect_view(
    session: Session, blobs: Blobs, row: DatasetRow, changes: VersionChanges, shown: int
) -> EffectView:
    """Build the view of a change's effect on a ready version, with up to `shown` removed and `shown` changed images.

    Raises:
        DatasetLost, DatasetDamaged, StorageUnavailable, FileOfLaterRelease.
    """
    with raise_if_missing(DatasetLost(row.name)):
        labels, splits = read_labels(session, blobs, row.sha256 or ""), read_splits(session, blobs, row.sha256 or "")
        copy_of = _read_copies(session, blobs, row) if changes.drop_copies or changes.resplit else None
        positions = find_positions(session, blobs, row.id, list_named_images(changes))
        effect = compute_effect(changes, labels, splits, row.classes or (), copy_of, positions)
        first = [order_for_show(rows, splits, shown) for rows in (effect.removed, effect.changed)]
        names = read_names_at(session, blobs, row.id, [index for images in first for _, index in images])
    removed, changed = (
        [
            ExampleView(
                split=split, index=index, member=names.get(index, ""), thumbnail=get_thumbnail_route(row.id, index)
            )
            for split, index in images
        ]
        for images in first
    )
    removes, changes_ = (
        {split: int(np.isin(splits[split], rows).sum()) for split in SPLITS}
        for rows in (effect.removed, effect.changed)
    )
    return EffectView(
        summary=describe(effect, removes, changes_, {split: len(splits[split]) for split in SPLITS}),
        removes=SplitImagesView(**removes),
        changes=SplitImagesView(**changes_),
        cuts_splits=effect.cuts_splits,
        is_complete=effect.is_complete,
        removed=removed,
        changed=changed,
    )


def compute_effect(
    changes: VersionChanges,
    labels: NDArray[np.int32],
    splits: Mapping[str, Rows],
    classes: Sequence[str],
    copy_of: NDArray[np.int32] | None,
    positions: Mapping[str, int],
) -> FixEffect:
    """Compute which images a worker would remove or change, applying the changes in the worker's order.

    Args:
        labels: (images,) positions in `classes`.
        splits: positions of the images of each split.
        copy_of: (images,) the first image of each image's cluster of copies. None if unknown.
        positions: positions of the images named in the changes. Unknown names have no effect.
    """
    count = len(labels)
    split_of = np.zeros(count, np.int8)
    for code, split in enumerate(SPLITS):
        split_of[splits[split]] = code
    is_left, has_other_pixels = np.ones(count, bool), np.zeros(count, bool)
    is_left[_find_rows(changes.exclude, positions, count)] = False
    relabel = {row: label for image, label in changes.relabel.items() for row in _find_rows([image], positions, count)}
    given = change_labels(changes, labels, split_of, classes, relabel)
    renamed = changes.get_for_all_splits()
    merged = rename_classes(classes, renamed)[1][given]
    # Renaming a class does not change its images, but merging it into another class does.
    is_merged = np.array([renamed.get(name) in classes for name in classes], bool)
    changed = (given != labels) | is_merged[given]
    pixels = changes.pixel_values.group_by_split() if changes.pixel_values else {}
    for split in pixels:
        has_other_pixels |= split_of == SPLITS.index(split)
    is_complete = True
    if changes.drop_copies:
        # Changed pixels or labels can make or unmake copies.
        is_complete = copy_of is not None and not (pixels or changes.rename_classes or changes.relabel)
        if copy_of is not None:
            rows = np.flatnonzero(is_left)
            _, clusters = np.unique(copy_of[rows], return_inverse=True)
            gone = find_superfluous_copies(clusters.astype(np.int32), merged[rows], split_of[rows])
            is_left[rows[np.concatenate(gone)]] = False
    changed = (changed | has_other_pixels) & is_left
    together = None
    if changes.resplit and copy_of is not None:
        _, sizes = np.unique(copy_of[is_left], return_counts=True)
        together = int(sizes[sizes > 1].sum())
    return FixEffect(np.flatnonzero(~is_left), np.flatnonzero(changed), bool(changes.resplit), is_complete, together)


def describe(effect: FixEffect, removes: Mapping[str, int], changes: Mapping[str, int], of: Mapping[str, int]) -> str:
    """Describe the effect. The numbers are images per split."""
    sentences = []
    for verb, counts in (("Removes", removes), ("Changes", changes)):
        parts = [
            f"{counts[split]:,} of {of[split]:,} {ADJECTIVES[split]} images" for split in SHOWN_FIRST if counts[split]
        ]
        if parts:
            sentences.append(f"{verb} {', '.join(parts[:-1])}{' and ' if parts[:-1] else ''}{parts[-1]}.")
    if effect.cuts_splits:
        left = sum(of.values()) - sum(removes.values())
        kept = f"; {effect.together:,} images with copies stay together" if effect.together else ""
        sentences.append(f"Splits all {left:,} images again{kept}.")
    if not sentences:
        sentences.append("Removes and changes no images.")
    if not effect.is_complete:
        sentences.append("Copies that are found later are not counted.")
    return " ".join(sentences)


def order_for_show(rows: Rows, splits: Mapping[str, Rows], most: int) -> list[tuple[str, int]]:
    """List the first `most` of `rows` with their splits, held-out images first."""
    chosen = [(split, row) for split in SHOWN_FIRST for row in rows[np.isin(rows, splits[split])][:most].tolist()]
    return chosen[:most]


def list_named_images(changes: VersionChanges) -> list[str]:
    """List the images that the changes identify by file name."""
    images: Collection[Any] = (*changes.exclude, *changes.relabel)
    return [str(image) for image in images if parse_index(image) is None]


def _find_rows(images: Collection[int | str], positions: Mapping[str, int], count: int) -> list[int]:
    found = [parse_index(image) if parse_index(image) is not None else positions.get(str(image)) for image in images]
    return [row for row in found if row is not None and row < count]


def _read_copies(session: Session, blobs: Blobs, row: DatasetRow) -> NDArray[np.int32] | None:
    if row.relations_status is not RelationsStatus.STORED:
        return None
    key = make_relations_key(row.id)
    try:
        content = read_file(session, blobs, key)
    except BlobMissing:
        return None  # the worker that makes the version will search again
    with guard_reading(key):
        copy_of = load_relations(io.BytesIO(content)).copy_of
    looks = read_unless_lost([], lambda: read_looks(session, blobs, row))
    return copy_of if looks is None else join_copies(copy_of, looks.copies)
