"""A stored version followed by the images of an upload: the source of a version with more images."""

from collections import Counter
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from heldout.lifecycle.resources import RejectionCode
from heldout.spec.dataset import DatasetSpec, ResizeSpec
from worker.ingest.images.pixels import Pixels
from worker.ingest.limits import IngestLimits
from worker.ingest.pool import ProcessPool
from worker.ingest.rejection import Rejection
from worker.ingest.sources.base import Progress, StoredImages, UploadSource, check_shape
from worker.ingest.sources.layout import check_classes
from worker.ingest.sources.stored import BaseVersion


class AddedSource:
    """The images of a version as they are, then those of an upload.

    The version's splits stay. An uploaded image is in the split that the upload says, and in train where it says none,
    so that held-out images stay what they were. New classes come after the version's.

    Raises:
        Rejection: `too_many_classes`, `bad_labels`.
    """

    def __init__(self, base: BaseVersion, upload: UploadSource, limits: IngestLimits) -> None:
        self._base, self._upload = base, upload
        self.kind = f"{base.called} with {upload.kind} added"
        known = base.images.classes
        self.classes = check_classes([*known, *(name for name in upload.classes if name not in known)], limits)
        label_of = np.array([self.classes.index(name) for name in upload.classes], np.int32)
        self.labels: NDArray[np.int32] = np.concatenate([base.images.labels, label_of[upload.labels]])
        self.given_splits: NDArray[np.int8] = np.concatenate([base.list_splits(), upload.given_splits])
        self.names = [*base.names, *upload.names]
        self.passed_over, self.left_out = upload.passed_over, upload.left_out
        self.notes = [*upload.notes, f"The first {len(base.names):,} images are those of {base.called}."]

    def store(
        self, path: Path, spec: DatasetSpec, limits: IngestLimits, pool: ProcessPool, progress: Progress
    ) -> StoredImages:
        """Decode the upload to the size and the channels of the version, and write its pixels after the version's.

        Raises:
            Rejection: also if the upload cannot have them.
        """
        images, count = self._base.images, len(self._base.names)
        height, width, channels = images.shape
        rule = "pad" if spec.resize is None else spec.resize.rule
        alike = spec.model_copy(
            update={
                "resize": ResizeSpec(height=height, width=width, rule=rule),
                "colour": {1: "grey", 3: "rgb"}.get(channels, "auto"),
            }
        )
        added = self._upload.store(path.with_suffix(".added"), alike, limits, pool, lambda done: progress(count + done))
        self._require_alike(added)
        shape = (count + added.pixels.count, height, width, channels)
        pixels = Pixels.create(
            path, check_shape(shape, images.images.dtype.itemsize, limits, self._base.called), images.images.dtype
        )
        for first in range(0, count, pixels.rows_in_block):
            _write(pixels, first, images.images[first : first + pixels.rows_in_block])
        for first in range(0, added.pixels.count, pixels.rows_in_block):
            rows = min(pixels.rows_in_block, added.pixels.count - first)
            _write(pixels, count + first, added.pixels.read(first, rows))
        added.pixels.path.unlink()
        return StoredImages(
            pixels,
            images.value_range,
            added.encodings + Counter({f"stored {pixels.dtype}": count}),
            skipped=[count + row for row in added.skipped],
            faults=added.faults,
            notes=added.notes,
            different=self._base.different,
        )

    def _require_alike(self, added: StoredImages) -> None:
        images = self._base.images
        before = (images.shape, images.images.dtype, tuple(images.value_range))
        after = (added.pixels.shape[1:], added.pixels.dtype, tuple(added.value_range))
        if before == after:
            return
        said = [
            f"{'×'.join(map(str, shape))} ({dtype}, {low:g} to {high:g})"
            for shape, dtype, (low, high) in (after, before)
        ]
        raise Rejection(
            RejectionCode.MIXED_SIZES,
            f"The uploaded images are {said[0]}, those of {self._base.called} are {said[1]}. Save them alike, or "
            "upload all images together as a dataset of their own.",
        )


def _write(pixels: Pixels, first: int, block: NDArray[np.generic]) -> None:
    pixels.write(first, np.ascontiguousarray(block).reshape(-1).view(np.uint8).data)
