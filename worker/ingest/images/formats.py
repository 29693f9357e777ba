"""Image formats, recognized by first bytes, and bounds of the cost of decoding, found before a decoder sees a file.

Pillow reads the parts of JPEG and PNG files one by one in Python, and libjpeg visits every block again for each scan,
even an empty one. So a small file with few pixels can keep a decoder busy for minutes. With these bounds the worst
known files take about two seconds (docs/reference/images.md). WebP needs no walk: the work of libwebp is proportional
to the pixels, which are bounded.
"""

import re
import struct
from typing import NamedTuple

from PIL.ImageFile import ImageFile

HEAD_BYTES = 32  # bytes needed to recognize a format
OTHER_FORMATS = {
    b"GIF8": "GIF",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
    b"%PDF": "PDF",
    b"<svg": "SVG",
    b"8BPS": "Photoshop",
}
# Formats of pictures whose loss would go unnoticed. A PDF among images is a text.
REFUSED_FORMATS = frozenset({"GIF", "TIFF", "HEIC or AVIF", "Photoshop"})
BMP_HEADER_BYTES = frozenset({12, 16, 40, 52, 56, 64, 108, 124})
IMAGE_BRANDS = frozenset({b"avif", b"avis", b"heic", b"heix", b"hevc", b"mif1", b"msf1"})


def read_format(head: bytes) -> str | None:
    """Recognize a supported format by a file's first bytes: PNG, JPEG, WebP, BMP, or None."""
    if head[:8] == b"\x89PNG\r\n\x1a\n":
        return "PNG"
    if head[:3] == b"\xff\xd8\xff":
        return "JPEG"
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "WebP"
    if head[:2] == b"BM":
        return "BMP"
    return None


def detect_other_format(head: bytes) -> str | None:
    """Recognize an unsupported image format by a file's first bytes, or None."""
    return OTHER_FORMATS.get(head[:4]) or ("HEIC or AVIF" if head[4:8] == b"ftyp" else None)


def is_image(head: bytes) -> bool:
    """Return whether a file without a known suffix is a supported image. Two letters are not enough for a BMP."""
    found = read_format(head)
    return found is not None and (found != "BMP" or int.from_bytes(head[14:18], "little") in BMP_HEADER_BYTES)


def is_refused_image(head: bytes) -> bool:
    """Return whether a file without a known suffix is an image of an unsupported format."""
    found = detect_other_format(head)
    return found in REFUSED_FORMATS and (found != "HEIC or AVIF" or head[8:12] in IMAGE_BRANDS)


# Encoders write at most 18 scans. Each takes up to 35 ms of an image of 50 megapixels, even if it holds nothing.
MAX_SCANS = 50
# Scans times pixels: the scans that encoders write, of the largest image. They take 0.7 s.
MAX_SCANNED_PIXELS = 18 * 50_000_000
# Some encoders store each row of a PNG as a separate part.
FREE_PARTS, BYTES_A_PART = 10_000, 512
# Parts that unpack to a megabyte: texts and color profiles.
MAX_PACKED_PARTS = 256
# Cameras write up to 64 KiB. Each number in it becomes a Python object: a mebibyte takes half a second.
MAX_EXIF_BYTES = 1024**2
# Pillow decodes run-length encoding in Python: bytes of the file, and pixels of the image.
MAX_RUN_LENGTH = 10_000_000

_PACKED = frozenset({b"zTXt", b"iTXt", b"iCCP"})
# Zeros belong to pixels and FF to padding. Restart markers (D0 to D7) may be as frequent as pixels.
_MARKER = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")
_START_OF_SCAN, _END_OF_IMAGE, _QUANTIZATION, _APP1, _APP13 = 0xDA, 0xD9, 0xDB, 0xE1, 0xED
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_PROGRESSIVE_FRAMES = frozenset({0xC2, 0xC6, 0xCA, 0xCE})
_WITHOUT_LENGTH = frozenset({*range(0x01, 0xC0), 0xC8, 0xD8, _END_OF_IMAGE, *range(0xF0, 0xFE)})


class Container(NamedTuple):
    """What was found in a file without decoding it.

    excess: what would take a decoder too long, such as `has 80 scans, …`, or None. scans: its visits to the image.
    """

    excess: str | None = None
    scans: int = 1


def examine_container(data: bytes, format_: str) -> Container:
    """Look for what would take a decoder too long."""
    most_parts = FREE_PARTS + len(data) // BYTES_A_PART
    if format_ == "JPEG":
        return _examine_jpeg(data, most_parts)
    return Container(_find_png_excess(data, most_parts) if format_ == "PNG" else None)


def describe_opened_excess(image: ImageFile, size_bytes: int) -> str | None:
    """Say the same from the header of a file of `size_bytes`, which was opened as `image`."""
    if any(tile.codec_name == "bmp_rle" for tile in image.tile):
        most = max(size_bytes, image.width * image.height)
        if most > MAX_RUN_LENGTH:
            return (
                f"is run-length encoded, with {image.width * image.height:,} pixels in {size_bytes:,} bytes; of "
                f"either at most {MAX_RUN_LENGTH:,} are read"
            )
    return _find_exif_excess(len(image.info.get("exif", b"")))


def _examine_jpeg(data: bytes, most_parts: int) -> Container:
    at, parts, scans, exif_bytes, components, is_progressive, pixels = 2, 0, 0, 0, 0, False, 0
    while marker := _MARKER.search(data, at):
        kind = data[marker.end() - 1]
        # Before the first scan Pillow looks at every byte between two segments.
        parts += 1 if scans else 1 + marker.start() - at
        if parts > most_parts:
            return Container(_describe_too_many_parts(most_parts), scans)
        if kind == _END_OF_IMAGE and scans:
            break
        at = marker.end()
        if kind in _WITHOUT_LENGTH:
            continue
        if kind in _FRAMES:
            components, is_progressive = data[at + 7] if at + 7 < len(data) else 0, kind in _PROGRESSIVE_FRAMES
            height, width = (int.from_bytes(data[start : start + 2], "big") for start in (at + 3, at + 5))
            pixels = max(pixels, height * width)
        elif kind == _START_OF_SCAN:
            scans += 1
            most = min(MAX_SCANS, max(1, MAX_SCANNED_PIXELS // max(1, pixels)))
            if scans > most:
                scans += data.count(b"\xff\xda", at)
                size = "" if most == MAX_SCANS else f" of an image of {pixels:,} pixels"
                return Container(
                    f"has {scans:,} scans, each of which visits the whole image; at most {most}{size} are read", scans
                )
            if not is_progressive and data[at + 2 : at + 3] == bytes([components]):
                break  # the whole image is in this scan, and decoders read no further
        length = max(2, int.from_bytes(data[at : at + 2], "big"))
        parts += _count_entries(kind, data[at : at + length])
        if kind == _APP1 and data[at + 2 : at + 6] == b"Exif":
            exif_bytes += length
        at += length
    return Container(_find_exif_excess(exif_bytes), max(1, scans))


def _count_entries(kind: int, segment: bytes) -> int:
    """Count the entries that Pillow reads separately from a segment; never fewer than there are."""
    if kind == _APP13:
        return segment.count(b"8BIM")
    if kind == _QUANTIZATION:
        return len(segment) // 64
    return len(segment) if kind in _FRAMES else 0


def _find_png_excess(data: bytes, most_parts: int) -> str | None:
    at, parts, packed, exif_bytes = 8, 0, 0, 0
    while at + 8 <= len(data):
        length, kind = struct.unpack_from(">L4s", data, at)
        if kind == b"IEND":
            break
        parts += 1
        packed += kind in _PACKED
        if parts > most_parts:
            return _describe_too_many_parts(most_parts)
        if packed > MAX_PACKED_PARTS:
            return f"has more than {MAX_PACKED_PARTS} compressed texts or color profiles"
        if kind == b"eXIf":
            exif_bytes = max(exif_bytes, length)
        at += 12 + length
    return _find_exif_excess(exif_bytes)


def _describe_too_many_parts(most: int) -> str:
    return f"consists of more than {most:,} parts, which is too many for its size"


def _find_exif_excess(size_bytes: int) -> str | None:
    if size_bytes <= MAX_EXIF_BYTES:
        return None
    return f"has {size_bytes:,} bytes of EXIF; at most {MAX_EXIF_BYTES:,} are read"
