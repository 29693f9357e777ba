"""A rejection contains no text of a library or the system, no folders and no control characters."""

import gzip
import io
import re
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.worker.ingest.uploads import encoded, noise, npz, pictures, rejection_of, tarred, with_scans, zipped
from worker.ingest.rejection import Rejection

PNG = encoded(noise())
# Colors and titles of terminals, reversed text, extra lines, and invisible characters.
INVISIBLE = "c\u200ba\x85t\udcff".encode("utf-8", "replace").decode()
NAMES = {
    "commands": f"cat\x1b[31m\x1b]0;x\x07 \u202egnp.tac\u202c \nheldout: all is well\r\n {INVISIBLE}",
    "long": "x" * 5000,
}
OF_LIBRARIES = re.compile(
    r"errno|error|exception|zlib|pillow|\bpil\b|pyarrow|arrow|thrift|magic bytes|0x[0-9a-f]{4}|<_?io|object at|"
    r"cannot identify|data stream|invalid (block|code|literal|data|header|distance)|checksum in|decompress|codec|"
    r"unpack requires|not a zip file|/tmp|/home|/work|\.py\b",
    re.IGNORECASE,
)


def write_table(columns: dict[str, list], **options) -> bytes:
    written = io.BytesIO()
    pq.write_table(pa.table(columns), written, **options)
    return written.getvalue()


def make_damaged_table(name: str) -> bytes:
    files = [encoded(noise(seed=seed)) for seed in range(40)]
    content = write_table({"image": files, "label": [f"{name}{row % 2}" for row in range(40)]}, compression="zstd")
    return content[:60] + b"\xff" * 2000 + content[2060:]


def make_zip_with_damaged_member(folder: Path, name: str) -> Path:
    path = zipped(folder / "a.zip", {**pictures(4), f"cat/{name}.png": noise((60, 60)).tobytes() * 4})
    with zipfile.ZipFile(path) as archive:
        start = archive.infolist()[-1].header_offset + 30 + len(archive.infolist()[-1].filename.encode())
    content = bytearray(path.read_bytes())
    content[start : start + 40] = b"\xff" * 40
    path.write_bytes(content)
    return path


def make_tar_with_broken_header(folder: Path, name: str) -> Path:
    path = tarred(folder / "a.tar", {"cat/1.png": PNG, "cat/2.png": PNG})
    content = bytearray(path.read_bytes())
    second = 512 + -(-len(PNG) // 512) * 512
    content[second + 124 : second + 136] = b"\xff" * 12  # its size
    path.write_bytes(content)
    return path


def in_zip(member: bytes) -> Callable[[Path, str], Path]:
    return lambda folder, name: zipped(folder / "a.zip", {**pictures(4), f"cat/{name}.png": member})


def as_file(make: Callable[[str], bytes]) -> Callable[[Path, str], Path]:
    def write(folder: Path, name: str) -> Path:
        (folder / "a").write_bytes(make(name))
        return folder / "a"

    return write


def zip_of(name: str) -> bytes:
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w") as archive:
        archive.writestr(f"cat/{name}", b"x")
    return written.getvalue()


TAR = noise((90, 90)).tobytes()
DEEP_BMP = b"BM" + struct.pack("<LHHL", 154, 0, 0, 54) + struct.pack("<LllHHLLllLL", 40, 9, 9, 1, 24, 9, 0, 0, 0, 0, 0)
UPLOADS: dict[str, Callable[[Path, str], Path]] = {
    "text in place of an image": in_zip(b"no image"),
    "a PNG of wrong checksums": in_zip(PNG[:40] + b"\xff" * 30 + PNG[70:]),
    "a PNG without pixels": in_zip(PNG[:33] + PNG[-12:]),
    "a PNG whose pixels are not packed": in_zip(
        PNG[:33] + (9).to_bytes(4, "big") + b"IDAT" + bytes(9) + zlib.crc32(b"IDAT" + bytes(9)).to_bytes(4, "big")
    ),
    "an empty JPEG": in_zip(b"\xff\xd8\xff\xda" + bytes(100)),
    "a JPEG of many scans": in_zip(with_scans(100)),
    "a truncated JPEG": in_zip(encoded(noise((60, 60)), "JPEG")[:-900]),
    "a broken WebP": in_zip(encoded(noise((60, 60, 3)), "WEBP")[:200]),
    "a BMP of another packing": in_zip(DEEP_BMP + bytes(100)),
    "a damaged member": make_zip_with_damaged_member,
    "a tar of no images": lambda folder, name: tarred(folder / "a.tar", {f"cat/{name}.png": b"x", **pictures(4)}),
    "a tar with a broken header": make_tar_with_broken_header,
    "a zip without its directory's start": as_file(lambda name: zip_of(name)[:-30] + b"PK\x05\x06" + b"\xff" * 26),
    "a zip without an end": as_file(lambda name: zip_of(name)[:-22]),
    "a truncated gzip": as_file(lambda name: gzip.compress(TAR)[:-100]),
    "a gzip with a wrong checksum": as_file(lambda name: gzip.compress(TAR)[:-8] + bytes(8)),
    "an array of strings": lambda folder, name: npz(folder / "a.npz", x=np.array([name] * 4), y=np.arange(4)),
    "an array of records": lambda folder, name: npz(
        folder / "a.npz", x=np.zeros((4, 9, 9), [("a" * 300, "u1"), (f"{name[:900]}b", "f4")]), y=np.arange(4)
    ),
    "labels of records": lambda folder, name: npz(
        folder / "a.npz", x=noise((4, 9, 9)), y=np.zeros(4, [(name[:900], "u1")])
    ),
    "a table of other columns": as_file(lambda name: write_table({name: [1], f"{name}2": ["x"]})),
    "a table with lists as labels": as_file(lambda name: write_table({"image": [PNG] * 2, "label": [[name], [name]]})),
    "a table of damaged pages": as_file(make_damaged_table),
    "a table without its end": as_file(lambda name: write_table({"image": [PNG], "label": [name]})[:-60] + b"PAR1"),
    "a table of broken images": as_file(
        lambda name: write_table({"image": [{"bytes": b"x", "path": name}] * 12, "label": ["a", "b"] * 6})
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", UPLOADS)
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_rejection_has_only_our_words(tmp_path, name, kind):
    rejection = rejection_of(UPLOADS[kind](tmp_path, NAMES[name]))
    for text in (rejection.detail, rejection.member or ""):
        assert text.isprintable()
        assert len(text) < 3000  # with up to twelve names
        assert str(tmp_path) not in text
        assert not OF_LIBRARIES.search(text.replace(NAMES[name], "")), text
    assert rejection.detail.endswith((".", ").", "!"))
    assert rejection.code not in ("internal", "crashed")


def test_a_rejection_escapes_control_characters():
    assert Rejection("internal", "a\x1b[31m‮b").detail == "a\\x1b[31m\\u202eb"
