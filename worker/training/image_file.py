"""Reads rows of a dataset's image file without mapping it.

Mapped pages would count as the process's memory until the kernel reclaims them.
"""

import os
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

# The alignment with which TensorFlow uses an array without a copy.
ALIGNMENT_BYTES = 64


class MappedImageFile:
    """Reads rows of a mapped array from the file that it maps. Threads may share it; it is closed with the process."""

    def __init__(self, images: "np.memmap[Any, Any]") -> None:
        self._file = os.open(Path(str(images.filename)), os.O_RDONLY | os.O_CLOEXEC)
        self._first = images.offset
        self.image, self.dtype = images.shape[1:], images.dtype

    def read(self, rows: NDArray[Any], into: NDArray[Any] | None = None) -> NDArray[Any]:
        """Read the images in `rows`, in that order; adjacent rows, as in most splits, are read together.

        Args:
            into: (len(rows), *image), the target array.
        Raises:
            OSError: if the file ends before one of them does.
        """
        images = np.empty((len(rows), *self.image), self.dtype) if into is None else into
        size = images[:1].nbytes
        runs = [*np.flatnonzero(np.diff(rows, prepend=-2) != 1).tolist(), len(rows)]
        for begin, end in pairwise(runs):
            self._fill(memoryview(images[begin:end]).cast("B"), int(rows[begin]), size)
        return images

    def _fill(self, view: memoryview, row: int, size: int) -> None:
        place, count = self._first + row * size, 0
        while count < len(view):  # one call reads at most 2 GiB
            came = os.preadv(self._file, [view[count:]], place + count)
            if not came:
                raise OSError(f"Image {row + count // size} of the dataset is cut short.")
            count += came

    def close(self) -> None:
        os.close(self._file)


def make_aligned(shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return an empty array that TensorFlow uses without a copy."""
    size = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    room = np.empty(size + ALIGNMENT_BYTES, np.uint8)
    begin = -room.ctypes.data % ALIGNMENT_BYTES
    return room[begin : begin + size].view(dtype).reshape(shape)


def is_aligned(array: NDArray[Any]) -> bool:
    """Return whether TensorFlow uses the array without a copy."""
    return array.flags.c_contiguous and array.flags.writeable and array.ctypes.data % ALIGNMENT_BYTES == 0
