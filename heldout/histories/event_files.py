"""Reads the scalars in TensorBoard's event files without TensorFlow: records, and fields of protobuf messages.

Sources: the protocol buffers' wire format; `tensorflow/core/lib/io/record_writer.h` (length, checksum, data,
checksum), `event.proto`, `summary.proto`, `tensor.proto`.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from heldout.integrations.crc32c import compute_masked_crc32c

# Wire types.
_VARINT = 0
_EIGHT_BYTES = 1
_BYTES = 2
_FOUR_BYTES = 5


class NotThisFormatError(ValueError):
    """The bytes do not have the expected format, or are damaged."""


def iterate_fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Yield the numbers and values of a message's fields; fixed-width numbers as bytes."""
    at = 0
    while at < len(message):
        key, at = _read_varint(message, at)
        number, kind = key >> 3, key & 7
        if kind == _VARINT:
            value, at = _read_varint(message, at)
            yield number, value
            continue
        if kind == _BYTES:
            length, at = _read_varint(message, at)
        elif kind in {_EIGHT_BYTES, _FOUR_BYTES}:
            length = 8 if kind == _EIGHT_BYTES else 4
        else:
            raise NotThisFormatError(f"field {number} has an unknown wire type ({kind})")
        if at + length > len(message):
            raise NotThisFormatError(f"field {number} extends beyond its message")
        yield number, message[at : at + length]
        at += length


def _read_varint(message: bytes, at: int) -> tuple[int, int]:
    """Read a number with seven bits per byte, the lowest first, and return it with its end position."""
    value = shift = 0
    while at < len(message) and shift < 70:
        byte = message[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at
    raise NotThisFormatError("a number does not end")


# Field numbers of the messages.
_EVENT_STEP = 2
_EVENT_SUMMARY = 5
_SUMMARY_VALUE = 1
_VALUE_TAG = 1
_VALUE_SIMPLE = 2
_VALUE_TENSOR = 8
_TENSOR_DTYPE = 1
_TENSOR_SHAPE = 2
_TENSOR_CONTENT = 4
_TENSOR_FLOATS = 5
_TENSOR_DOUBLES = 6
_SHAPE_DIMENSION = 2
# `struct` formats of tensors by dtype: DT_FLOAT, DT_DOUBLE.
_FORMATS = {1: "<f", 2: "<d"}
# The longest message that Protobuf allows.
_MAX_MESSAGE_BYTES = 2**31 - 1
# Records of scalars are shorter. Longer ones contain graphs and images; they are skipped without a check.
_MAX_SCALAR_RECORD_BYTES = 65536


@dataclass(frozen=True)
class ReadScalar:
    tag: str
    step: int
    value: float


def iterate_scalars(file: BinaryIO) -> Iterator[ReadScalar]:
    """Yield all scalars in the order in which they were written; an incomplete last record is left out.

    Raises:
        NotThisFormatError: at the first record with a wrong checksum or an impossible length.
    """
    for record in _read_records(file):
        yield from _read_event(record)


def _read_records(file: BinaryIO) -> Iterator[bytes]:
    number = 0
    while len(head := file.read(12)) == 12:
        number += 1
        length, checksum = struct.unpack("<QI", head)
        if compute_masked_crc32c(head[:8]) != checksum:
            raise NotThisFormatError(
                f"record {number} has no valid length: this is not an event file, or it is damaged"
            )
        if length > _MAX_MESSAGE_BYTES:
            raise NotThisFormatError(
                f"record {number} claims {length:,} bytes; at most {_MAX_MESSAGE_BYTES:,} are possible"
            )
        # Skip in pieces: the length that a file claims is not a reason to allocate that much memory.
        for skipped in range(0, length - _MAX_SCALAR_RECORD_BYTES, _MAX_SCALAR_RECORD_BYTES):
            if not file.read(min(_MAX_SCALAR_RECORD_BYTES, length - _MAX_SCALAR_RECORD_BYTES - skipped)):
                return
        data, tail = file.read(min(length, _MAX_SCALAR_RECORD_BYTES)), file.read(4)
        if len(tail) < 4:
            return  # it is being written, or its writer was stopped
        if length <= _MAX_SCALAR_RECORD_BYTES:
            if compute_masked_crc32c(data) != struct.unpack("<I", tail)[0]:
                raise NotThisFormatError(f"record {number} is damaged")
            yield data


def _read_event(record: bytes) -> Iterator[ReadScalar]:
    step, summaries = 0, []
    for number, value in iterate_fields(record):
        if number == _EVENT_STEP and isinstance(value, int):
            step = value
        elif number == _EVENT_SUMMARY and isinstance(value, bytes):
            summaries.append(value)
    for summary in summaries:
        for number, value in iterate_fields(summary):
            if number == _SUMMARY_VALUE and isinstance(value, bytes):
                yield from _read_value(value, step)


def _read_value(message: bytes, step: int) -> Iterator[ReadScalar]:
    tag, found = "", None
    for number, value in iterate_fields(message):
        if number == _VALUE_TAG and isinstance(value, bytes):
            tag = value.decode("utf-8", "replace")
        elif number == _VALUE_SIMPLE and isinstance(value, bytes) and len(value) == 4:
            found = struct.unpack("<f", value)[0]
        elif number == _VALUE_TENSOR and isinstance(value, bytes):
            found = _read_tensor(value)
    if found is not None:
        yield ReadScalar(tag, step, found)


def _read_tensor(message: bytes) -> float | None:
    """Read a tensor's value if it is a single number."""
    written, dtype = b"", 0
    for number, value in iterate_fields(message):
        if number == _TENSOR_DTYPE and isinstance(value, int):
            dtype = value
        elif number == _TENSOR_SHAPE and isinstance(value, bytes):
            if any(number == _SHAPE_DIMENSION for number, _ in iterate_fields(value)):
                return None
        elif number in {_TENSOR_CONTENT, _TENSOR_FLOATS, _TENSOR_DOUBLES} and isinstance(value, bytes):
            written = value
    form = _FORMATS.get(dtype)
    if form is None or len(written) != struct.calcsize(form):
        return None
    found: float = struct.unpack(form, written)[0]
    return found
