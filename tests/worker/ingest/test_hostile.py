"""Malicious uploads are refused with a code and a member, in bounded memory and time, and leave no files."""

import gzip
import io
import pickle
import stat
import struct
import tarfile
import time
import tracemalloc
import zipfile
import zlib

import numpy as np
import pytest

from heldout.lifecycle.resources import RejectionCode
from tests.worker.ingest.uploads import (
    ALONE,
    MIB,
    SPEC,
    add_audit,
    arrays_of,
    encoded,
    noise,
    npz,
    pictures,
    rejection_of,
    tarred,
    with_scans,
    zipped,
)
from worker.ingest.pipeline import run
from worker.ingest.rejection import IngestLimits, Rejection

GOOD = pictures(4)


def refuse(path, code, member=None, limits=ALONE, spec=SPEC):
    """Check that the upload is refused with this code and member, in little memory and time."""
    tracemalloc.start()
    began = time.monotonic()
    try:
        rejection = rejection_of(path, spec, limits)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (rejection.code, rejection.member) == (code, member), rejection.detail
    assert peak < 64 * MIB
    assert time.monotonic() - began < 30
    return rejection


# --- names and kinds of members ------------------------------------------------------------------

PATHS = {
    "../cat/1.png": "leaves the archive",
    "cat/../../1.png": "leaves the archive",
    "..\\cat\\1.png": "leaves the archive",
    "/cat/1.png": "absolute",
    "C:\\cat\\1.png": "absolute",
    "c:cat/1.png": "absolute",
    "cat/\x1b[31m.png": "control characters",
    "cat/1\n2.png": "control characters",
    "cat/" + "x" * 1100 + ".png": "longer than",
}


@pytest.mark.parametrize("path", PATHS, ids=lambda path: repr(path[:20]))
@pytest.mark.parametrize("pack", [zipped, tarred])
def test_a_path_out_of_the_folder_is_refused(tmp_path, pack, path):
    rejection = rejection_of(pack(tmp_path / "a", {**GOOD, path: encoded(noise())}))
    assert rejection.code == "unsafe_path"
    assert PATHS[path] in rejection.detail
    assert rejection.member is not None
    assert rejection.member.isprintable()


def test_backslashes_are_separators(tmp_path):
    path = zipped(tmp_path / "a.zip", {name.replace("/", "\\"): data for name, data in GOOD.items()})
    assert run(path, SPEC, tmp_path / "target", ALONE).classes == ("cat", "dog")


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE])
@pytest.mark.parametrize("form", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
def test_links_and_devices_in_a_tar_are_refused(tmp_path, kind, form):
    tarred(tmp_path / "a.tar", GOOD, format_=form)
    member = tarfile.TarInfo("cat/link.png")
    member.type, member.linkname = kind, "/etc/passwd"
    with tarfile.open(tmp_path / "a.tar", "a", format=form) as archive:
        archive.addfile(member)
    refuse(tmp_path / "a.tar", "unsafe_member", "cat/link.png")


def test_a_link_in_a_zip_is_refused(tmp_path):
    link = zipfile.ZipInfo("cat/link.png")
    link.create_system, link.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(link, "/etc/passwd")
    refuse(tmp_path / "a.zip", "unsafe_member", "cat/link.png")


def test_names_that_are_not_utf8_are_refused(tmp_path):
    raw = zipped(tmp_path / "a.zip", {"cat/abc.png": encoded(noise()), **GOOD}).read_bytes()
    (tmp_path / "b.zip").write_bytes(raw.replace(b"cat/abc.png", b"cat/\xe9\xffc.png"))
    assert refuse(tmp_path / "b.zip", "name_not_utf8", "cat/\\xe9\\xffc.png")
    with tarfile.open(tmp_path / "c.tar", "w", encoding="latin-1", format=tarfile.GNU_FORMAT) as archive:
        archive.addfile(tarfile.TarInfo("chien à poil/1.png"))
    assert rejection_of(tmp_path / "c.tar").code == "name_not_utf8"


@pytest.mark.filterwarnings("ignore:Duplicate name:UserWarning")
def test_duplicate_members_are_refused(tmp_path):
    files = [*GOOD.items(), ("cat/000.png", encoded(noise(seed=7)))]
    refuse(zipped(tmp_path / "a.zip", files), "duplicate_member", "cat/000.png")


def test_more_members_than_two_bytes_can_count_are_counted(tmp_path):
    data, directory = bytearray(), bytearray()
    for number in range(66_000):
        name = b"%d.txt" % number
        directory += struct.pack(
            "<4s6H3I5H2I", b"PK\x01\x02", 20, 20, 0, 0, 0, 0, 0, 0, 0, len(name), 0, 0, 0, 0, 0, len(data)
        )
        directory += name
        data += struct.pack("<4s5H3I2H", b"PK\x03\x04", 20, 0, 0, 0, 0, 0, 0, 0, len(name), 0) + name
    # Two bytes cannot count these entries, so the numbers are in the end record for 64 bits.
    sizes = (66_000, 66_000, len(directory), len(data))
    end = struct.pack("<4sQ2H2I4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, *sizes)
    end += struct.pack("<4sIQI", b"PK\x06\x07", 0, len(data) + len(directory), 1)
    end += struct.pack("<4s4H2IH", b"PK\x05\x06", 0, 0, 0xFFFF, 0xFFFF, len(directory), len(data), 0)
    (tmp_path / "a.zip").write_bytes(data + directory + end)
    # Tracing memory would take most of the time here.
    assert rejection_of(tmp_path / "a.zip").code == "no_images"
    limits = IngestLimits(processes=1, members=65_999)
    assert rejection_of(tmp_path / "a.zip", limits=limits).code == "too_many_members"


# --- what zipfile and tarfile would follow, guess or ignore -------------------------------------------


def header(name: str, kind: bytes = b"0", size: int = 0) -> bytes:
    """Make a tar header; a negative size is a binary number, which only the newest libraries refuse."""
    member = tarfile.TarInfo(name)
    member.type, member.size = kind, max(size, 0)
    raw = bytearray(member.tobuf(tarfile.GNU_FORMAT))
    if size < 0:
        raw[124:136] = b"\xff" + size.to_bytes(11, "big", signed=True)
        raw[148:156] = b" " * 8
        raw[148:156] = b"%06o\0 " % sum(raw)
    return bytes(raw)


END_OF_TAR = bytes(1024)


@pytest.mark.parametrize("kind", [tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK, tarfile.XHDTYPE, tarfile.XGLTYPE])
def test_a_header_in_a_tar_that_claims_a_gigabyte_is_refused_before_it_is_read(tmp_path, kind):
    with (tmp_path / "a.tar").open("wb") as file:
        file.write(header("x", kind, 1024 * MIB))
        file.truncate(1025 * MIB)  # a sparse file of the full size
    assert "larger than 64.0 KiB" in refuse(tmp_path / "a.tar", "archive_damaged").detail


@pytest.mark.parametrize("kind", [b"0", tarfile.GNUTYPE_LONGNAME, tarfile.XHDTYPE])
def test_a_negative_size_in_a_tar_is_refused(tmp_path, kind):
    good = tarred(tmp_path / "good.tar", GOOD).read_bytes()[:-10240]
    (tmp_path / "a.tar").write_bytes(good + header("cat/x.png", kind, -1024) + END_OF_TAR)
    assert rejection_of(tmp_path / "a.tar").code == "archive_damaged"


def test_a_chain_of_long_names_is_refused(tmp_path):
    long_name = header("x", tarfile.GNUTYPE_LONGNAME, 4) + b"abc\0".ljust(512, b"\0")
    (tmp_path / "a.tar").write_bytes(5000 * long_name + header("cat/x.png") + END_OF_TAR)
    refuse(tmp_path / "a.tar", "archive_damaged")


def test_an_endless_sparse_map_is_refused(tmp_path):
    first = bytearray(header("cat/x.png", tarfile.GNUTYPE_SPARSE))
    first[482] = 1  # more of the map follows
    first[148:156] = b" " * 8
    first[148:156] = b"%06o\0 " % sum(first)
    more = (b"%011o\0" % 512 * 2) * 21
    (tmp_path / "a.tar").write_bytes(first + more.ljust(504, b"\0") + b"\1" * 8 + (more + b"\1" * 8) * 100_000)
    refuse(tmp_path / "a.tar", "archive_damaged")


def test_no_image_is_lost_after_a_broken_header(tmp_path):
    """tarfile silently takes such a header for the end."""
    raw = bytearray(tarred(tmp_path / "good.tar", GOOD).read_bytes())
    raw[raw.index(b"dog/001.png")] ^= 1
    (tmp_path / "a.tar").write_bytes(raw)
    with tarfile.open(tmp_path / "a.tar") as archive:
        assert 0 < len(archive.getnames()) < len(GOOD)
    assert "header at byte" in refuse(tmp_path / "a.tar", "archive_damaged").detail


def test_a_zip_that_declares_fewer_members_than_it_has_does_not_pass_the_limit(tmp_path):
    raw = bytearray(zipped(tmp_path / "a.zip", GOOD).read_bytes())
    struct.pack_into("<2H", raw, raw.rindex(b"PK\x05\x06") + 8, 2, 2)
    (tmp_path / "a.zip").write_bytes(raw)
    refuse(tmp_path / "a.zip", "too_many_members", limits=IngestLimits(processes=1, members=7))


def test_a_zip_of_a_million_members_takes_little_memory_if_a_thousand_are_allowed(tmp_path):
    entry = struct.pack("<4s6H3I5H2I", b"PK\x01\x02", 20, 20, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0) + b"x"
    local = struct.pack("<4s5H3I2H", b"PK\x03\x04", 20, 0, 0, 0, 0, 0, 0, 0, 1, 0) + b"x"
    end = struct.pack("<4s4H2IH", b"PK\x05\x06", 0, 0, 1, 1, len(entry) * 1_000_000, len(local), 0)
    (tmp_path / "a.zip").write_bytes(local + entry * 1_000_000 + end)
    refuse(tmp_path / "a.zip", "too_many_members", limits=IngestLimits(processes=1, members=1_000))


def test_a_zip_whose_directory_starts_before_the_file_is_refused(tmp_path):
    path = zipped(tmp_path / "a.zip", GOOD)
    content = bytearray(path.read_bytes())
    place = content.rindex(b"PK\x05\x06") + 16  # where the end record says that the directory begins
    content[place : place + 4] = struct.pack("<I", struct.unpack_from("<I", content, place)[0] + 17)
    path.write_bytes(content)
    refuse(path, "archive_damaged")


def test_a_zip_of_several_volumes_is_refused(tmp_path):
    raw = bytearray(zipped(tmp_path / "a.zip", GOOD).read_bytes())
    raw[raw.index(b"PK\x01\x02") + 34] = 1
    (tmp_path / "a.zip").write_bytes(raw)
    assert "volumes" in refuse(tmp_path / "a.zip", "unsupported_archive").detail


def test_a_name_with_a_zero_byte_is_refused(tmp_path):
    raw = zipped(tmp_path / "a.zip", {"cat/x.pngabc": encoded(noise()), **GOOD}).read_bytes()
    (tmp_path / "b.zip").write_bytes(raw.replace(b"cat/x.pngabc", b"cat/x.png\0bc"))
    refuse(tmp_path / "b.zip", "unsafe_path", "cat/x.png\\x00bc")


# --- bombs ---------------------------------------------------------------------------------------


def test_a_member_that_unpacks_to_far_too_much_is_refused(tmp_path):
    refuse(zipped(tmp_path / "a.zip", {**GOOD, "cat/b.bmp": bytes(50 * MIB)}), "archive_bomb", "cat/b.bmp")


def test_many_members_that_together_unpack_to_far_too_much_are_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for number in range(40):
            archive.writestr(f"cat/{number}.bmp", bytes(9 * MIB))
    refuse(tmp_path / "a.zip", "archive_bomb")


def test_a_bomb_in_a_zip_in_a_zip_is_refused(tmp_path):
    inner = zipped(tmp_path / "in.zip", {"cat/b.bmp": bytes(50 * MIB)}).read_bytes()
    refuse(zipped(tmp_path / "a.zip", {"in.zip": inner}), "archive_bomb", "cat/b.bmp")


def test_a_tar_gz_that_unpacks_to_far_too_much_is_refused(tmp_path):
    with gzip.open(tmp_path / "a.tar.gz", "wb", compresslevel=1) as file:
        file.write(tarred(tmp_path / "good.tar", GOOD).read_bytes()[:-1024])
        for _ in range(200):
            file.write(bytes(MIB))
    refuse(tmp_path / "a.tar.gz", "archive_bomb")


def test_members_that_share_bytes_are_refused(tmp_path):
    """All entries of the directory point to the same member, so little data unpacks to much."""
    raw = zipped(tmp_path / "a.zip", {"cat/000.png": encoded(noise())}).read_bytes()
    at = raw.index(b"PK\x01\x02")
    end = raw.index(b"PK\x05\x06")
    entries = b"".join(raw[at:end].replace(b"cat/000.png", b"cat/%03d.png" % number) for number in range(100))
    tail = struct.pack("<4s4H2IH", b"PK\x05\x06", 0, 0, 100, 100, len(entries), at, 0)
    (tmp_path / "b.zip").write_bytes(raw[:at] + entries + tail)
    refuse(tmp_path / "b.zip", "archive_bomb")


def test_a_member_longer_than_it_declares_is_not_unpacked(tmp_path):
    raw = bytearray(zipped(tmp_path / "a.zip", {**GOOD, "cat/x.png": bytes(9 * MIB)}).read_bytes())
    at = raw.rindex(b"cat/x.png") - 46
    struct.pack_into("<I", raw, at + 24, 100)
    (tmp_path / "b.zip").write_bytes(raw)
    refuse(tmp_path / "b.zip", "archive_damaged", "cat/x.png")


def test_a_small_file_that_declares_a_huge_array_is_refused(tmp_path):
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "|u1", "fortran_order": False, "shape": (2**40, 512, 512)})
    labels = io.BytesIO()
    np.save(labels, np.zeros(4))
    refuse(zipped(tmp_path / "a.npz", {"x.npy": header.getvalue(), "y.npy": labels.getvalue()}), "bad_array", "x")


def test_an_array_that_would_be_huge_is_refused_before_it_is_unpacked(tmp_path):
    np.savez_compressed(tmp_path / "a.npz", x=np.zeros((2000, 100, 100), np.uint8), y=np.arange(2000) % 2)
    refuse(tmp_path / "a.npz", "archive_bomb", "x.npy")
    np.savez_compressed(tmp_path / "b.npz", x=noise((2000, 32, 32)), y=np.arange(2000) % 2)
    refuse(tmp_path / "b.npz", "normalised_too_large", limits=IngestLimits(processes=1, normalised_bytes=MIB))


@pytest.mark.parametrize(
    "header",
    [
        b"{" * 5000,
        b"(" * 9000,
        b"{'descr': 'O', 'fortran_order': False, 'shape': (1, 12, 10)}",
        b"{'descr': '|u1', 'fortran_order': False, 'shape': (-1, 12, 10)}",
        b"{'descr': '|u1', 'fortran_order': False, 'shape': (True, 12, 10)}",
        b"{'descr': [('a', 'O')], 'fortran_order': False, 'shape': (1,)}",
        b"{'descr': '|V0', 'fortran_order': False, 'shape': (9999999999999,)}",
        b"__import__('os').abort()",
        b"x" * 60_000,
    ],
    ids=lambda header: header[:60].decode(),
)
def test_the_header_of_an_array_is_never_evaluated(tmp_path, header):
    array = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + bytes(120)
    path = zipped(tmp_path / "a.npz", {"x.npy": array, "y.npy": array})
    rejection = rejection_of(path)
    assert rejection.code in ("bad_array", "pickle_refused", "bad_labels")
    assert " object at 0x" not in str(rejection)


def test_pickles_are_never_loaded(tmp_path):
    class Harm:
        def __reduce__(self):
            return pytest.fail, ("unpickled",)

    refuse(npz(tmp_path / "a.npz", **(arrays_of(4) | {"extra": np.array([Harm()], object)})), "pickle_refused", "extra")


# --- images --------------------------------------------------------------------------------------


def chunk(kind: bytes, data: bytes) -> bytes:
    return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")


def png(width: int, height: int, *chunks: bytes) -> bytes:
    header = chunk(b"IHDR", struct.pack(">2I5B", width, height, 8, 0, 0, 0, 0))
    rows = zlib.compress(b"".join(bytes(11) for _ in range(12)))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(chunks) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def make_claiming(format_: str) -> bytes:
    """Make a small image file whose header claims more than a gigapixel."""
    data = bytearray(encoded(noise((12, 10, 3)), format_))
    if format_ == "JPEG":
        struct.pack_into(">2H", data, data.index(b"\xff\xc0") + 5, 65_000, 65_000)
    elif format_ == "BMP":
        struct.pack_into("<2i", data, 18, 40_000, 40_000)
    else:
        canvas = (0xFFFFFF).to_bytes(3, "little") + (0xFF).to_bytes(3, "little")
        body = data[12:]
        data = bytearray(
            b"RIFF" + (len(body) + 22).to_bytes(4, "little") + b"WEBPVP8X\x0a\0\0\0\0\0\0\0" + canvas + body
        )
    return bytes(data)


@pytest.mark.parametrize(
    "data",
    [
        png(50_000, 50_000),
        png(2**31 - 1, 2**31 - 1),
        make_claiming("JPEG"),
        make_claiming("WEBP"),
        make_claiming("BMP"),
    ],
    ids=["png", "largest png", "jpeg", "webp", "bmp"],
)
def test_a_header_that_claims_gigapixels_is_refused(tmp_path, data):
    refuse(zipped(tmp_path / "a.zip", {**GOOD, "cat/x.png": data}), "image_too_large", "cat/x.png")


@pytest.mark.parametrize(
    ("kind", "before"),
    [(b"iCCP", b"x\0\0"), (b"zTXt", b"x\0\0"), (b"iTXt", b"x\0\1\0\0\0")],
    ids=["iCCP", "zTXt", "iTXt"],
)
def test_a_bomb_in_the_metadata_of_an_image_is_refused(tmp_path, bomb, kind, before):
    hidden = png(10, 12, chunk(kind, before + bomb))
    refuse(zipped(tmp_path / "a.zip", {**GOOD, "cat/x.png": hidden}), "image_bomb", "cat/x.png")


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "unreadable_member"),
        (b"not an image", "unreadable_member"),
        (encoded(noise(), "GIF"), "unsupported_image"),
        (encoded(noise(), "TIFF"), "unsupported_image"),
        (b"\0\0\0\x20ftypavif", "unsupported_image"),
        (encoded(noise((120, 100)))[:4000], "image_truncated"),
        (encoded(noise((120, 100)), "JPEG")[:-800], "image_truncated"),
        (encoded(noise((120, 100, 3)), "WEBP")[:-100], "unreadable_member"),
        (encoded(noise((120, 100)), "BMP")[:-100], "image_truncated"),
        (b"\x89PNG\r\n\x1a\n", "unreadable_member"),
        (with_scans(40_000), "image_bomb"),
    ],
    ids=["empty", "text", "gif", "tiff", "avif", "cut png", "cut jpeg", "cut webp", "cut bmp", "magic alone", "scans"],
)
def test_an_incomplete_or_unsupported_image_is_named(tmp_path, data, code):
    refuse(zipped(tmp_path / "a.zip", {**GOOD, "cat/x.png": data}), code, "cat/x.png")


def test_a_wrong_extension_does_not_matter(tmp_path):
    target = tmp_path / "target"
    content = run(zipped(tmp_path / "a.zip", {**GOOD, "cat/x.png": encoded(noise(), "JPEG")}), SPEC, target, ALONE)
    assert add_audit(content, target).source["encodings"] == {"JPEG L": 1, "PNG L": 8}


# --- other files ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "is empty"),
        (b"hello, world", "begins with 68 65"),
        (b"\x93NUMPY\x01\x00", "numpy.savez"),
        (b"Rar!\x1a\x07\x00", "use zip"),
        (b"\xfd7zXZ\0", "use gzip"),
        (b"\x80\x04\x95", "a pickle"),
        (encoded(noise()), "one image"),
        (gzip.compress(b"no tar", mtime=0), "holds no tar"),
    ],
    ids=["empty", "text", "one array", "rar", "xz", "pickle", "one image", "gzip of no tar"],
)
def test_a_file_that_is_not_an_archive_is_described(tmp_path, data, says):
    (tmp_path / "a").write_bytes(data)
    assert says in refuse(tmp_path / "a", "not_an_archive").detail


def test_an_encrypted_zip_is_refused(tmp_path):
    raw = bytearray(zipped(tmp_path / "a.zip", GOOD).read_bytes())
    raw[raw.index(b"PK\x01\x02") + 8] |= 1
    (tmp_path / "a.zip").write_bytes(raw)
    refuse(tmp_path / "a.zip", "unsupported_archive", "cat/000.png")


@pytest.mark.parametrize("pack", [zipped, tarred])
def test_an_archive_truncated_anywhere_is_refused(tmp_path, pack):
    raw = pack(tmp_path / "whole", GOOD).read_bytes()
    for end in range(len(raw) - 1, 0, -len(raw) // 40):
        (tmp_path / f"{end}").write_bytes(raw[:end])
        if pack is tarred and not any(raw[end:]):
            continue  # only padding is missing
        assert rejection_of(tmp_path / f"{end}").code in ("archive_damaged", "not_an_archive")


@pytest.mark.parametrize(
    ("limits", "code"),
    [
        (IngestLimits(processes=1, upload_bytes=1000), "upload_too_large"),
        (IngestLimits(processes=1, unpacked_bytes=1000), "unpacked_too_large"),
        (IngestLimits(processes=1, normalised_bytes=900), "normalised_too_large"),
        (IngestLimits(processes=1, members=7), "too_many_members"),
        (IngestLimits(processes=1, member_bytes=150), "member_too_large"),
        (IngestLimits(processes=1, pixels=100), "image_too_large"),
        (IngestLimits(processes=1, classes=1), "too_many_classes"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_an_exceeded_limit_is_named(tmp_path, limits, code):
    rejection = rejection_of(zipped(tmp_path / "a.zip", GOOD), limits=limits)
    assert rejection.code == code
    assert any(char.isdigit() for char in rejection.detail)


def test_existing_files_in_the_target_are_not_touched(tmp_path):
    (tmp_path / "target").mkdir()
    (tmp_path / "target" / "mine").write_text("x")
    with pytest.raises(ValueError, match="not empty"):
        run(zipped(tmp_path / "a.zip", GOOD), SPEC, tmp_path / "target", ALONE)
    assert (tmp_path / "target" / "mine").read_text() == "x"


def test_a_rejection_can_be_sent_between_processes():
    rejection = Rejection(RejectionCode.IMAGE_TRUNCATED, "cat/1.png ends early.", "cat/1.png")
    received = pickle.loads(pickle.dumps(rejection))
    assert received.as_json() == rejection.as_json()
    assert received.code is RejectionCode.IMAGE_TRUNCATED
