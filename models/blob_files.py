"""Opens blobs as seekable files without fetching them completely, and reports damaged ones."""

import io
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO, cast

from heldout.errors import HeldoutError, StorageUnavailable
from models.blobs import BlobMissing, Blobs
from models.digests import FileDigest, make_damaged_error

BUFFER_BYTES = 256 * 1024


class BlobFile(io.RawIOBase):
    """A blob as a file. Reads raise StorageUnavailable, even if the blob is gone.

    If the digests of its blocks are known, whole blocks are read, and a read raises DatasetDamaged if a block differs
    from what was stored.
    """

    def __init__(self, blobs: Blobs, key: str, expected: FileDigest | None = None) -> None:
        """Raises BlobMissing, or DatasetDamaged if the blob's size has changed."""
        self._blobs, self._key = blobs, key
        self._size = blobs.size(key)
        self._at = 0
        self._expected = None if expected is None or expected.blocks is None else expected
        self._block: tuple[int, bytes] | None = None  # the number and content of the last block read
        if expected is not None and expected.size_bytes not in {None, self._size}:
            raise make_damaged_error(key, f"It has {self._size:,} bytes; expected {expected.size_bytes:,}.")

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
        if self._expected is None:
            found = self._read_range(self._at, end)
        else:
            number, within = divmod(self._at, self._expected.block_bytes)
            found = self._read_checked_block(self._expected, number)[within : within + len(buffer)]
        buffer[: len(found)] = found
        self._at += len(found)
        return len(found)

    def _read_checked_block(self, expected: FileDigest, number: int) -> bytes:
        if self._block is None or self._block[0] != number:
            first = number * expected.block_bytes
            end = min(self._size, first + expected.block_bytes)
            found = self._read_range(first, end)
            if not expected.is_block(number, found):
                raise make_damaged_error(
                    self._key, f"The SHA-256 of its bytes {first:,} to {end:,} differs from the stored one."
                )
            self._block = number, found
        return self._block[1]

    def _read_range(self, first: int, end: int) -> bytes:
        try:
            return self._blobs.read_range(self._key, first, end)
        except BlobMissing as error:
            raise StorageUnavailable from error


@contextmanager
def guard_reading(key: str) -> Iterator[None]:
    """Raise DatasetDamaged or ArtifactDamaged for any error while a stored file is parsed.

    Files of earlier releases have no digest, so damage shows only when they are parsed.
    """
    try:
        yield
    except (HeldoutError, BlobMissing):
        raise
    except Exception as error:
        raise make_damaged_error(key) from error


@contextmanager
def open_blob(
    blobs: Blobs, key: str, buffer_bytes: int = BUFFER_BYTES, expected: FileDigest | None = None
) -> Iterator[BinaryIO]:
    """Open the blob as a buffered file. Raises BlobMissing. Reads raise the same errors as `BlobFile`."""
    with io.BufferedReader(BlobFile(blobs, key, expected), buffer_bytes) as file:
        yield cast(BinaryIO, file)


@contextmanager
def open_zipped(blobs: Blobs, key: str, expected: FileDigest | None = None) -> Iterator[zipfile.ZipFile]:
    """Open a zip or `.npz` in the blob store. Raises BlobMissing, or ArtifactDamaged if its digest is wrong."""
    blobs.require_whole(key, expected)
    with open_blob(blobs, key) as file:
        with guard_reading(key):
            archive = zipfile.ZipFile(file)
        with archive:
            yield archive
