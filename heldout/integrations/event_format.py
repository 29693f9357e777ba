"""The format of TensorBoard's event files: the numbers of the messages' fields, and the checksum of records.

Sources: `event.proto`, `summary.proto`, `tensor.proto`; for the checksum RFC 3720 B.4 (CRC-32C), masked as
`tensorflow/core/lib/hash/crc32c.h` does.
"""

EVENT_WALL_TIME, EVENT_STEP, EVENT_FILE_VERSION, EVENT_SUMMARY = 1, 2, 3, 5
SUMMARY_VALUE = 1
VALUE_TAG, VALUE_SIMPLE, VALUE_TENSOR, VALUE_METADATA = 1, 2, 8, 9
METADATA_PLUGIN, PLUGIN_NAME = 1, 1
TENSOR_DTYPE, TENSOR_SHAPE, TENSOR_CONTENT, TENSOR_FLOATS, TENSOR_DOUBLES = 1, 2, 4, 5, 6
SHAPE_DIMENSION = 2
DT_FLOAT, DT_DOUBLE = 1, 2


def compute_masked_crc32c(data: bytes) -> int:
    """Compute CRC-32C, rotated and shifted as in records: an unsigned 32-bit number."""
    value = 0xFFFFFFFF
    for byte in data:
        value = _TABLE[(value ^ byte) & 0xFF] ^ value >> 8
    value ^= 0xFFFFFFFF
    return (value >> 15 | value << 17 & 0xFFFFFFFF) + 0xA282EAD8 & 0xFFFFFFFF


def _build_table() -> tuple[int, ...]:
    rows = []
    for byte in range(256):
        value = byte
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
        rows.append(value)
    return tuple(rows)


_TABLE = _build_table()
