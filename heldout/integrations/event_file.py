"""TensorBoard's event files, written without TensorFlow: scalars as `tf.summary.scalar` records them.

Sources: `tensorflow/core/lib/io/record_writer.h`, `event.proto`, `summary.proto`, `tensor.proto`.
`heldout/histories/event_files.py` reads them.
"""

import struct
from collections.abc import Iterable
from typing import NamedTuple

from heldout.integrations.crc32c import masked_crc32c

# Field numbers of the messages, by message.
_EVENT_WALL_TIME = 1
_EVENT_STEP = 2
_EVENT_FILE_VERSION = 3
_EVENT_SUMMARY = 5
_SUMMARY_VALUE = 1
_VALUE_TAG = 1
_VALUE_TENSOR = 8
_VALUE_METADATA = 9
_METADATA_PLUGIN = 1
_PLUGIN_NAME = 1
_TENSOR_DTYPE = 1
_TENSOR_SHAPE = 2
_TENSOR_FLOATS = 5
_DT_FLOAT = 1


class Scalar(NamedTuple):
    """One point of a curve. `wall_time` is in seconds since 1970."""

    tag: str
    step: int
    value: float
    wall_time: float


def event_file(scalars: Iterable[Scalar], begun: float) -> bytes:
    """A whole file. The same scalars give the same bytes, and more of them only add to its end.

    Args:
        begun: seconds since 1970, of the record that says which version of the format this is.
    """
    head = _double(_EVENT_WALL_TIME, begun) + _message(_EVENT_FILE_VERSION, b"brain.Event:2")
    return b"".join(map(_record, [head, *map(_event, scalars)]))


def _event(scalar: Scalar) -> bytes:
    plugin = _message(_METADATA_PLUGIN, _message(_PLUGIN_NAME, b"scalars"))
    number = struct.pack("<f", scalar.value)
    tensor = _number(_TENSOR_DTYPE, _DT_FLOAT) + _message(_TENSOR_SHAPE, b"") + _message(_TENSOR_FLOATS, number)
    value = (
        _message(_VALUE_TAG, scalar.tag.encode()) + _message(_VALUE_TENSOR, tensor) + _message(_VALUE_METADATA, plugin)
    )
    summary = _message(_EVENT_SUMMARY, _message(_SUMMARY_VALUE, value))
    return _double(_EVENT_WALL_TIME, scalar.wall_time) + _number(_EVENT_STEP, scalar.step) + summary


def _record(data: bytes) -> bytes:
    """Length, its checksum, the data, its checksum."""
    length = struct.pack("<Q", len(data))
    return length + struct.pack("<I", masked_crc32c(length)) + data + struct.pack("<I", masked_crc32c(data))


# A field is its number and its wire type (0 varint, 1 eight bytes, 2 bytes with their length), then its value.
def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _double(field: int, value: float) -> bytes:
    return _varint(field << 3 | 1) + struct.pack("<d", value)


def _message(field: int, value: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(value)) + value


def _varint(value: int) -> bytes:
    """Seven bits a byte, the lowest first. value: 0 or more."""
    written = bytearray()
    while value > 0x7F:
        written.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes(written) + bytes([value])
