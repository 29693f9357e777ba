"""Archives in an archive, as when the dashboard sends `train.zip` with `test.zip`: each counts as a folder."""

import shutil
from dataclasses import replace

import numpy as np
import pytest

from analysis.arrays.dataset import compute_content_address, load
from tests.worker.ingest.uploads import (
    ALONE,
    arrays_of,
    encoded,
    noise,
    npz,
    pictures,
    rejection_of,
    taken,
    tarred,
    zipped,
)

TRAIN, TEST = (
    pictures(10),
    {
        f"{name}/{number}.png": encoded(noise((12, 10), 7 + number))
        for name in ("cat", "dog")
        for number in range(3 if name == "cat" else 2)
    },
)


def pack_files(folder, name, files):
    """Return an archive of `files` as bytes, of the kind that its name says."""
    path = folder / name
    if name.endswith(".zip"):
        zipped(path, files)
    else:
        tarred(path, files, "w" if name.endswith(".tar") else "w:gz")
    data = path.read_bytes()
    path.unlink()
    return data


@pytest.fixture
def plain(tmp_path):
    """The same images pack_files as folders."""
    files = {f"train/{name}": data for name, data in TRAIN.items()} | {
        f"test/{name}": data for name, data in TEST.items()
    }
    return taken(zipped(tmp_path / "plain.zip", files))[1]


@pytest.mark.parametrize("pack", [tarred, zipped], ids=["in a tar", "in a zip"])
@pytest.mark.parametrize("names", [("train.zip", "test.zip"), ("train.tar", "test.tgz"), ("train.ZIP", "test.tar.gz")])
def test_an_archive_for_each_split_gives_one_dataset(tmp_path, plain, names, pack):
    outer = pack(
        tmp_path / "outer",
        {name: pack_files(tmp_path, name.lower(), files) for name, files in zip(names, (TRAIN, TEST), strict=True)},
    )
    report, target = taken(outer)
    assert compute_content_address(load(target)) == compute_content_address(load(plain))
    assert sorted((target / "members.txt").read_text().split()) == sorted((plain / "members.txt").read_text().split())
    assert report.source["format"].endswith("of archives")


def test_other_files_in_and_next_to_the_archives_are_reported(tmp_path):
    files = {
        "train.zip": pack_files(tmp_path, "train.zip", TRAIN | {"cat/notes.txt": b"a cat"}),
        "test.zip": pack_files(tmp_path, "test.zip", TEST),
        "README.md": b"pets",
    }
    report, _ = taken(tarred(tmp_path / "outer", files))
    assert report.source["passed_over"]["names"] == ["train/cat/notes.txt", "README.md"]


def test_an_archive_next_to_images_is_ignored(tmp_path):
    report, _ = taken(zipped(tmp_path / "outer", TRAIN | {"cat/more.zip": pack_files(tmp_path, "more.zip", TEST)}))
    assert (report.source["images"], report.source["passed_over"]["names"]) == (20, ["cat/more.zip"])


def save_arrays(folder, name, **arrays):
    path = npz(folder / name, **arrays)
    data = path.read_bytes()
    path.unlink()
    return data


def test_a_file_of_arrays_for_each_split_gives_one_dataset(tmp_path):
    """The reference is one file with all splits. The order of the files does not matter."""
    splits = {"train": arrays_of(30), "test": arrays_of(9, (12, 10))}
    _, whole = taken(
        npz(
            tmp_path / "whole.npz",
            **{f"{what}_{split}": array for split, arrays in splits.items() for what, array in arrays.items()},
        )
    )
    named = {"class_names": np.array(["cat", "dog"])}
    for files in (["train", "test"], ["test", "train"]):
        outer = tarred(
            tmp_path / "outer", {f"{split}.npz": save_arrays(tmp_path, "a.npz", **splits[split]) for split in files}
        )
        report, target = taken(outer)
        assert compute_content_address(load(target)) == compute_content_address(load(whole))
        assert report.source["format"] == "arrays in 2 npz files"
        shutil.rmtree(target)
    files = {f"pets_{split}.npz": save_arrays(tmp_path, "a.npz", **arrays, **named) for split, arrays in splits.items()}
    report, _ = taken(tarred(tmp_path / "outer", files | {"weights.npz": save_arrays(tmp_path, "a.npz", w=np.ones(3))}))
    assert (report.classes, report.source["passed_over"]["names"]) == (("cat", "dog"), ["weights/w"])
    assert {split: counts["count"] for split, counts in report.splits.items() if split == "test"} == {"test": 9}


def test_arrays_that_do_not_fit_together_are_refused_with_advice(tmp_path):
    def refuse(**files):
        outer = {f"{name}.npz": save_arrays(tmp_path, "a.npz", **arrays) for name, arrays in files.items()}
        return rejection_of(tarred(tmp_path / "outer", outer)).detail

    assert "'pets.npz' has one pair of arrays" in refuse(pets=arrays_of(30), test=arrays_of(9))
    others = [arrays_of(9) | {"class_names": np.array(["cat", name])} for name in ("dog", "cow")]
    assert "Save the same class names in each file" in refuse(train=others[0], test=others[1])
    assert "`train/x` has images of 12×10" in refuse(train=arrays_of(30), test=arrays_of(9, (8, 8)))


@pytest.mark.parametrize(
    ("files", "limits", "code", "message"),
    [
        ({"train.zip": b"PK\x03\x04 and no more"}, ALONE, "archive_damaged", "In 'train.zip': The archive is damaged"),
        ({"a.zip": TRAIN, "a.tar": TRAIN}, ALONE, "duplicate_member", "Pack each file once"),
        ({"a.zip": TRAIN, "b.zip": TRAIN}, replace(ALONE, members=30), "too_many_members", "more than 30 members"),
        ({"a.zip": TRAIN, "b.zip": TRAIN}, replace(ALONE, unpacked_bytes=9000), "unpacked_too_large", "together"),
        ({"a.zip": {"../cat/1.png": b""}, "b.zip": TRAIN}, ALONE, "unsafe_path", "In 'a.zip'"),
    ],
    ids=["damaged", "twice", "too many", "too large", "unsafe"],
)  # fmt: skip
def test_a_fault_in_one_archive_refuses_the_upload(tmp_path, files, limits, code, message):
    outer = tarred(
        tmp_path / "outer",
        {name: pack_files(tmp_path, name, data) if isinstance(data, dict) else data for name, data in files.items()},
    )
    rejection = rejection_of(outer, limits=limits)
    assert rejection.code.value == code
    assert message in rejection.detail


def test_archives_at_the_third_level_are_not_opened(tmp_path):
    inner = pack_files(tmp_path, "deep.zip", TRAIN)
    files = {
        "train.zip": pack_files(tmp_path, "train.zip", TRAIN | {"cats.zip": inner}),
        "test.zip": pack_files(tmp_path, "test.zip", TEST),
    }
    report, _ = taken(tarred(tmp_path / "outer", files))
    assert report.source["passed_over"]["names"] == ["train/cats.zip"]
