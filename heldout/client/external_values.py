"""Converts values of other libraries to JSON: Keras' histories, pandas' frames, numpy's arrays.

It imports none of these libraries to recognize a value: a program that has such a value has imported its library.
"""

import io
from collections.abc import Mapping, Sequence
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray

# A larger file is compressed, because the service might refuse it for its size.
MAX_PLAIN_BYTES = 48 * 1024**2


def simplify_history(history: Any) -> Any:
    """Convert a history to lists, dictionaries, numbers and text.

    Args:
        history: Keras' `History`, a pandas frame with a row for each epoch, or curves in any plain form.
    """
    if not isinstance(history, Mapping) and isinstance(getattr(history, "history", None), Mapping):
        history = history.history
    if hasattr(history, "to_dict") and hasattr(history, "columns"):
        history = history.to_dict(orient="list")
    return _simplify(history)


def to_array(values: Any) -> "NDArray[Any]":
    """Convert a list, an array, or a tensor of PyTorch, JAX or TensorFlow, which may be on a GPU, to a numpy array."""
    import numpy as np

    if hasattr(values, "detach"):  # a tensor of PyTorch
        values = values.detach().cpu()
        values = values.float() if str(values.dtype).endswith("bfloat16") else values
    if hasattr(values, "numpy"):
        values = values.numpy()
    array = np.asarray(values)
    if array.dtype.kind == "V":  # JAX's and TensorFlow's bfloat16, which numpy does not know
        return array.astype(np.float32)
    return array.astype(str) if array.dtype.kind == "O" else array


def has_arrays(predictions: Mapping[str, Any]) -> bool:
    """Tell whether any value in `{split: {what: values}}` is an array."""
    parts = [part for part in predictions.values() if isinstance(part, Mapping)]
    return any(
        hasattr(values, "dtype") for part in parts for values in [*part.values(), *part.get("columns", {}).values()]
    )


def pack_predictions(predictions: Path | str | Mapping[str, Any]) -> tuple[str, bytes]:
    """Return the name and content of a file of predictions. Raises OSError."""
    if isinstance(predictions, Mapping):
        return "predictions.npz", pack_npz(predictions)
    return Path(predictions).name, Path(predictions).read_bytes()


def pack_npz(predictions: Mapping[str, Any]) -> bytes:
    """Write `{split: {what: array or tensor}}` as an `.npz` with arrays such as `test_labels`.

    `columns` is a mapping of its own: `{"columns": {"camera": …}}` becomes `test_column_camera`.
    """
    import numpy as np

    arrays = {
        f"{split}_{what}": to_array(values)
        for split, part in predictions.items()
        for what, values in [
            *((what, values) for what, values in part.items() if what != "columns"),
            *((f"column_{name}", _blank(values)) for name, values in part.get("columns", {}).items()),
        ]
    }
    file = io.BytesIO()
    # The service limits how far a compressed file may expand; a plain one has no such limit.
    save = np.savez if sum(array.nbytes for array in arrays.values()) <= MAX_PLAIN_BYTES else np.savez_compressed
    save(file, allow_pickle=False, **arrays)
    return file.getvalue()


def _blank(values: Any) -> Any:
    """Return the values of a list with empty texts for None, which an array of texts cannot hold."""
    return ["" if value is None else value for value in values] if isinstance(values, list | tuple) else values


def _simplify(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _simplify(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_simplify(item) for item in value]
    if hasattr(value, "tolist"):  # numpy's arrays and numbers, pandas' series, and tensors of several libraries
        return _simplify(value.tolist())
    if hasattr(value, "numpy"):
        return _simplify(value.numpy())
    if isinstance(value, float) and not isfinite(value):
        return None  # JSON has no such numbers; the service reads null as one
    return value


def list_image_files(images: Any) -> list[tuple[str, bytes]]:
    """List names and contents of the files. Images without a name of their own get a general one."""
    if isinstance(images, str | Path | bytes) or hasattr(images, "__array__"):
        return [_read_image(images)]
    if isinstance(images, Sequence):
        return [_read_image(image) for image in images]
    raise TypeError(f"Received {type(images).__name__}; expected a path, bytes, an array, or a sequence of these.")


def _read_image(image: Any) -> tuple[str, bytes]:
    if isinstance(image, bytes):
        return ("image", image)
    if hasattr(image, "__array__"):
        import numpy as np

        written = io.BytesIO()
        np.save(written, np.ascontiguousarray(image), allow_pickle=False)
        return ("array.npy", written.getvalue())
    return (Path(image).name, Path(image).read_bytes())
