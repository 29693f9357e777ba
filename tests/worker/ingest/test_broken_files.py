"""All broken files are named together; the spec can ask to skip them."""

import stat
import zipfile

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from analysis.arrays.dataset import load
from heldout.spec.dataset import DatasetSpec
from tests.worker.ingest.sources.test_formats import table
from tests.worker.ingest.uploads import encoded, noise, pictures, rejection_of, taken, tarred, zipped
from worker.ingest.rejection import IngestLimits

SKIPPING = DatasetSpec(name="pets", skip_broken=True)
PNG = encoded(noise((40, 40)))
FRAMES = encoded(Image.fromarray(noise()), "WEBP", save_all=True, append_images=[Image.fromarray(noise(seed=1))])
BROKEN = {
    "cat/000.png": b"",  # the very first image
    "cat/broken.png": b"\x89PNG\r\n\x1a\n and then nothing",
    "dog/cut.png": PNG[: len(PNG) // 2],
    "dog/frames.webp": FRAMES,
    "dog/text.jpg": b"not a picture",
}


@pytest.mark.parametrize("processes", [1, 3])
def test_all_broken_files_are_named_together_with_their_faults(tmp_path, processes):
    files = pictures(600) | BROKEN
    rejection = rejection_of(zipped(tmp_path / "a.zip", files), limits=IngestLimits(processes=processes))
    assert (rejection.code, rejection.member) == ("unreadable_member", "cat/000.png")
    assert rejection.detail.startswith("5 files cannot be read: ")
    for name in BROKEN:
        assert repr(name) in rejection.detail
    assert "cut off (1): 'dog/cut.png'" in rejection.detail
    assert "`--skip-broken`" in rejection.detail


@pytest.mark.parametrize("processes", [1, 3])
def test_skipping_broken_files_gives_the_dataset_without_them(tmp_path, processes):
    whole = pictures(600)
    del whole["cat/000.png"]
    expected, clean = taken(zipped(tmp_path / "clean.zip", whole))
    report, target = taken(zipped(tmp_path / "a.zip", whole | BROKEN), SKIPPING, IngestLimits(processes=processes))
    assert report.sha256 == expected.sha256
    assert report.source["encodings"] == expected.source["encodings"]
    left_out = {part["what"].partition(", ")[2]: part["names"] for part in report.source["left_out"]}
    assert sorted(name for names in left_out.values() for name in names) == sorted(BROKEN)
    assert left_out["of several frames"] == ["dog/frames.webp"]
    np.testing.assert_array_equal(np.load(target / "images.npy"), np.load(clean / "images.npy"))
    assert (target / "members.txt").read_text() == (clean / "members.txt").read_text()
    assert (target / "images.npy").read_bytes() == (clean / "images.npy").read_bytes()


def test_groups_are_counted_without_broken_files(tmp_path):
    spec = DatasetSpec(name="pets", skip_broken=True, group_by=r"/(\d+|[a-z]+)\.")
    report, _ = taken(zipped(tmp_path / "a.zip", pictures(10, shape=(12, 10)) | {"cat/lone.png": b""}), spec)
    assert report.source["groups"] == 10


def test_images_of_unsupported_formats_are_named_together_and_can_be_skipped(tmp_path):
    files = pictures(10) | {f"cat/x{number}.gif": encoded(noise(), "GIF") for number in range(3)}
    rejection = rejection_of(zipped(tmp_path / "a.zip", files))
    assert rejection.code == "unsupported_image"
    assert rejection.detail.startswith("3 files cannot be read: of an unsupported format (3): 'cat/x0.gif', ")
    report, _ = taken(zipped(tmp_path / "b.zip", files), SKIPPING)
    assert report.source["left_out"][0]["count"] == 3


def test_an_upload_with_only_broken_files_is_always_refused(tmp_path):
    files = dict.fromkeys(pictures(10), b"x")
    rejection = rejection_of(zipped(tmp_path / "a.zip", files), SKIPPING)
    assert rejection.code == "unreadable_member"
    assert rejection.detail.startswith("20 files cannot be read")
    assert "skip" not in rejection.detail


def test_broken_rows_of_a_table_are_skipped(tmp_path):
    files = pictures(10)
    files["cat/000.png"] = b"x"
    pq.write_table(table(files), tmp_path / "a.parquet")
    report, target = taken(tmp_path / "a.parquet", SKIPPING)
    assert report.source["left_out"][0]["names"] == ["cat-000.png"]
    assert len(load(target).labels) == 19


def test_rows_of_a_table_without_an_image_are_broken_files_unless_all_lack_one(tmp_path):
    def write_table(*without):
        files = pictures(10)
        path = tmp_path / f"{len(without)}.parquet"
        pq.write_table(table(files | dict.fromkeys(without or files)), path)
        return path

    rejection = rejection_of(write_table("cat/001.png", "dog/000.png"))
    expected = "2 files cannot be read: not an image, or broken (2): 'cat-001.png', 'dog-000.png'"
    assert rejection.detail.startswith(expected)
    report, _ = taken(write_table("cat/001.png"), SKIPPING)
    assert report.source["images"] == 19
    assert "Embed the files" in rejection_of(write_table()).detail


def test_faults_of_members_and_of_images_are_listed_and_skipped_together(tmp_path):
    """The upload has a wrong checksum, a file that is too large, a link, and files that cannot be decoded."""
    files = pictures(10) | {"cat/big.bmp": encoded(noise((40, 40)), "BMP"), "dog/x.gif": encoded(noise(), "GIF")}
    path = zipped(tmp_path / "a.zip", files | {"dog/empty.png": b""}, zipfile.ZIP_STORED)
    with zipfile.ZipFile(path, "a") as archive:
        link = zipfile.ZipInfo("dog/link.png")
        link.create_system, link.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, "000.png")
    path.write_bytes(path.read_bytes().replace(files["cat/003.png"], files["cat/003.png"][:-1] + b"\0"))
    limits = IngestLimits(processes=1, member_bytes=1000)
    rejection = rejection_of(path, limits=limits)
    assert rejection.detail.startswith("5 files cannot be read: ")
    names = ["cat/003.png", "cat/big.bmp", "dog/empty.png", "dog/link.png", "dog/x.gif"]
    assert all(repr(name) in rejection.detail for name in names)
    report, _ = taken(path, SKIPPING, limits)
    assert sorted(name for part in report.source["left_out"] for name in part["names"]) == names
    assert sum(counts["count"] for counts in report.splits.values()) == 19


@pytest.mark.parametrize("pack", [tarred, zipped])
def test_a_class_with_only_unreadable_files_is_refused_because_of_these_files(tmp_path, pack):
    files = pictures(10, ["cat"]) | {f"dog/{number}.gif": encoded(noise(), "GIF") for number in range(3)}
    assert rejection_of(pack(tmp_path / "a", files)).code == "unsupported_image"
    assert rejection_of(tmp_path / "a", SKIPPING).code == "too_few_classes"


def test_an_image_of_another_size_is_not_a_broken_file(tmp_path):
    files = pictures(10) | {"cat/small.png": encoded(noise((9, 9)))}
    assert rejection_of(zipped(tmp_path / "a.zip", files), SKIPPING).code == "mixed_sizes"


@pytest.mark.parametrize("processes", [1, 3])
def test_all_sizes_are_listed_with_their_counts_next_to_broken_files(tmp_path, processes):
    files = pictures(400) | {f"dog/z{number}.png": encoded(noise((9, 9), number)) for number in range(3)}
    files |= {"cat/wide.png": encoded(noise((12, 30))), "cat/broken.png": b""}
    rejection = rejection_of(zipped(tmp_path / "a.zip", files), limits=IngestLimits(processes=processes))
    assert (rejection.code, rejection.member) == ("mixed_sizes", "cat/wide.png")
    assert (
        "3 sizes (height×width): 800 of 12×10 (such as 'cat/000.png'), 3 of 9×9 (such as 'dog/z0.png'), 1 of 12×30"
        in rejection.detail
    )
    assert "`--resize 64x64`" in rejection.detail
    assert "'cat/broken.png' is empty" in rejection.detail
