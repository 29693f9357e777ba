"""Imports onnxruntime, and finds the tensors of an ONNX file at any depth. Their values must be in the file itself.

onnxruntime opens any file that a tensor names. Source: onnx.proto of ONNX.
"""

import os
from collections.abc import Iterator
from typing import Any

from heldout.histories.event_files import iterate_fields

# The fields of its messages that hold messages leading to tensors.
_MESSAGES: dict[str, dict[int, str]] = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "training": {1: "graph", 2: "graph"},
    "function": {7: "node", 11: "attribute"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "tensor": {},
}
INITIALIZER = ("graph", 5)
# Fields of TensorProto.
_EXTERNAL_DATA, _DATA_LOCATION = 13, 14


def import_onnxruntime() -> Any:
    """Import it only where it is needed: that takes a tenth of a second. Raises ImportError."""
    # Read on import: otherwise it would send telemetry to its maker, and leave a file in the temporary folder.
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    import onnxruntime

    return onnxruntime


class TensorElsewhere(ValueError):
    """The values of a tensor are in another file."""


def iterate_tensors(model: bytes) -> Iterator[tuple[tuple[str, int], bytes]]:
    """Yield all tensors of a model, also inside nodes, functions and sparse arrays, with the field of each.

    Raises:
        TensorElsewhere.
        NotThisFormatError: the bytes are not an ONNX file.
    """
    left = [("model", ("", 0), model)]
    while left:
        kind, field, message = left.pop()
        fields = list(iterate_fields(message))
        if kind == "tensor":
            if any(number == _EXTERNAL_DATA or (number == _DATA_LOCATION and value) for number, value in fields):
                raise TensorElsewhere
            yield field, message
        left += [
            (_MESSAGES[kind][number], (kind, number), value)
            for number, value in reversed(fields)
            if number in _MESSAGES[kind] and isinstance(value, bytes)
        ]
