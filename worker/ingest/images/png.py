"""Plain PNGs straight to pixels: the chunks are read here, and Pillow's own decoder does the rest.

Small images spend most of their time in general readers. What is not plain, or not right, is left to Pillow, whose
answer is the same for what is taken here.
"""

import struct
import zlib

from PIL import Image

BEGINNING = b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR"
SHORTEST, LONGEST = 57, 1024 * 1024  # bytes; in larger files the general reader is as fast
# Chunks that say nothing about pixels, and that Pillow does not heed either.
HARMLESS = frozenset({b"gAMA", b"cHRM", b"sRGB", b"sBIT", b"pHYs", b"tIME", b"bKGD", b"hIST"})
MODES = {0: "L", 2: "RGB"}
HEADER = struct.Struct(">IIBBBBB")
LONGEST_CHUNKS = 64


def plain_png(data: bytes, most_pixels: int) -> Image.Image | None:
    """The image of a PNG with 8 bits of grey or colour and nothing else to it; None if it is any other file."""
    if data[:16] != BEGINNING or not SHORTEST <= len(data) <= LONGEST:
        return None
    width, height, depth, colour, packing, filtering, interlaced = HEADER.unpack_from(data, 16)
    mode = MODES.get(colour)
    if depth != 8 or mode is None or packing or filtering or interlaced or not 0 < width * height <= most_pixels:
        return None
    pixels = _pixel_chunks(data)
    if pixels is None:
        return None
    try:
        return Image.frombytes(mode, (width, height), pixels, "zip", mode, 0)
    except (ValueError, OSError):
        return None


def _pixel_chunks(data: bytes) -> bytes | None:
    """What the IDAT chunks hold together; None if a chunk is unknown or a checksum is wrong."""
    found = []
    at = 8
    for _ in range(LONGEST_CHUNKS):
        if at + 12 > len(data):
            return None
        end = at + 8 + int.from_bytes(data[at : at + 4], "big")
        kind = data[at + 4 : at + 8]
        if zlib.crc32(data[at + 4 : end]) != int.from_bytes(data[end : end + 4], "big"):
            return None
        if kind == b"IDAT":
            found.append(data[at + 8 : end])
        elif kind == b"IEND":
            return b"".join(found)
        elif kind != b"IHDR" and kind not in HARMLESS:
            return None
        at = end + 4
    return None
