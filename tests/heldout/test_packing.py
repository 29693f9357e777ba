"""Folders packed as tar archives, read by Python's own tar reader."""

import io
import os
import tarfile
import zipfile

import pytest

from heldout.client.packing import NothingToPack, list_files, list_hidden, pack_folder, pack_together, prepare_upload


@pytest.fixture
def folder(tmp_path):
    for name, content in {"b/2.png": b"two", "a/1.png": b"one", "a/deep/3.png": b"three", "é/ü.png": b""}.items():
        file = tmp_path / "pets" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    return tmp_path / "pets"


def unpacked(pieces) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(b"".join(pieces))) as archive:
        return {member.name: archive.extractfile(member).read() for member in archive}


def test_the_size_of_a_folder_s_archive_is_known_before_it_is_packed(folder):
    (folder / ("long" * 40)).write_bytes(b"x" * 700)
    pieces, size_bytes = prepare_upload([folder])
    assert size_bytes == sum(map(len, pieces))


def test_an_archive_contains_each_file_under_its_path(folder):
    files = list_files(folder)
    assert files == [("a/1.png", 3), ("a/deep/3.png", 5), ("b/2.png", 3), ("é/ü.png", 0)]
    assert unpacked(pack_folder(folder, files)) == {
        "a/1.png": b"one",
        "a/deep/3.png": b"three",
        "b/2.png": b"two",
        "é/ü.png": b"",
    }


def test_hidden_files_are_skipped_and_links_followed_but_not_in_circles(folder, tmp_path):
    (folder / ".DS_Store").write_bytes(b"x")
    (folder / ".git").mkdir()
    (folder / ".git" / "config").write_bytes(b"x")
    (folder / "a" / "linked.png").symlink_to(folder / "b" / "2.png")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "4.png").write_bytes(b"four")
    (folder / "c").symlink_to(tmp_path / "elsewhere")
    (folder / "a" / "loop").symlink_to(folder)
    files = list_files(folder)
    assert [name for name, _ in files] == ["a/1.png", "a/deep/3.png", "a/linked.png", "b/2.png", "c/4.png", "é/ü.png"]
    found = unpacked(pack_folder(folder, files))
    assert (found["a/linked.png"], found["c/4.png"]) == (b"two", b"four")


def test_a_broken_link_is_an_error(folder, tmp_path):
    (folder / "a" / "broken.png").symlink_to(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match=r"broken\.png"):
        list_files(folder)


def test_an_empty_subfolder_is_included(folder):
    (folder / "empty").mkdir()
    with tarfile.open(fileobj=io.BytesIO(b"".join(pack_folder(folder, list_files(folder))))) as archive:
        assert [member.name for member in archive if member.isdir()] == ["empty"]


def test_large_folders_are_packed_in_pieces(tmp_path):
    for number in range(30):
        (tmp_path / f"{number:02d}.bin").write_bytes(os.urandom(200_000))
    pieces = list(pack_folder(tmp_path, list_files(tmp_path)))
    assert max(map(len, pieces)) < 2_000_000
    assert len(unpacked(pieces)) == 30


def test_an_empty_folder_is_refused(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(NothingToPack):
        list_files(tmp_path)


def test_a_file_that_shrinks_during_packing_is_an_error(folder):
    files = list_files(folder)
    (folder / "b" / "2.png").write_bytes(b"")
    with pytest.raises(OSError, match="unexpected end"):
        list(pack_folder(folder, files))


# --- several paths -------------------------------------------------------------------------------


def test_folders_and_archives_are_packed_together_under_their_names(folder, tmp_path):
    with zipfile.ZipFile(tmp_path / "train.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/1.png", b"one" * 100_000)
        archive.writestr("a/empty/", b"")
    with tarfile.open(tmp_path / "test.tar.gz", "w:gz") as archive:
        for path in sorted(folder.rglob("*.png")):
            archive.add(path, path.relative_to(folder).as_posix())
    (tmp_path / "labels.csv").write_bytes(b"file,label\n")
    together = ["train.zip", "test.tar.gz", "pets", "labels.csv"]
    pieces = list(pack_together([tmp_path / name for name in together]))
    with tarfile.open(fileobj=io.BytesIO(b"".join(pieces))) as archive:
        found = {member.name: archive.extractfile(member).read() for member in archive if member.isfile()}
    of_folder = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*.png")}
    assert found == {
        "labels.csv": b"file,label\n",  # a table next to the images
        "train/a/1.png": b"one" * 100_000,
        **{f"test/{name}": data for name, data in of_folder.items()},
        **{f"pets/{name}": data for name, data in of_folder.items()},
    }


@pytest.mark.parametrize("kind", ["parquet", "npz"])
def test_files_of_one_split_each_are_packed_unchanged(tmp_path, kind):
    names = (f"train.{kind}", f"test.{kind}")
    for name in names:
        (tmp_path / name).write_bytes(name.encode())
    assert unpacked(pack_together([tmp_path / name for name in names])) == {name: name.encode() for name in names}


@pytest.mark.parametrize("other", ["pets.zip", "x.npz", "x.txt", "x.parquet"])
def test_paths_that_do_not_fit_together_are_refused(folder, tmp_path, other):
    with zipfile.ZipFile(tmp_path / other, "w") as archive:
        archive.writestr("1.png", b"one")
    if other == "x.txt":
        (tmp_path / other).write_bytes(b"text")
    with pytest.raises(NothingToPack):
        pack_together([folder, tmp_path / other])


def test_a_link_in_an_archive_is_refused(folder, tmp_path):
    with tarfile.open(tmp_path / "train.tar", "w") as archive:
        member = tarfile.TarInfo("a/1.png")
        member.type, member.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(member)
    with pytest.raises(NothingToPack, match="link"):
        pack_together([folder, tmp_path / "train.tar"])


def test_an_encrypted_archive_is_refused_and_a_damaged_member_is_named(folder, tmp_path):
    with zipfile.ZipFile(tmp_path / "train.zip", "w") as archive:
        archive.writestr("a/1.png", b"one" * 100)
    whole = (tmp_path / "train.zip").read_bytes()
    (tmp_path / "train.zip").write_bytes(whole.replace(b"one" * 100, b"two" * 100))
    with pytest.raises(NothingToPack, match=r"train/a/1\.png cannot be unpacked: Bad CRC"):
        list(pack_together([folder, tmp_path / "train.zip"]))
    directory = whole.index(b"PK\x01\x02")
    (tmp_path / "train.zip").write_bytes(whole[: directory + 8] + b"\1" + whole[directory + 9 :])
    with pytest.raises(NothingToPack, match="password"):
        pack_together([folder, tmp_path / "train.zip"])


def test_hidden_files_that_users_may_miss_are_listed(folder):
    for name in (".DS_Store", "a/._1.png", ".git/config", "a/.hidden.png", ".cache/1.png"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(b"x")
    assert list_hidden(folder) == [".cache", "a/.hidden.png"]
