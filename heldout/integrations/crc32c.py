"""The checksum of TensorBoard's records: CRC-32C (RFC 3720 B.4), masked as `tensorflow/core/lib/hash/crc32c.h` does."""


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
