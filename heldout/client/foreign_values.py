"""What other libraries hold, as what JSON can carry: Keras' histories, pandas' frames, numpy's arrays.

None of them is imported to look at a value: whoever has such a value has imported it.
"""

import io
from collections.abc import Mapping
from math import isfinite
from typing import Any

# A larger file is packed, or it might be larger than the service takes.
MAX_PLAIN_BYTES = 48 * 1024**2


def simplify_history(history: Any) -> Any:
    """A history as lists, dictionaries, numbers and text.

    Args:
        history: Keras' `History`, a pandas frame with a row for each epoch, or what holds curves already.
    """
    if not isinstance(history, Mapping) and isinstance(getattr(history, "history", None), Mapping):
        history = history.history
    if hasattr(history, "to_dict") and hasattr(history, "columns"):
        history = history.to_dict(orient="list")
    return _simplify(history)


def has_arrays(predictions: Mapping[str, Any]) -> bool:
    """Whether anything in `{split: {what: values}}` is an array."""
    parts = [part for part in predictions.values() if isinstance(part, Mapping)]
    return any(hasattr(values, "dtype") for part in parts for values in part.values())


def pack_npz(predictions: Mapping[str, Any]) -> bytes:
    """`{split: {what: array}}` as an `.npz` with arrays such as `test_labels`."""
    import numpy as np

    arrays = {
        f"{split}_{what}": np.asarray(values) for split, part in predictions.items() for what, values in part.items()
    }
    file = io.BytesIO()
    # The service reads no more values of a packed file than its bytes are worth, and of a plain one all.
    save = np.savez if sum(array.nbytes for array in arrays.values()) <= MAX_PLAIN_BYTES else np.savez_compressed
    save(file, allow_pickle=False, **arrays)
    return file.getvalue()


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
        return None  # JSON has no such numbers, and the service takes null for one
    return value
