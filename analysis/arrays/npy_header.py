"""Reads the header of an array in an untrusted `.npy` or `.npz`: shape and type, never unpickled."""

import tokenize
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy

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
