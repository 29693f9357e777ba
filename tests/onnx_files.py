"""A small ONNX file, written without the onnx package: an image, flattened, times a matrix, plus a bias.

Source: onnx.proto of ONNX, and the protocol buffers' wire format.
"""

import numpy as np


def _varint(number: int) -> bytes:
    out = b""
    while number > 0x7F:
        out += bytes([number & 0x7F | 0x80])
        number >>= 7
    return out + bytes([number])


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _bytes(field: int, value: bytes | str) -> bytes:
    content = value.encode() if isinstance(value, str) else value
    return _varint(field << 3 | 2) + _varint(len(content)) + content


def _tensor(name: str, values: np.ndarray) -> bytes:
    dims = b"".join(_number(1, size) for size in values.shape)
    return dims + _number(2, 1) + _bytes(8, name) + _bytes(9, values.astype("<f4").tobytes())


def _value(name: str, shape: tuple[int | str, ...]) -> bytes:
    dims = b"".join(_bytes(1, _bytes(2, size) if isinstance(size, str) else _number(1, size)) for size in shape)
    return _bytes(1, name) + _bytes(2, _bytes(1, _number(1, 1) + _bytes(2, dims)))


def _node(operator: str, inputs: tuple[str, ...], output: str) -> bytes:
    return b"".join(_bytes(1, name) for name in inputs) + _bytes(2, output) + _bytes(4, operator)


def with_tensor_elsewhere(model: bytes, place: str, file: str) -> bytes:
    """Add a tensor whose values are in another file; `place` says what holds it."""
    tensor = _tensor("elsewhere", np.ones(2)) + _number(14, 1) + _bytes(13, _bytes(1, "location") + _bytes(2, file))
    in_attribute = _bytes(1, _node("Constant", (), "c") + _bytes(5, _bytes(1, "value") + _bytes(5, tensor)))
    parts = {
        "initializer": _bytes(7, _bytes(5, tensor)),
        "attribute": _bytes(7, in_attribute),
        "branch": _bytes(7, _bytes(1, _node("If", ("c",), "d") + _bytes(5, _bytes(6, in_attribute)))),
        "sparse": _bytes(7, _bytes(15, _bytes(1, tensor))),
        "function": _bytes(25, _bytes(7, _node("Constant", (), "c") + _bytes(5, _bytes(5, tensor)))),
        "training": _bytes(20, _bytes(1, _bytes(5, tensor))),
        "location alone": _bytes(7, _bytes(5, _tensor("elsewhere", np.ones(2)) + _number(14, 1))),
    }
    return model + parts[place]


def dense_onnx(kernel: np.ndarray, bias: np.ndarray, image: tuple[int, ...]) -> bytes:
    """Return a model from (batch, *image) to (batch, classes) logits."""
    graph = (
        _bytes(1, _node("Flatten", ("image",), "flat"))
        + _bytes(1, _node("MatMul", ("flat", "kernel"), "product"))
        + _bytes(1, _node("Add", ("product", "bias"), "logits"))
        + _bytes(2, "dense")
        + _bytes(5, _tensor("kernel", kernel))
        + _bytes(5, _tensor("bias", bias))
        + _bytes(11, _value("image", ("batch", *image)))
        + _bytes(12, _value("logits", ("batch", len(bias))))
    )
    return _number(1, 8) + _bytes(2, "tests") + _bytes(7, graph) + _bytes(8, _number(2, 17))
