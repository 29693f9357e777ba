"""Any damaged or invented upload is either accepted or refused with a code."""

import io
import struct
import tarfile
import zipfile
import zlib

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import assume, event, example, given, settings
from hypothesis import strategies as st
from PIL import Image

from heldout.lifecycle.resources import RejectionCode
from tests.worker.ingest.sources.test_formats import table
from tests.worker.ingest.uploads import ALONE, SPEC, arrays_of, encoded, noise, npz, pictures, tarred, zipped
from worker.ingest.archives.members import make_safe
from worker.ingest.images.decode import DepthFound, OpenedImage, OtherSize, TargetShape
from worker.ingest.pipeline import run
from worker.ingest.rejection import IngestLimits, Rejection

BYTES = st.sampled_from([0, 1, 127, 128, 255]) | st.integers(0, 255)
bounded = settings(max_examples=25)


ANYWHERE = st.integers(0, 2**20)
# Places with new bytes, and where the file is truncated, if anywhere. They are drawn before its size is known.
DAMAGES = st.tuples(st.lists(st.tuples(ANYWHERE, BYTES), max_size=4), st.none() | ANYWHERE)


def damage_bytes(data: bytes, damage) -> bytes:
    places, end = damage
    changed = bytearray(data)
    for place, byte in places:
        changed[place % len(data)] = byte
    return bytes(changed if end is None else changed[: 1 + end % len(data)])


@pytest.fixture(scope="module")
def outcome(tmp_path_factory):
    """Ingest bytes; check that no files are left, and return the code of the rejection or `taken`."""
    folder = tmp_path_factory.mktemp("outcome")

    def ingest(data: bytes, limits: IngestLimits = ALONE) -> str:
        for path in folder.glob("target/**/*"):
            if path.is_file():
                path.unlink()
        for path in sorted(folder.glob("target/**"), reverse=True):
            path.rmdir()
        (folder / "upload").write_bytes(data)
        rejection = None
        try:
            run(folder / "upload", SPEC, folder / "target", limits)
        except Rejection as caught:
            rejection = caught
        assert {path.name for path in folder.iterdir()} == {"upload", "target"}
        event(rejection.code if rejection else "taken")
        if rejection is None:
            return "taken"
        assert isinstance(rejection.code, RejectionCode)
        assert rejection.detail
        assert rejection.member is None or rejection.member.isprintable()
        assert not any((folder / "target").iterdir())
        return rejection.code

    return ingest


# --- damaged real archives ----------------------------------------------------------------------


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Valid uploads of each format."""
    folder = tmp_path_factory.mktemp("whole")
    files = pictures(3)
    pq.write_table(table(files), folder / "parquet")
    np.savez_compressed(folder / "packed.npz", **arrays_of(12))
    return {
        "zip": zipped(folder / "zip", files).read_bytes(),
        "stored": zipped(folder / "stored", files, zipfile.ZIP_STORED).read_bytes(),
        "tar": tarred(folder / "tar", files).read_bytes(),
        "tar.gz": tarred(folder / "tar.gz", files, "w:gz").read_bytes(),
        "npz": npz(folder / "a.npz", **arrays_of(12)).read_bytes(),
        "packed npz": (folder / "packed.npz").read_bytes(),
        "parquet": (folder / "parquet").read_bytes(),
    }


KINDS = ["zip", "stored", "tar", "tar.gz", "npz", "packed npz", "parquet"]


@pytest.mark.parametrize("kind", KINDS)
@bounded
@given(damage=DAMAGES)
def test_a_damaged_upload_is_accepted_or_refused(whole, outcome, kind, damage):
    outcome(damage_bytes(whole[kind], damage))


@pytest.mark.proof
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("kind", KINDS)
@settings(bounded, max_examples=1000)
@given(damage=DAMAGES)
def test_an_upload_damaged_in_a_thousand_ways_is_accepted_or_refused(whole, outcome, kind, damage):
    outcome(damage_bytes(whole[kind], damage))


@bounded
@given(of_header=DAMAGES, of_labels=DAMAGES)
def test_damage_in_an_array_is_detected_without_the_checksums_of_the_zip(outcome, of_header, of_labels):
    array = io.BytesIO()
    np.save(array, noise((12, 12, 10)))
    labels = io.BytesIO()
    np.save(labels, np.array(["cat", "dog"] * 6))
    files = {
        "x.npy": damage_bytes(array.getvalue()[:128], of_header) + array.getvalue()[128:],
        "y.npy": damage_bytes(labels.getvalue(), of_labels),
    }
    outcome(zip_of(files))


# --- invented archives ---------------------------------------------------------------------------

USUAL_PARTS, ODD_PARTS = ["cat", "dog", "train", "test"], ["..", ".", "", "~", "C:", "\\", "con", "a\0b", "__MACOSX"]
PARTS = st.sampled_from([*USUAL_PARTS, *ODD_PARTS, "é", "e\u0301", "x" * 300])
NAMES = st.lists(PARTS, min_size=1, max_size=5).map("/".join) | st.text(max_size=30)
ENDINGS = st.sampled_from([".png", ".PNG", ".jpg", ".txt", ".npy", ".parquet", ".gif", "", "/"])
CONTENTS = st.sampled_from(
    [encoded(noise()), encoded(noise((12, 10, 3), 1)), encoded(noise((8, 8), 2), "JPEG"), b"", b"x"]
)
MEMBERS = st.lists(st.tuples(st.builds(str.__add__, NAMES, ENDINGS), CONTENTS), max_size=8)


@example(name="./C:/x.png")
@given(name=st.builds(str.__add__, NAMES, ENDINGS))
def test_a_name_is_made_safe_once_or_refused(name):
    try:
        found = make_safe(name)
    except Rejection as rejection:
        event(rejection.code)
        return
    assert not found.startswith("/")
    assert not {"..", "."} & set(found.split("/"))
    assert "\\" not in found
    assert not any(ord(char) < 32 for char in found)
    assert make_safe(found) == found


def zip_of(files) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return file.getvalue()


@bounded
@given(members=MEMBERS)
def test_a_zip_with_any_names_is_accepted_or_refused(outcome, members):
    # zipfile ends a name at a zero and cannot write an empty name. All other names are kept.
    names = {name.encode("utf-8", "replace").decode().split("\0")[0]: content for name, content in members}
    outcome(zip_of({name: content for name, content in names.items() if name}))


@bounded
@given(members=MEMBERS, kinds=st.lists(st.sampled_from([b"0", b"1", b"2", b"5", b"6", b"7", b"S", b"\0"]), min_size=8))
def test_a_tar_with_any_names_and_kinds_is_accepted_or_refused(outcome, members, kinds):
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        for (name, content), kind in zip(members, kinds, strict=False):
            member = tarfile.TarInfo(name.encode("utf-8", "replace").decode().replace("\0", ""))
            member.size, member.type, member.linkname = len(content), kind, "../../etc/passwd"
            archive.addfile(member, io.BytesIO(content))
    outcome(file.getvalue())


@bounded
@given(
    shape=st.lists(st.integers(-2, 40) | st.integers(2**31, 2**70), max_size=5).map(tuple),
    type_=st.sampled_from(["|u1", "<f4", ">f8", "|O", "|b1", "<U7", "|S3", "<c8", "<M8[s]", "|V4", "<i8", "<f2"]),
    is_fortran=st.booleans(),
    size=st.integers(0, 20_000),
)
def test_an_array_of_any_shape_and_type_is_accepted_or_refused(outcome, shape, type_, is_fortran, size):
    header = repr({"descr": type_, "fortran_order": is_fortran, "shape": shape}).encode()
    assume(len(header) < 60_000)
    array = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + bytes(range(256)) * (size // 256 + 1)
    labels = io.BytesIO()
    np.save(labels, np.arange(12) % 2)
    for files in ({"x.npy": array, "y.npy": labels.getvalue()}, {"y.npy": array, "x.npy": labels.getvalue()}):
        assert outcome(zip_of(files)) != "out_of_memory"


# --- images --------------------------------------------------------------------------------------

COLOR = noise((24, 20, 3))
IMAGES = [
    encoded(noise((24, 20))),
    encoded(np.dstack([COLOR, noise((24, 20), 1)])),
    encoded(Image.fromarray(COLOR).quantize(8)),
    encoded(noise((24, 20)).astype(np.uint16) * 200),
    encoded(COLOR, "JPEG"),
    encoded(COLOR, "JPEG", progressive=True),
    encoded(Image.fromarray(COLOR).convert("CMYK"), "JPEG"),
    encoded(COLOR, "WEBP"),
    encoded(COLOR, "WEBP", lossless=True),
    encoded(COLOR, "BMP"),
    encoded(noise((24, 20)), "BMP"),
]


@pytest.mark.filterwarnings("ignore::UserWarning")
@settings(max_examples=200)
@given(data=st.data())
def test_a_damaged_image_is_decoded_or_refused(data):
    image = data.draw(st.sampled_from(IMAGES))
    changed = damage_bytes(image, data.draw(DAMAGES))
    if data.draw(st.booleans()):
        changed = fix_checksums(changed)
    wanted = TargetShape(
        16, 16, data.draw(st.sampled_from([1, 3])), data.draw(st.sampled_from(["pad", "crop", "stretch", None]))
    )
    limits = IngestLimits(pixels=1_000_000)
    try:
        found = OpenedImage(changed, "a.png", limits).decode(wanted, any_grey=True)
    except Rejection as rejection:
        event(rejection.code)
    except OtherSize:
        event("another size")
    except DepthFound:  # the upload is then decoded to 16 bits per channel
        event("16 bits")
    else:
        assert len(found) == 16 * 16 * wanted.channels


def fix_checksums(data: bytes) -> bytes:
    """Give a damaged PNG valid checksums; return other files unchanged."""
    if data[:4] != b"\x89PNG":
        return data
    found, at = bytearray(data[:8]), 8
    while at + 12 <= len(data):
        length = int.from_bytes(data[at : at + 4], "big")
        if at + 12 + length > len(data):
            break
        body = data[at + 4 : at + 8 + length]
        found += data[at : at + 4] + body + zlib.crc32(body).to_bytes(4, "big")
        at += 12 + length
    return bytes(found + data[at:])


@settings(max_examples=100)
@given(
    width=st.integers(0, 2**32 - 1),
    height=st.integers(0, 2**32 - 1),
    depth=st.sampled_from([1, 2, 4, 8, 16]),
    kind=st.integers(0, 7),
)
def test_any_header_of_a_png_is_refused_before_memory_is_allocated(width, height, depth, kind):
    body = b"IHDR" + struct.pack(">2I5B", width, height, depth, kind, 0, 0, 0)
    data = b"\x89PNG\r\n\x1a\n" + (13).to_bytes(4, "big") + body + zlib.crc32(body).to_bytes(4, "big")
    with pytest.raises(Rejection) as caught:
        OpenedImage(data, "a.png", IngestLimits(pixels=1_000_000)).decode(TargetShape(16, 16, 1, "pad"), any_grey=True)
    assert caught.value.code in ("image_too_large", "unreadable_member", "image_truncated")
