"""The source of a derived version: a stored version with changed labels, pixels and images."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis.arrays.changed_labels import change_labels, rename_classes
from analysis.arrays.columns import Columns, read_columns
from analysis.arrays.dataset import FILES, SPLITS, ImageSet, load
from analysis.arrays.relations import find_superfluous_copies
from heldout.fixes.changes import ColumnValue, PixelChange, VersionChanges, parse_index
from heldout.lifecycle.resources import RejectionCode
from heldout.spec.dataset import DatasetSpec
from worker.ingest.audit import IngestedDataset
from worker.ingest.audit.copies import build_relations, find_copies
from worker.ingest.audit.scan import scan
from worker.ingest.images.pixels import Pixels, change_pixels
from worker.ingest.pool import ProcessPool
from worker.ingest.rejection import (
    MAX_LISTED_FILES,
    IngestLimits,
    Rejection,
    clean_name,
    list_some,
    make_bad_labels,
    make_no_images,
)
from worker.ingest.sources.arrays import RowNames, find_usual_range
from worker.ingest.sources.base import LeftOut, StoredImages, UploadSource, check_classes
from worker.ingest.splits import NO_SPLIT


@dataclass(frozen=True)
class BaseVersion:
    """The version to change.

    names: (images,) the names of its images. is_named: whether the upload gave them, so that a group rule applies to
    them. different, copies: (pairs, 2) images that a user marked as different, and that features found to be copies.
    """

    called: str
    sha256: str
    size_bytes: int
    images: ImageSet
    names: Sequence[str]
    is_named: bool
    different: NDArray[np.int64]
    copies: NDArray[np.int64]
    columns: Columns = MappingProxyType({})

    def list_splits(self) -> NDArray[np.int8]:
        """Return (images,) positions in SPLITS."""
        splits = np.full(len(self.names), NO_SPLIT, np.int8)
        for code, split in enumerate(SPLITS):
            splits[self.images.splits[split]] = code
        return splits


def read_base(
    content: Path,
    names: Path | None,
    called: str,
    sha256: str,
    different: Sequence[Sequence[int]] = (),
    copies: Sequence[Sequence[int]] = (),
    columns: Path | None = None,
) -> BaseVersion:
    """Return a stored version.

    Args:
        content: the folder of its files, in the internal format.
        names: a file with the name of each image, one per line. Images without names are called `digits[0]` and so on.
        called, sha256: its `name@version` and content address.
        different, copies: pairs of its images that a user marked as different, and that features found to be copies.
        columns: a file with further values of its images.
    """
    known = {} if columns is None else read_columns(columns)
    images = load(content)
    count = len(images.labels)
    listed = [] if names is None else names.read_text(encoding="utf-8").split("\n")[:-1]
    is_named = len(listed) == count
    shown = listed if is_named else RowNames([(called.partition("@")[0], count)])
    size_bytes = sum((content / name).stat().st_size for name in FILES)
    marked, found = (np.array(pairs, np.int64).reshape(-1, 2) for pairs in (different, copies))
    return BaseVersion(called, sha256, size_bytes, images, shown, is_named, marked, found, known)


class DerivedSource(UploadSource):
    """The remaining images of a version, with their new labels and pixels.

    Raises:
        Rejection: the changes name an unknown image, or leave a split empty or fewer than two classes.
    """

    kind = "a version that was stored"

    def __init__(self, base: BaseVersion, changes: VersionChanges, limits: IngestLimits) -> None:
        self._base, self._changes = base, changes
        images, count = base.images, len(base.names)
        splits = base.list_splits()
        excluded = np.unique(np.array(find_rows(changes.exclude, base.names), np.int64))
        relabel = map_rows_to_labels(changes.relabel, base.names)
        labels = change_labels(changes, images.labels, splits, images.classes, relabel)
        self._relabelled = int((labels != images.labels).sum())
        classes, position = rename_classes(images.classes, changes.get_for_all_splits())
        labels = position[labels]
        self._rows = np.setdiff1d(np.arange(count), excluded)
        had, has = (
            np.bincount(each, minlength=len(classes)) > 0 for each in (position[images.labels], labels[self._rows])
        )
        # A class without images is dropped, as in an upload.
        gone = np.flatnonzero(had & ~has)
        self._gone = [classes[label] for label in gone.tolist()]
        left = [label for label in range(len(classes)) if label not in set(gone.tolist())]
        self.classes = check_classes([classes[label] for label in left], limits)
        renumbered = np.full(len(classes), -1, np.int32)
        renumbered[left] = np.arange(len(left), dtype=np.int32)
        self.labels: NDArray[np.int32] = renumbered[labels[self._rows]]
        self.given_splits: NDArray[np.int8] = splits[self._rows]
        self.names = [base.names[row] for row in self._rows.tolist()]
        columns = change_columns(base.columns, changes.columns, base.names)
        self.columns = {name: [values[row] for row in self._rows.tolist()] for name, values in columns.items()}
        self._columns = list(changes.columns)
        named = [base.names[row] for row in excluded.tolist()]
        self.left_out = [LeftOut("images that were named", named)] if named else []
        self._require_splits(self.given_splits)

    def _require_splits(self, given_splits: NDArray[np.int8]) -> None:
        """Raise Rejection if a split would be empty and images are not split again."""
        for code, split in enumerate(SPLITS):
            if not self._changes.resplit and not (given_splits == code).any():
                raise Rejection(
                    RejectionCode.TOO_FEW_IMAGES,
                    f"No {split} image would be left. Leave out fewer, or split the images again (`resplit`).",
                )

    def store(self, path: Path, spec: DatasetSpec, limits: IngestLimits, pool: ProcessPool) -> StoredImages:
        """Write the changed pixels. Then find copies among them if these are to be left out."""
        images = self._base.images
        pixels = Pixels.create(path, (len(self._rows), *images.shape), images.images.dtype)
        changes = self._changes.pixel_values.group_by_split() if self._changes.pixel_values else {}
        for first in range(0, len(self._rows), pixels.rows_in_block):
            rows = self._rows[first : first + pixels.rows_in_block]
            block = np.array(images.images[rows])
            for split, change in changes.items():
                chosen = self.given_splits[first : first + len(rows)] == SPLITS.index(split)
                block[chosen] = change_pixels(block[chosen], change, images.value_range)
            pixels.write_images(first, block)
        value_range = _choose_range(pixels, images.value_range) if changes else images.value_range
        copies = conflicting = np.empty(0, np.int64)
        if self._changes.drop_copies:
            copies, conflicting = self._find_copies(pixels, value_range, pool)
        dropped = np.sort(np.concatenate([copies, conflicting]))
        if len(dropped) == len(self._rows):
            raise make_no_images("No image would be left. Leave out fewer.")
        self._require_splits(np.delete(self.given_splits, dropped))
        return StoredImages(
            pixels.without(dropped) if len(dropped) else pixels,
            value_range,
            Counter({f"stored {pixels.dtype}": len(self._rows) - len(dropped)}),
            skipped=dropped.tolist(),
            derived=self._describe_done(len(copies), len(conflicting), changes),
            different=keep_pairs(self._base.different, np.delete(self._rows, dropped)),
            copies=keep_pairs(self._base.copies, np.delete(self._rows, dropped)),
        )

    def _find_copies(
        self, pixels: Pixels, value_range: tuple[float, float], pool: ProcessPool
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Search the changed pixels: inverted images were not copies before."""
        splits = {split: np.flatnonzero(self.given_splits == code) for code, split in enumerate(SPLITS)}
        different, known = (keep_pairs(pairs, self._rows) for pairs in (self._base.different, self._base.copies))
        dataset = IngestedDataset(
            pixels, self.labels, splits, self.classes, self.names, value_range, different=different, copies=known
        )
        copies = find_copies(dataset, scan(dataset, pool), pool)
        return find_superfluous_copies(build_relations(copies, None).copy_of, self.labels, dataset.split_of)

    def _describe_done(self, copies: int, conflicting: int, changes: dict[Any, PixelChange]) -> dict[str, Any]:
        """Describe and count the changes."""
        excluded = len(self._base.names) - len(self._rows)
        changed = {split: int((self.given_splits == SPLITS.index(split)).sum()) for split in changes}
        merged = len(self._base.images.classes) - len(self._gone) - len(self.classes)
        renamed = sum(old != new for old, new in self._changes.get_for_all_splits().items())
        counted = [
            (len(self._columns), "column added or changed", "columns added or changed"),
            (excluded, "image that was named left out", "images that were named left out"),
            (self._relabelled, "label changed", "labels changed"),
            (renamed, "class renamed", "classes renamed"),
            (merged, "class merged into another", "classes merged into others"),
            (len(self._gone), "class gone with its last image", "classes gone with their last images"),
            *((count, f"{split} image changed", f"{split} images changed") for split, count in changed.items()),
            (copies, "copy left out", "copies left out"),
            (conflicting, "copy with contradicting labels left out", "copies with contradicting labels left out"),
        ]
        words = [f"{count:,} {singular if count == 1 else many}" for count, singular, many in counted if count]
        return {
            "from": self._base.called,
            "summary": "; ".join([*words, *(["all images split again"] if self._changes.resplit else [])]),
            "columns": self._columns,
            "excluded": excluded,
            "relabelled": self._relabelled,
            "renamed_classes": renamed,
            "merged_classes": merged,
            "gone_classes": self._gone,
            "changed_pixels": changed,
            "copies_left_out": copies,
            "contradicting_left_out": conflicting,
            "resplit": bool(self._changes.resplit),
        }


def _choose_range(pixels: Pixels, before: tuple[float, float]) -> tuple[float, float]:
    """Return the range of changed pixels. Integers keep their range; floats get the default range of an upload."""
    if pixels.dtype == np.uint8:
        return before
    extremes = [(float(block.min()), float(block.max())) for block in pixels.blocks()]
    lowest, highest = min(low for low, _ in extremes), max(high for _, high in extremes)
    return find_usual_range(lowest, highest) or before


def find_rows(images: Sequence[int | str], names: Sequence[str]) -> list[int]:
    """Return the positions of images, which are given by position or file name.

    Raises:
        Rejection: `unknown_image`, with all unknown images.
    """
    by_name = (
        {name: row for row, name in enumerate(names)} if any(parse_index(image) is None for image in images) else {}
    )
    rows, unknown = [], []
    for image in images:
        index = parse_index(image)
        row = by_name.get(str(image)) if index is None else index
        if row is None or row >= len(names):
            unknown.append(str(image))
        else:
            rows.append(row)
    if unknown:
        listed = list_some([repr(clean_name(name)) for name in unknown], MAX_LISTED_FILES)
        known = repr(clean_name(names[0]))
        raise Rejection(
            RejectionCode.UNKNOWN_IMAGE,
            f"The version that is changed has no image called {listed}. Images are called as in the upload, such "
            f"as {known}, or by their position.",
            unknown[0],
        )
    return rows


def map_rows_to_labels(relabel: Mapping[str, str], names: Sequence[str]) -> dict[int, str]:
    """Return the new class of images, by position.

    Raises:
        Rejection: `unknown_image`; `bad_labels` if an image is given two classes.
    """
    found: dict[int, str] = {}
    for row, label in zip(find_rows(list(relabel), names), relabel.values(), strict=True):
        if found.setdefault(row, label) != label:
            raise make_bad_labels(
                f"Image {row} ({clean_name(names[row])!r}) is given two classes, {found[row]!r} and {label!r}. Name it "
                "once.",
                names[row],
            )
    return found


def change_columns(
    columns: Columns,
    changed: Mapping[str, Mapping[str, ColumnValue]],
    names: Sequence[str],
) -> dict[str, list[str | None]]:
    """Return the columns with new ones and changed values, as text. Raises Rejection, as `find_rows` does."""
    found = {name: list(values) for name, values in columns.items()}
    for name, values in changed.items():
        column = found.setdefault(name, [None] * len(names))
        for row, value in zip(find_rows(list(values), names), values.values(), strict=True):
            column[row] = None if value is None or value == "" else str(value)
    # As in a table: a column without values is none.
    return {name: values for name, values in found.items() if any(value is not None for value in values)}


def keep_pairs(pairs: NDArray[np.int64], rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the (pairs, 2) whose images stay, as positions in the ascending `rows`."""
    places = np.searchsorted(rows, pairs).clip(max=len(rows) - 1)
    return places[(rows[places] == pairs).all(axis=1)]
