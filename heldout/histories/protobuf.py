"""Fields of protobuf messages, read without their definitions.

Source: the protocol buffers' wire format.
"""

from collections.abc import Iterator

# Wire types: how a field is written.
_VARINT = 0
_EIGHT_BYTES = 1
_BYTES = 2
_FOUR_BYTES = 5


class NotThisFormatError(ValueError):
    """The bytes are not of the format that they were taken for, or were damaged."""


def iterate_fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Numbers and values of a message's fields; numbers of fixed width as their bytes."""
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
            raise NotThisFormatError(f"field {number} is written in an unknown way ({kind})")
        if at + length > len(message):
            raise NotThisFormatError(f"field {number} goes beyond its message")
        yield number, message[at : at + length]
        at += length


def _read_varint(message: bytes, at: int) -> tuple[int, int]:
    """A number of seven bits a byte, the lowest first, and where it ends."""
    value = shift = 0
    while at < len(message) and shift < 70:
        byte = message[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at
    raise NotThisFormatError("a number does not end")
