"""Reads an array's file: its header, which may be untrusted, and its rows, never as a whole."""

import math
import tokenize
from collections.abc import Iterator
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

BLOCK_BYTES = 1024 * 1024


class NpyRows:
    """The rows of an array in one of our `.npy` files, from the file's position.

    shape, dtype: those of the whole array. row_bytes: of one row.
    """

    def __init__(self, file: IO[bytes]) -> None:
        """Raises ValueError if the file is not an array, or is one in Fortran order or of Python objects."""
        self._file = file
        self.shape, is_fortran, self.dtype = read_npy_header(file)
        if is_fortran or self.dtype.hasobject or not self.shape:
            raise ValueError("Received an array without rows; expected one in C order without objects.")
        self.row_bytes = self.dtype.itemsize * math.prod(self.shape[1:])

    def __len__(self) -> int:
        return self.shape[0]

    def one(self, index: int) -> NDArray[Any]:
        """Return one row. The file must be seekable, and must not have been read past this row."""
        self._file.seek(index * self.row_bytes, 1)
        row: NDArray[Any] = self._parse_rows(self._file.read(self.row_bytes))[0]
        return row

    def blocks(self, rows: int) -> Iterator[NDArray[Any]]:
        """Yield all rows, this many at a time."""
        for first in range(0, len(self), rows):
            yield self._parse_rows(self._file.read(min(rows, len(self) - first) * self.row_bytes))

    def _parse_rows(self, data: bytes) -> NDArray[Any]:
        return np.frombuffer(data, self.dtype).reshape(-1, *self.shape[1:])


_MAX_CHARACTERS = 10_000  # numpy's own limit for untrusted headers
# Errors of numpy's header parser, which is Python's own, on broken headers.
_FAULTS = (
    ValueError,
    KeyError,
    TypeError,
    SyntaxError,
    AttributeError,
    RecursionError,
    MemoryError,
    EOFError,
    tokenize.TokenError,
)
_READERS = {
    (1, 0): npy.read_array_header_1_0,
    (2, 0): npy.read_array_header_2_0,
    (3, 0): npy.read_array_header_2_0,
}


def read_npy_header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Return shape, whether it is stored column by column, and type; the file is then at the start of the data.

    Raises:
        ValueError: if it cannot be read.
    """
    try:
        found: tuple[tuple[int, ...], bool, np.dtype[Any]] = _READERS[npy.read_magic(file)](
            file, max_header_size=_MAX_CHARACTERS
        )
    except _FAULTS:
        # The parser's own message names Python objects.
        raise ValueError("the header cannot be read") from None
    return found
