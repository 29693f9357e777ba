"""Formats of image files, recognized by their first bytes."""

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
