"""Arrays inside an .npz."""

from collections.abc import Iterator
from io import BytesIO
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis.arrays.npy_rows import read_npy_header
from heldout.lifecycle.resources import RejectionCode
from worker.ingest.archives.members import Archive
from worker.ingest.rejection import MIB, Rejection, clean_name, make_bad_array

BLOCK_BYTES = 4 * MIB


class StoredArray:
    """One array of an .npz, with its key, shape and type. It is read in blocks and never unpickled.

    Raises:
        Rejection: `pickle_refused`, `bad_array`, `archive_damaged`.
    """

    def __init__(self, archive: Archive, row: int) -> None:
        self._archive, self._row = archive, row
        self.key = archive.names[row].removesuffix(".npy")
        file = BytesIO(next(archive.stream(row), b""))
        try:
            self.shape, is_fortran, self.dtype = read_npy_header(file)
        except ValueError:
            raise self._make_bad("has a header that cannot be read", "Save it with numpy.savez.") from None
        self._start = file.tell()  # of its data
        if self.dtype.hasobject:
            raise Rejection(
                RejectionCode.PICKLE_REFUSED,
                f"The array {clean_name(self.key)!r} holds Python objects, which are never unpickled. Save it as "
                "numbers: numpy.stack images of one size, and give labels an integer or string type.",
                self.key,
            )
        if self.dtype.itemsize == 0 or any(side < 0 for side in self.shape):
            raise self._make_bad(f"has the type {self.dtype} and the shape {self.shape}", "Save it with numpy.savez.")
        has, declared = int(archive.table["size"][row]) - self._start, prod(self.shape) * self.dtype.itemsize
        if declared != has:
            raise self._make_bad(
                f"declares {declared:,} bytes of data (shape {clean_name(str(self.shape), 80)}, {self.dtype}) and has "
                f"{max(0, has):,}",
                "Save it with numpy.savez.",
            )
        if is_fortran and len(self.shape) > 1 and 0 not in self.shape:
            raise self._make_bad("is stored column by column", f"Save numpy.ascontiguousarray({clean_name(self.key)}).")

    def blocks(self) -> Iterator[NDArray[Any]]:
        """Yield pieces of some megabytes along the first axis. Raises Rejection."""
        row_bytes = prod(self.shape[1:]) * self.dtype.itemsize
        if not row_bytes:
            return
        rows = max(1, BLOCK_BYTES // row_bytes)
        waiting = bytearray()
        skip = self._start
        for piece in self._archive.stream(self._row):
            waiting += piece[skip:] if skip < len(piece) else b""
            skip = max(0, skip - len(piece))
            while len(waiting) >= rows * row_bytes:
                yield self._parse_array(bytes(waiting[: rows * row_bytes]))
                del waiting[: rows * row_bytes]
        if waiting:
            yield self._parse_array(bytes(waiting))

    def read(self) -> NDArray[Any]:
        """Read the whole array, for labels. Raises Rejection."""
        blocks = list(self.blocks())
        return np.concatenate(blocks) if blocks else np.empty(self.shape, self.dtype)

    def _parse_array(self, data: bytes) -> NDArray[Any]:
        return np.frombuffer(data, self.dtype).reshape(-1, *self.shape[1:])

    def _make_bad(self, what: str, to_do: str) -> Rejection:
        return make_bad_array(f"The array {clean_name(self.key)!r} {what}. {to_do}", self.key)
