"""Whether images that are predicted are test images of the job's dataset, which the ledger then counts."""

import hashlib
import io
import threading
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.blob_files import open_blob
from models.blobs import BlobMissing, Blobs
from models.database import Database
from models.npy_rows import NpyRows
from models.store import label_reads

DIGEST_BYTES = 8
BUFFER_BYTES = 4 * 1024**2


class HeldOutImages:
    """The test images of one job's dataset. They are read when the first image is asked about, unless the weights' look
    at test is counted already: then nothing can be added, and nothing is read.
    """

    def __init__(self, database: Database, blobs: Blobs, job_id: str, epoch: int, dataset_sha256: str | None) -> None:
        """epoch: of the weights; dataset_sha256: None where the dataset is gone."""
        self._database = database
        self._blobs = blobs
        self._job_id = job_id
        self._epoch = epoch
        self._sha256 = dataset_sha256
        self._lock = threading.Lock()
        self._digests: frozenset[bytes] | None = None
        self.is_counted = dataset_sha256 is None

    def count(self, pixels: NDArray[Any]) -> None:
        """Note in the ledger that the weights met test images, if one of these is one.

        Args: pixels are (images, height, width, channels), of the dataset's own type.
        Raises: StorageUnavailable, DatabaseUnavailable.
        """
        if self.is_counted:
            return
        with self._lock:
            if self._digests is None:
                with self._database.read() as session:
                    self.is_counted = label_reads.is_counted_for_job(session, self._job_id, "test", self._epoch)
                if self.is_counted:
                    return
                self._digests = self._of_test_images()
        if any(_digest(image) in self._digests for image in pixels):
            with self._database.write() as session:
                label_reads.add_for_job(session, self._job_id, "test", self._epoch)
            self.is_counted = True

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
