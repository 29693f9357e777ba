"""Whether images that are predicted are test images of the job's dataset, which the ledger then counts."""

import asyncio
import hashlib
import io
from collections.abc import Awaitable, Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.blob_files import open_blob
from models.blobs import BlobMissing, Blobs
from models.database import Database
from models.npy_rows import NpyRows
from models.store import label_reads

DIGEST_BYTES = 8
SET_BYTES = 96  # of a digest in a set
BUFFER_BYTES = 4 * 1024**2


class HeldOutImages:
    """The test images of one job's dataset. They are read when the first image is asked about, unless the weights' look
    at test is counted already: then nothing can be added, and nothing is read.

    A dataset that was deleted has no test images any more, even where another version has the same ones.
    """

    def __init__(self, database: Database, blobs: Blobs, job_id: str, epoch: int, dataset_sha256: str | None) -> None:
        """epoch: of the weights; dataset_sha256: None where the dataset is gone."""
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
        """About what it takes of memory."""
        return SET_BYTES * len(self._digests or ())

    async def be_ready(self, run: Callable[[Callable[[], None]], Awaitable[None]]) -> None:
        """Read the test images where that is needed, once for all requests that wait for it.

        Args: run has a function called in a thread.
        Raises: StorageUnavailable, DatabaseUnavailable.
        """
        if self.is_counted or self._digests is not None:
            return
        if self._reading is None or self._reading.done():
            self._reading = asyncio.ensure_future(run(self._read))
        await asyncio.shield(self._reading)

    def count(self, pixels: NDArray[Any]) -> None:
        """Note in the ledger that the weights met test images, if one of these is one.

        Args: pixels are (images, height, width, channels), of the dataset's own type.
        Raises: DatabaseUnavailable.
        """
        if self.is_counted:
            return
        assert self._digests is not None, "be_ready comes first"
        if any(_digest(image) in self._digests for image in pixels):
            with self._database.write() as session:
                label_reads.add_for_job(session, self._job_id, "test", self._epoch)
            self.is_counted = True

    def _read(self) -> None:
        with self._database.read() as session:
            self.is_counted = label_reads.is_counted_for_job(session, self._job_id, "test", self._epoch)
        if not self.is_counted:
            self._digests = self._of_test_images()

    def _of_test_images(self) -> frozenset[bytes]:
        folder = f"datasets/{self._sha256}"
        found = set()
        try:
            with np.load(io.BytesIO(self._blobs.read(f"{folder}/splits.npz"))) as splits:
                rows = set(splits["test"].tolist())
            with open_blob(self._blobs, f"{folder}/images.npy", BUFFER_BYTES) as file:
                images, first = NpyRows(file), 0
                for block in images.blocks(max(1, BUFFER_BYTES // images.row_bytes)):
                    found |= {_digest(image) for row, image in enumerate(block, first) if row in rows}
                    first += len(block)
        except BlobMissing:
            pass  # the dataset was deleted meanwhile
        return frozenset(found)


def _digest(image: NDArray[Any]) -> bytes:
    return hashlib.blake2b(np.ascontiguousarray(image).data, digest_size=DIGEST_BYTES).digest()
