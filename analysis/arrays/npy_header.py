"""The header of an array in an `.npy` or `.npz` from a stranger: its shape and type, never unpickled."""

import tokenize
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy

_MAX_CHARACTERS = 10_000  # numpy's own bound for headers from strangers
# What numpy's parser of headers, which is Python's own, makes of broken ones.
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
    """Shape, whether it is stored column by column, and type; the file is then where the data begin.

    Raises:
        ValueError: if it cannot be read.
    """
    try:
        found: tuple[tuple[int, ...], bool, np.dtype[Any]] = _READERS[npy.read_magic(file)](
            file, max_header_size=_MAX_CHARACTERS
        )
    except _FAULTS:
        # Not with the parser's own words, which name Python's objects.
        raise ValueError("the header cannot be read") from None
    return found
