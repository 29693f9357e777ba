"""Fields of protobuf messages, read without their definitions.

Source: the protocol buffers' wire format.
"""

from collections.abc import Iterator

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
