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
    dims = b"".join(_bytes(1, _bytes(2, one) if isinstance(one, str) else _number(1, one)) for one in shape)
    return _bytes(1, name) + _bytes(2, _bytes(1, _number(1, 1) + _bytes(2, dims)))


def _node(operator: str, inputs: tuple[str, ...], output: str) -> bytes:
    return b"".join(_bytes(1, one) for one in inputs) + _bytes(2, output) + _bytes(4, operator)


def dense_onnx(kernel: np.ndarray, bias: np.ndarray, image: tuple[int, ...]) -> bytes:
    """A model from (batch, *image) to (batch, classes) logits."""
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
