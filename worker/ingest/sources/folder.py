"""Image files in the folders of a zip or tar."""

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from heldout.lifecycle.dataset import RejectionCode
from heldout.spec.dataset import DatasetSpec
from worker.ingest.archives.members import Archive, read_member
from worker.ingest.images.batches import Batch, Target, batches_of
from worker.ingest.images.formats import HEAD_BYTES
from worker.ingest.limits import Limits
from worker.ingest.pool import ProcessPool
from worker.ingest.rejection import Rejection, amount, printable
from worker.ingest.sources.base import Progress, StoredImages, store_files
from worker.ingest.sources.layout import folder_layout


class FolderSource:
    """An archive of `class/file` or `split/class/file`."""

    def __init__(self, archive: Archive, spec: DatasetSpec, limits: Limits) -> None:
        layout = folder_layout(
            archive.names,
            limits,
            spec.splits.folders,
            lambda row: archive.head(row, HEAD_BYTES),
            archive.folders,
            [*archive.faults, *_too_large(archive, limits)],
            skip_broken=spec.skip_broken,
        )
        self._archive = archive.only(layout.rows)
        self.kind = f"image folder in {archive.kind}"
        self.names = self._archive.names
        self.labels, self.given_splits, self.classes = layout.labels, layout.given_splits, layout.classes
        self.passed_over, self.left_out, self.faults = layout.ignored, layout.left_out, layout.faults
        self.notes = layout.notes

    def files(self) -> Iterator[bytes | Rejection]:
        file = os.open(self._archive.path, os.O_RDONLY)
        try:
            for name, entry in zip(self.names, self._archive.table, strict=True):
                try:
                    data: bytes | Rejection = read_member(file, entry.item(), name)
                except Rejection as damage:
                    data = damage
                yield data
        finally:
            os.close(file)

    def batches(self, target: Target) -> Iterator[Batch]:
        return batches_of(self._archive, target)

    def store(
        self, path: Path, spec: DatasetSpec, limits: Limits, pool: ProcessPool, progress: Progress
    ) -> StoredImages:
        return store_files(self, path, spec, limits, pool, progress)


def _too_large(archive: Archive, limits: Limits) -> Iterator[Rejection]:
    for row in np.flatnonzero(archive.table["size"] > limits.member_bytes).tolist():
        name = archive.names[row]
        yield Rejection(
            RejectionCode.MEMBER_TOO_LARGE,
            f"{printable(name)!r} has {amount(int(archive.table['size'][row]))}; an image file may have "
            f"{amount(limits.member_bytes)}. Save it smaller.",
            name,
        )
