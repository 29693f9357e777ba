"""A blob as a file that can be read anywhere, without fetching all of it."""

import io
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO, cast

from heldout.errors import StorageUnavailable
from models.blobs import BlobMissing, Blobs

BUFFER_BYTES = 256 * 1024


class BlobFile(io.RawIOBase):
    """Raises StorageUnavailable from every read, also where the blob is gone."""

    def __init__(self, blobs: Blobs, key: str) -> None:
        """Raises BlobMissing."""
        self._blobs, self._key = blobs, key
        self._size = blobs.size(key)
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        return self._at

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]  # narrower than Buffer
        end = min(self._size, self._at + len(buffer))
        if self._at >= end:
            return 0
        try:
            found = self._blobs.read_range(self._key, self._at, end)
        except BlobMissing as error:
            raise StorageUnavailable from error
        buffer[: len(found)] = found
        self._at += len(found)
        return len(found)


@contextmanager
def open_blob(blobs: Blobs, key: str, buffer_bytes: int = BUFFER_BYTES) -> Iterator[BinaryIO]:
    """The blob as a buffered file. Raises BlobMissing at once, StorageUnavailable from its reads."""
    with io.BufferedReader(BlobFile(blobs, key), buffer_bytes) as file:
        yield cast(BinaryIO, file)


@contextmanager
def open_zipped(blobs: Blobs, key: str) -> Iterator[zipfile.ZipFile]:
    """A zip or `.npz` in the blob store. Raises BlobMissing, and StorageUnavailable also where the file is damaged."""
    with open_blob(blobs, key) as file:
        try:
            archive = zipfile.ZipFile(file)
        except zipfile.BadZipFile as error:
            raise StorageUnavailable from error
        with archive:
            yield archive
