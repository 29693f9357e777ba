"""Reads the scalars in TensorBoard's event files without TensorFlow: records, and fields of protobuf messages.

Sources: the protocol buffers' wire format; `tensorflow/core/lib/io/record_writer.h` (length, checksum, data,
checksum).
"""

import struct
from collections import defaultdict
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

from heldout.integrations import event_format

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


class Fields(NamedTuple):
    """The fields of a message by number: the last of each that is a number, and all that are bytes."""

    numbers: dict[int, int]
    parts: dict[int, list[bytes]]


def read_fields(message: bytes) -> Fields:
    """Read all fields of a message. Raises NotThisFormatError."""
    fields = Fields({}, defaultdict(list))
    for number, value in iterate_fields(message):
        if isinstance(value, int):
            fields.numbers[number] = value
        else:
            fields.parts[number].append(value)
    return fields


# `struct` formats of tensors by dtype.
_FORMATS = {event_format.DT_FLOAT: "<f", event_format.DT_DOUBLE: "<d"}
# The longest message that Protobuf allows.
_MAX_MESSAGE_BYTES = 2**31 - 1
# Records of scalars are shorter. Longer ones contain graphs and images; they are skipped without a check.
_MAX_SCALAR_RECORD_BYTES = 65536


class ReadScalar(NamedTuple):
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
        if event_format.compute_masked_crc32c(head[:8]) != checksum:
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
            if event_format.compute_masked_crc32c(data) != struct.unpack("<I", tail)[0]:
                raise NotThisFormatError(f"record {number} is damaged")
            yield data


def _read_event(record: bytes) -> Iterator[ReadScalar]:
    event = read_fields(record)
    step = event.numbers.get(event_format.EVENT_STEP, 0)
    for summary in event.parts[event_format.EVENT_SUMMARY]:
        for message in read_fields(summary).parts[event_format.SUMMARY_VALUE]:
            parts = read_fields(message).parts
            tag = b"".join(parts[event_format.VALUE_TAG][-1:]).decode("utf-8", "replace")
            values = [_unpack("<f", simple) for simple in parts[event_format.VALUE_SIMPLE]]
            values += map(_read_tensor, parts[event_format.VALUE_TENSOR])
            if values and values[-1] is not None:
                yield ReadScalar(tag, step, values[-1])


def _read_tensor(message: bytes) -> float | None:
    """Read a tensor's value if it is a single number."""
    numbers, parts = read_fields(message)
    if any(event_format.SHAPE_DIMENSION in read_fields(shape).parts for shape in parts[event_format.TENSOR_SHAPE]):
        return None
    written = [
        value
        for number in (event_format.TENSOR_CONTENT, event_format.TENSOR_FLOATS, event_format.TENSOR_DOUBLES)
        for value in parts[number]
    ]
    form = _FORMATS.get(numbers.get(event_format.TENSOR_DTYPE, 0))
    return None if form is None or not written else _unpack(form, written[-1])


def _unpack(form: str, written: bytes) -> float | None:
    return struct.unpack(form, written)[0] if len(written) == struct.calcsize(form) else None
