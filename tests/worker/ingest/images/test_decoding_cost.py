"""Files that would keep a decoder busy are refused by their containers; files of normal encoders are accepted."""

import io
import struct
import time
import zlib

import numpy as np
import pytest
from PIL import Image

from tests.worker.ingest.uploads import encoded, noise, with_scans
from worker.ingest.images.decode import OpenedImage, TargetShape
from worker.ingest.images.formats import MAX_EXIF_BYTES, MAX_SCANNED_PIXELS, MAX_SCANS, examine_container
from worker.ingest.rejection import IngestLimits, Rejection

MIB = 1024**2
COLOR = noise((64, 48, 3))
JPEG, PROGRESSIVE = encoded(COLOR, "JPEG"), encoded(COLOR, "JPEG", progressive=True)
PNG = encoded(COLOR)


def decode_file(data: bytes) -> None:
    OpenedImage(data, "a", IngestLimits()).decode(TargetShape(16, 16, 3, "stretch"), any_grey=True)


def segment(marker: int, content: bytes = b"") -> bytes:
    return b"\xff" + bytes([marker]) + (len(content) + 2).to_bytes(2, "big") + content


def in_jpeg(*segments: bytes) -> bytes:
    return JPEG[:2] + b"".join(segments) + JPEG[2:]


def chunk(kind: bytes, content: bytes = b"") -> bytes:
    return len(content).to_bytes(4, "big") + kind + content + zlib.crc32(kind + content).to_bytes(4, "big")


def in_png(*chunks: bytes) -> bytes:
    return PNG[:33] + b"".join(chunks) + PNG[33:]


def with_data_chunks(size: int) -> bytes:
    """Make a PNG whose pixels are in chunks of `size` bytes."""
    rows = b"".join(b"\0" + row.tobytes() for row in noise((100, 200)))
    data = zlib.compress(rows)
    parts = [chunk(b"IDAT", data[at : at + size]) for at in range(0, len(data), size)]
    header = chunk(b"IHDR", struct.pack(">LL5B", 200, 100, 8, 0, 0, 0, 0))
    return PNG[:8] + header + b"".join(parts) + chunk(b"IEND")


def run_length_bmp(width: int, height: int, content: bytes) -> bytes:
    palette = bytes(1024)
    header = struct.pack("<LllHHLLllLL", 40, width, height, 1, 8, 1, len(content), 2835, 2835, 256, 0)
    return b"BM" + struct.pack("<LHHL", 54 + 1024 + len(content), 0, 0, 54 + 1024) + header + palette + content


def exif_of(size: int) -> bytes:
    """Make EXIF data with an orientation and many fractions."""
    entries = struct.pack("<HHLLHHLL", 0x112, 3, 1, 6, 0x9C00, 5, size // 8, 38)
    return b"II*\0\x08\0\0\0" + struct.pack("<H", 2) + entries + bytes(4 + size)


def exif_segments(exif: bytes) -> list[bytes]:
    return [segment(0xE1, b"Exif\0\0" + exif[at : at + 65_000]) for at in range(0, len(exif), 65_000)]


LARGE_EXIF = exif_of(8 * MIB)
# A decoder that looks for a restart marker skips invalid markers; the two bytes after them are not a length.
HIDDEN_SCANS = with_scans(4000).replace(b"\xff\xda", b"\xff\x02\xff\xff\xff\xda")
HOSTILE = {
    "JPEG of many scans": (with_scans(40_000), "has 40,010 scans"),
    "JPEG of some scans": (with_scans(MAX_SCANS - 9), f"has 51 scans, .* at most {MAX_SCANS} are read"),
    "JPEG of scans behind invalid markers": (HIDDEN_SCANS, "has 4,010 scans"),
    "JPEG of empty comments": (in_jpeg(segment(0xFE) * (MIB // 4)), "parts, which is too many for its size"),
    "JPEG of comments after an end of image": (in_jpeg(b"\xff\xd9", segment(0xFE) * (MIB // 4)), "parts"),
    "JPEG of fill bytes": (in_jpeg(b"\xff" * MIB), "parts"),
    "JPEG of restart markers before its scans": (in_jpeg(b"\xff\xd0" * (MIB // 2)), "parts"),
    "JPEG of quantization tables": (in_jpeg(segment(0xDB, (b"\0" + bytes(64)) * 1000) * 32), "parts"),
    "JPEG of Photoshop's resources": (
        in_jpeg(segment(0xED, b"Photoshop 3.0\0" + b"8BIM\4\4\0\0\0\0\0\0" * 5000) * 32),
        "parts",
    ),
    "JPEG of frames": (in_jpeg(segment(0xC0, b"\x08\0\x40\0\x30\3" + b"\1\x11\0" * 21_000) * 16), "parts"),
    "JPEG of much EXIF": (in_jpeg(*exif_segments(LARGE_EXIF)), "bytes of EXIF; at most 1,048,576"),
    "PNG of empty chunks": (in_png(chunk(b"abCd") * (MIB // 12)), "parts"),
    "PNG of empty chunks behind its pixels": (PNG[:-12] + chunk(b"abCd") * (MIB // 12) + PNG[-12:], "parts"),
    "PNG of pixels in chunks of a byte": (with_data_chunks(1), "parts"),
    "PNG of color profiles": (
        in_png(chunk(b"iCCP", b"a\0\0" + zlib.compress(bytes(MIB), 9)) * 300),
        "256 compressed texts or color profiles",
    ),
    "PNG of much EXIF": (in_png(chunk(b"eXIf", LARGE_EXIF)), "bytes of EXIF"),
    "WebP of much EXIF": (encoded(COLOR, "WEBP", exif=LARGE_EXIF), "bytes of EXIF"),
    "BMP of empty rows": (run_length_bmp(6_250_000, 8, b"\1\1\0\0" * 8), "run-length encoded, with 50,000,000 pixels"),
    "BMP of operations that do nothing": (
        run_length_bmp(8, 8, b"\0\2\0\0" * 2_600_000),
        "run-length encoded, with 64 pixels in 10,401,078 bytes",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_a_costly_file_is_refused_at_once(name):
    data, says = HOSTILE[name]
    began = time.process_time()
    with pytest.raises(Rejection, match=says) as refusal:
        decode_file(data)
    assert time.process_time() - began < 0.3
    assert refusal.value.code == "image_bomb"
    assert refusal.value.detail.endswith("Save the image again.")


# Some cameras and phones write previews in segments, and more images and videos after the image.
SEGMENTS = in_jpeg(*exif_segments(exif_of(50_000)), *[segment(0xE2, b"ICC_PROFILE\0" + bytes(65_000))] * 200)
APPENDED = PROGRESSIVE + PROGRESSIVE * 10 + np.random.default_rng(0).bytes(4 * MIB)
PREVIEWS = in_jpeg(*[segment(0xE2, b"FPXR\0" + PROGRESSIVE[:60_000])] * 20)
NORMAL = {
    "progressive": PROGRESSIVE,
    "progressive, optimized, 4:4:4": encoded(COLOR, "JPEG", progressive=True, optimize=True, subsampling=0),
    "progressive, of four colors": encoded(Image.fromarray(COLOR).convert("CMYK"), "JPEG", progressive=True),
    "as many scans as any encoder writes": with_scans(8),
    "restart markers after every block": encoded(COLOR, "JPEG", restart_marker_blocks=1),
    "progressive, with restart markers": encoded(COLOR, "JPEG", progressive=True, restart_marker_blocks=1),
    "quality 100": encoded(noise((500, 500, 3)), "JPEG", quality=100, subsampling=0),
    "previews in its segments": PREVIEWS,
    "a long color profile and EXIF": SEGMENTS,
    "images and a video behind it": APPENDED,
    "PNG of chunks of a row": with_data_chunks(40),
    "PNG of texts": in_png(chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(9000))) * 100, chunk(b"tEXt", b"a\0b") * 100),
    "PNG, interlaced and with EXIF": in_png(chunk(b"eXIf", exif_of(50_000))),
    "WebP with EXIF": encoded(COLOR, "WEBP", exif=exif_of(50_000)),
    "run-length encoded BMP": run_length_bmp(64, 64, b"\x40\x07\0\0" * 64 + b"\0\1"),
}  # fmt: skip


@pytest.mark.parametrize("name", NORMAL)
def test_files_of_normal_encoders_are_accepted(name):
    decode_file(NORMAL[name])


def test_parts_that_decoders_do_not_read_are_not_counted():
    behind = b"\xff\xda" * 1000 + b"\xff\xfe" * 100_000
    assert examine_container(JPEG + behind, "JPEG").excess is None
    assert examine_container(PROGRESSIVE + behind, "JPEG").excess is None
    assert examine_container(PNG + chunk(b"iCCP") * 1000, "PNG").excess is None
    assert examine_container(JPEG[:2] + segment(0xE1, b"http" + bytes(60_000)) * 30 + JPEG[2:], "JPEG").excess is None
    assert len(exif_of(MAX_EXIF_BYTES)) > MAX_EXIF_BYTES


@pytest.mark.parametrize(
    ("side", "scans", "most"), [(64, 50, 50), (4000, 50, 50), (4500, 44, 44), (5000, 36, 36), (7071, 18, 18)]
)
def test_a_large_image_may_have_fewer_scans(side, scans, most):
    """A scan visits each pixel, so that scans times pixels are bounded: by the scans that encoders write."""
    size = side.to_bytes(2, "big")
    data = JPEG[:2] + segment(0xC2, b"\x08" + size + size + b"\1\1\x11\0") + segment(0xDA, b"\1" + bytes(5)) * scans
    assert examine_container(data, "JPEG") == (None, scans)
    assert most == min(MAX_SCANS, MAX_SCANNED_PIXELS // side**2)
    excess, _ = examine_container(data + segment(0xDA, b"\1" + bytes(5)), "JPEG")
    assert f"has {scans + 1} scans" in excess
    assert (f"at most {most} of an image of {side**2:,} pixels are read" in excess) == (most < MAX_SCANS)


@pytest.mark.proof
def test_the_costliest_accepted_file_takes_a_few_seconds():
    """It has the largest allowed numbers of scans and pixels; each scan visits all coefficients."""
    with io.BytesIO() as file:
        Image.new("L", (7071, 7071), 9).save(file, "JPEG", progressive=True)
        data = file.getvalue()
    last = data[data.rindex(b"\xff\xda") : -2]
    began = time.process_time()
    decode_file(data[:-2] + last * (MAX_SCANNED_PIXELS // 7071**2 - data.count(b"\xff\xda")) + data[-2:])
    assert time.process_time() - began < 4
