"""Converts images from the forms that programs use to files for a request."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def list_files(images: Any) -> list[tuple[str, bytes]]:
    """List names and contents of the files. Images without a name of their own get a general one."""
    if isinstance(images, str | Path | bytes) or hasattr(images, "__array__"):
        return [_read_file(images)]
    if isinstance(images, Sequence):
        return [_read_file(image) for image in images]
    raise TypeError(f"Received {type(images).__name__}; expected a path, bytes, an array, or a sequence of these.")


def _read_file(image: Any) -> tuple[str, bytes]:
    if isinstance(image, bytes):
        return ("image", image)
    if hasattr(image, "__array__"):
        import numpy as np

        written = io.BytesIO()
        np.save(written, np.ascontiguousarray(image), allow_pickle=False)
        return ("array.npy", written.getvalue())
    return (Path(image).name, Path(image).read_bytes())
