"""Checks whether predicted images are test images of the job's dataset. The ledger counts this as a look at test."""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Generator
from typing import Any

import numpy as np
import structlog
from numpy.typing import NDArray

from analysis.arrays.npy_rows import NpyRows
from heldout.errors import DatasetDamaged
from models.blob_files import guard_reading, open_blob
from models.blobs import BlobMissing, Blobs
from models.database import Database
from models.digests import FileDigest
from models.store import datasets, file_digests, label_reads
from models.stored_files import read_splits

log = structlog.get_logger()

DIGEST_BYTES = 8
SET_BYTES = 96  # memory per digest in a set
BUFFER_BYTES = 4 * 1024**2


class HeldOutImages:
    """The test images of one job's dataset, as digests.

    They are read at the first request, unless the ledger already counts a look at test for these weights. A deleted
    dataset has no test images any more, even if another version has the same ones.
    """

    def __init__(self, database: Database, blobs: Blobs, job_id: str, epoch: int, dataset_sha256: str | None) -> None:
        """epoch: the epoch of the weights. dataset_sha256: None if the dataset was deleted."""
        self._database = database
        self._blobs = blobs
        self._job_id = job_id
        self._epoch = epoch
        self._sha256 = dataset_sha256
        self._reading: asyncio.Future[None] | None = None
        self._digests: frozenset[bytes] | None = None
        self.is_counted = dataset_sha256 is None

    @property
    def size_bytes(self) -> int:
        """Approximate memory use."""
        return SET_BYTES * len(self._digests or ())

    async def be_ready(self, run: Callable[[Callable[[], Generator[None]]], Awaitable[None]]) -> None:
        """Read the test images if needed, once for all waiting requests.

        Args:
            run: calls a function, and runs the returned pieces of work in a thread.
        Raises: StorageUnavailable, DatabaseUnavailable.
        """
        if self.is_counted or self._digests is not None:
            return
        if self._reading is None or self._reading.done():
            self._reading = asyncio.ensure_future(run(self._read))
        await asyncio.shield(self._reading)

    def count(self, pixels: NDArray[Any]) -> None:
        """Record in the ledger that the weights saw test images, if any of these is one.

        Args:
            pixels: (images, height, width, channels), in the dataset's own type.
        Raises: DatabaseUnavailable.
        """
        if self.is_counted:
            return
        assert self._digests is not None, "be_ready comes first"
        if any(_compute_digest(image) in self._digests for image in pixels):
            with self._database.write() as session:
                label_reads.add_for_job(session, self._job_id, "test", self._epoch)
            self.is_counted = True

    def _read(self) -> Generator[None]:
        key = f"datasets/{self._sha256}/images.npy"
        try:
            with self._database.read() as session:
                self.is_counted = label_reads.is_counted_for_job(session, self._job_id, "test", self._epoch)
                if self.is_counted:
                    return
                test = read_splits(session, self._blobs, self._sha256 or "")["test"]
                expected = file_digests.find(session, key)
            self._digests = yield from self._read_images(set(test.tolist()), key, expected)
        except (BlobMissing, DatasetDamaged):
            self._count_unless_deleted()

    def _read_images(
        self, rows: set[int], key: str, expected: FileDigest | None
    ) -> Generator[None, None, frozenset[bytes]]:
        found, first = set[bytes](), 0
        with guard_reading(key), open_blob(self._blobs, key, BUFFER_BYTES, expected) as file:
            images = NpyRows(file)
            for block in images.blocks(max(1, BUFFER_BYTES // images.row_bytes)):
                found |= {_compute_digest(image) for row, image in enumerate(block, first) if row in rows}
                first += len(block)
                yield
        return frozenset(found)

    def _count_unless_deleted(self) -> None:
        """Count one look at test, because the images may be test images and this can no longer be checked."""
        with self._database.read() as session:
            is_deleted = not datasets.has_content(session, self._sha256 or "")
        if not is_deleted:
            log.warning("test_images_unreadable", job_id=self._job_id)
            with self._database.write() as session:
                label_reads.add_for_job(session, self._job_id, "test", self._epoch)
            self.is_counted = True
        self._digests = frozenset()


def _compute_digest(image: NDArray[Any]) -> bytes:
    return hashlib.blake2b(np.ascontiguousarray(image).data, digest_size=DIGEST_BYTES).digest()
