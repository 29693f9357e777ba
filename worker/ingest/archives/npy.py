"""Arrays inside an .npz, read in blocks and never unpickled."""

from collections.abc import Iterator
from dataclasses import dataclass
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


@dataclass(frozen=True)
class StoredArray:
    """One array of an .npz: its key, shape and type, and how many bytes come before its data."""

    archive: Archive
    row: int
    key: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    start: int

    def blocks(self) -> Iterator[NDArray[Any]]:
        """The array in pieces along its first axis, of some megabytes. Raises Rejection."""
        row_bytes = prod(self.shape[1:]) * self.dtype.itemsize
        if not row_bytes:
            return
        rows = max(1, BLOCK_BYTES // row_bytes)
        waiting = bytearray()
        skip = self.start
        for piece in self.archive.stream(self.row):
            waiting += piece[skip:] if skip < len(piece) else b""
            skip = max(0, skip - len(piece))
            while len(waiting) >= rows * row_bytes:
                yield self._parse_array(bytes(waiting[: rows * row_bytes]))
                del waiting[: rows * row_bytes]
        if waiting:
            yield self._parse_array(bytes(waiting))

    def read(self) -> NDArray[Any]:
        """The whole array; for labels. Raises Rejection."""
        blocks = list(self.blocks())
        return np.concatenate(blocks) if blocks else np.empty(self.shape, self.dtype)

    def _parse_array(self, data: bytes) -> NDArray[Any]:
        return np.frombuffer(data, self.dtype).reshape(-1, *self.shape[1:])


def read_stored_array(archive: Archive, row: int) -> StoredArray:
    """Read the header of one array, and check it against the member's size.

    Raises:
        Rejection: `pickle_refused`, `bad_array`, `archive_damaged`.
    """
    name = archive.names[row]
    key = name.removesuffix(".npy")
    head = next(archive.stream(row), b"")
    file = BytesIO(head)
    try:
        shape, is_fortran, dtype = read_npy_header(file)
    except ValueError:
        raise _make_bad(key, "has a header that cannot be read", "Save it with numpy.savez.") from None
    if dtype.hasobject:
        raise Rejection(
            RejectionCode.PICKLE_REFUSED,
            f"The array {clean_name(key)!r} holds Python objects, which are never unpickled. Save it as numbers: "
            "numpy.stack images of one size, and give labels an integer or string type.",
            key,
        )
    if dtype.itemsize == 0 or any(side < 0 for side in shape):
        raise _make_bad(key, f"has the type {dtype} and the shape {shape}", "Save it with numpy.savez.")
    size = int(archive.table["size"][row])
    declared = prod(shape) * dtype.itemsize
    if file.tell() + declared != size:
        raise _make_bad(
            key,
            f"declares {declared:,} bytes of data (shape {clean_name(str(shape), 80)}, {dtype}) and has "
            f"{max(0, size - file.tell()):,}",
            "Save it with numpy.savez.",
        )
    if is_fortran and len(shape) > 1 and 0 not in shape:
        raise _make_bad(key, "is stored column by column", f"Save numpy.ascontiguousarray({clean_name(key)}).")
    return StoredArray(archive, row, key, shape, dtype, file.tell())


def _make_bad(key: str, what: str, to_do: str) -> Rejection:
    return make_bad_array(f"The array {clean_name(key)!r} {what}. {to_do}", key)
