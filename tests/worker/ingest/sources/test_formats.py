"""Each format is converted to the same internal format and keeps its labels, names and splits."""

import json
import tarfile
import zipfile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from analysis.arrays.dataset import FILES, compute_content_address, compute_split_digests, load
from heldout.spec.dataset import DatasetSpec, SplitSpec
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
from worker.ingest.rejection import IngestLimits


def read_members(target):
    return (target / "members.txt").read_text().splitlines()


def make_split_folder(order=("train", "validation", "test"), classes=("cat", "dog")):
    """Make three splits of two classes, with three, two images and one image of each class."""
    return {
        f"{split}/{name}/{number}.png": encoded(noise((12, 10), 100 * place + 10 * label + number))
        for place, split in enumerate(order)
        for label, name in enumerate(classes)
        for number in range(3 - place)
    }


# --- folders in archives -------------------------------------------------------------------------


def test_a_zip_of_class_folders_keeps_pixels_labels_and_names(tmp_path):
    files = pictures(10)
    report, target = taken(zipped(tmp_path / "pets.zip", files))
    images = load(target)
    assert report.classes == images.classes == ("cat", "dog")
    assert read_members(target) == sorted(files)
    for row, name in enumerate(sorted(files)):
        with Image.open(zipfile.ZipFile(tmp_path / "pets.zip").open(name)) as picture:
            np.testing.assert_array_equal(images.images[row, ..., 0], np.asarray(picture))
        assert images.classes[images.labels[row]] == name.split("/")[0]


def test_the_report_describes_the_files(tmp_path):
    report, target = taken(zipped(tmp_path / "pets.zip", pictures(10)))
    images = load(target)
    assert (report.shape, report.dtype, report.value_range) == ((12, 10, 1), "uint8", (0, 255))
    assert report.sha256 == compute_content_address(images)
    assert report.size_bytes == sum((target / name).stat().st_size for name in FILES)
    for split, counts in report.splits.items():
        expected = {"count": len(images.splits[split]), "per_class": images.per_class(split)}
        assert counts == {**expected, "sha256": compute_split_digests(images)[split]}
    assert report.source["encodings"] == {"PNG L": 20}
    assert json.loads((target / "audit.json").read_text())["sha256"] == report.sha256
    assert sorted(path.name for path in target.iterdir()) == sorted(
        [*FILES, "audit.json", "members.txt", "preview", "relations.npz"]
    )
    assert sorted(path.name for path in (target / "preview").iterdir()) == ["0.png", "1.png"]


def test_the_file_of_pixels_is_as_written_by_numpy(tmp_path):
    _, target = taken(zipped(tmp_path / "pets.zip", pictures(5)))
    np.save(tmp_path / "again.npy", np.load(target / "images.npy"))
    assert (tmp_path / "again.npy").read_bytes() == (target / "images.npy").read_bytes()


@pytest.mark.parametrize("pack", ["stored zip", "tar.gz", "gnu tar", "wrapped", "reversed", "dotted"])
def test_a_folder_gives_the_same_dataset_in_any_archive(tmp_path, pack):
    files = pictures(6)
    expected, _ = taken(zipped(tmp_path / "plain.zip", files))
    path = tmp_path / "packed"
    match pack:
        case "stored zip":
            zipped(path, files, zipfile.ZIP_STORED)
        case "tar.gz":
            tarred(path, files, "w:gz")
        case "gnu tar":
            tarred(path, files, format_=tarfile.GNU_FORMAT)
        case "wrapped":
            zipped(path, {f"my pets/{name}": data for name, data in files.items()})
        case "reversed":
            zipped(path, dict(reversed(files.items())))
        case "dotted":
            tarred(path, {f"./{name}": data for name, data in files.items()})
    report, _ = taken(path)
    assert report.sha256 == expected.sha256


@pytest.mark.parametrize("format_", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT])
def test_long_names_in_a_tar_are_complete(tmp_path, format_):
    files = {f"{name}/{'deep/' * 17}{number}.png": data for (name, number, data) in split_names(pictures(4))}
    _, target = taken(tarred(tmp_path / "long.tar", files, format_=format_))
    assert read_members(target) == sorted(files)


def split_names(files):
    return [(*name.removesuffix(".png").split("/"), data) for name, data in files.items()]


def test_names_in_any_language_are_kept(tmp_path):
    files = {
        f"{name}/{number}.png": data for name, number, data in split_names(pictures(4, ("кошка", "犬", "chien à poil")))
    }
    zip_report, target = taken(zipped(tmp_path / "a.zip", files))
    tar_report, _ = taken(tarred(tmp_path / "a.tar", files))
    assert zip_report.classes == tar_report.classes == tuple(sorted({"кошка", "犬", "chien à poil"}))
    assert read_members(target) == sorted(files)


def test_splits_of_the_folder_are_kept(tmp_path):
    report, target = taken(zipped(tmp_path / "pets.zip", make_split_folder()))
    assert {split: counts["per_class"] for split, counts in report.splits.items()} == {
        "train": [3, 3],
        "validation": [2, 2],
        "test": [1, 1],
    }
    names = read_members(target)
    for split, rows in load(target).splits.items():
        assert {names[row].split("/")[0] for row in rows} == {split}
    assert set(report.source["splits"].values()) == {"upload"}


@pytest.mark.parametrize(
    "names", [("TRAIN", "Val", "Test"), ("training", "valid", "testing"), ("Train", "validation", "TEST")]
)
def test_common_names_of_splits_are_recognized(tmp_path, names):
    report, _ = taken(zipped(tmp_path / "pets.zip", make_split_folder(names)))
    assert [counts["count"] for counts in report.splits.values()] == [6, 4, 2]


def test_system_files_are_ignored_and_other_files_are_listed(tmp_path):
    junk = {"__MACOSX/cat/._000.png": b"", "cat/.DS_Store": b"x", "dog/Thumbs.db": b"x", "cat/._001.png": b"x"}
    others = {"README.txt": b"x", "cat/labels.csv": b"x"}
    report, _ = taken(zipped(tmp_path / "pets.zip", {**junk, **pictures(5), **others}))
    assert report.source["images"] == 10
    assert report.source["passed_over"] == {"count": 2, "names": ["README.txt", "cat/labels.csv"]}


def test_subfolders_belong_to_their_class(tmp_path):
    files = {f"all/{name}/part {int(number) % 2}/{number}.png": data for name, number, data in split_names(pictures(4))}
    report, _ = taken(zipped(tmp_path / "pets.zip", files))
    assert report.classes == ("cat", "dog")


def test_several_processes_give_the_same_dataset_as_one(tmp_path):
    path = zipped(tmp_path / "pets.zip", pictures(300))
    expected, _ = taken(path)
    report, _ = taken(path.rename(tmp_path / "again.zip"), limits=IngestLimits(processes=3))
    assert report == expected


@pytest.mark.parametrize(
    ("files", "code", "member"),
    [
        ({"a.txt": b"x"}, "no_images", None),
        ({"cat.png": encoded(noise()), "dog.png": encoded(noise())}, "unexpected_layout", "cat.png"),
        ({"train/1.png": encoded(noise()), "test/2.png": encoded(noise())}, "unexpected_layout", "train/1.png"),
        ({**make_split_folder(), "extra/cat/1.png": encoded(noise())}, "unexpected_layout", "extra"),
        (pictures(4, ["cat"]), "too_few_classes", None),
        ({**pictures(4), "cat/x.gif": encoded(noise(), "GIF")}, "unsupported_image", "cat/x.gif"),
        ({f"test/{name}": data for name, data in pictures(2).items()} | {"val/cat/1.png": b""}, "too_few_images", None),
        (pictures(1), "too_few_images", None),
    ],
    ids=["none", "flat", "splits of no classes", "stray folder", "one class", "gif", "no train", "one image a class"],
)
def test_an_unusable_folder_is_refused(tmp_path, files, code, member):
    rejection = rejection_of(zipped(tmp_path / "pets.zip", files))
    assert (rejection.code, rejection.member) == (code, member)


# --- arrays --------------------------------------------------------------------------------------


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("shape", [(12, 10), (12, 10, 1), (12, 10, 3)])
def test_keys_of_keras_keep_splits_and_order(tmp_path, save, shape):
    arrays = {
        "x_train": noise((30, *shape), 1),
        "y_train": np.arange(30) % 3,
        "x_test": noise((12, *shape), 2),
        "y_test": np.arange(12).reshape(-1, 1) % 3,
        "x_val": noise((6, *shape), 3),
        "y_val": np.arange(6) % 3,
    }
    save(tmp_path / "a.npz", **arrays)
    report, target = taken(tmp_path / "a.npz")
    images = load(target)
    for split, key in (("train", "train"), ("validation", "val"), ("test", "test")):
        np.testing.assert_array_equal(images.images[images.splits[split]].reshape(-1), arrays[f"x_{key}"].reshape(-1))
        np.testing.assert_array_equal(images.labels[images.splits[split]], arrays[f"y_{key}"].reshape(-1))
    assert report.classes == ("0", "1", "2")
    assert read_members(target)[29:31] == ["x_train[29]", "x_val[0]"]


def test_keys_of_medmnist_are_recognized(tmp_path):
    sizes = {"train": 20, "val": 4, "test": 8}
    arrays = {f"{split}_images": noise((size, 28, 28), size) for split, size in sizes.items()}
    arrays |= {
        f"{split}_labels": (np.arange(size) % 2).reshape(-1, 1).astype(np.uint8) for split, size in sizes.items()
    }
    report, _ = taken(npz(tmp_path / "a.npz", **arrays))
    assert [counts["count"] for counts in report.splits.values()] == [20, 4, 8]


def test_a_single_pair_of_arrays_is_split(tmp_path):
    report, _ = taken(npz(tmp_path / "a.npz", **arrays_of(100)))
    assert [counts["per_class"] for counts in report.splits.values()] == [[36, 36], [4, 4], [10, 10]]
    assert "numpy.random.default_rng(0)" in report.source["splits"]["test"]


@pytest.mark.parametrize(
    ("values", "dtype", "range_"),
    [
        (noise((40, 12, 10)), "uint8", (0, 255)),
        (noise((40, 12, 10)).astype(np.int64), "uint8", (0, 255)),
        (noise((40, 12, 10)) > 127, "uint8", (0, 1)),
        (noise((40, 12, 10)) / 255, "float32", (0, 1)),
        (noise((40, 12, 10)) / np.float32(127.5) - 1, "float32", (-1, 1)),
        (noise((40, 12, 10)).astype(np.float16), "float32", (0, 255)),
        (noise((40, 12, 10)).astype(">u2") * 200, "float32", (0, 51_000)),
        (noise((40, 12, 10)).astype(np.int16) - 100, "float32", (-100, 155)),
        (noise((40, 12, 10)) % 17 * 1.0, "float32", (0, 16)),
    ],
    ids=["uint8", "int64", "bool", "0 to 1", "-1 to 1", "float16", "16-bit big-endian", "signed", "0 to 16"],
)
def test_values_are_kept_and_their_range_recorded(tmp_path, values, dtype, range_):
    report, target = taken(npz(tmp_path / "a.npz", x=values, y=np.arange(40) % 2))
    assert (report.dtype, report.value_range) == (dtype, range_)
    np.testing.assert_array_equal(load(target).images[..., 0], values.astype(dtype))


def test_labels_may_be_text_or_numbers_with_gaps(tmp_path):
    arrays = arrays_of(40)
    text, _ = taken(npz(tmp_path / "a.npz", x=arrays["x"], y=np.array(["dog", "cat"] * 20)))
    gaps, _ = taken(npz(tmp_path / "b.npz", x=arrays["x"], y=np.array([7.0, -3.0] * 20)))
    assert (text.classes, gaps.classes) == (("cat", "dog"), ("-3", "7"))


def test_an_array_of_class_names_names_the_labels(tmp_path):
    report, _ = taken(npz(tmp_path / "a.npz", **arrays_of(40), class_names=np.array(["dog", "cat", "cow"])))
    assert report.classes == ("dog", "cat", "cow")
    assert "class_missing" in {finding.code for finding in report.findings}


UNUSABLE = {
    "objects": ({"x": np.array([None] * 40)}, "pickle_refused", "x"),
    "objects in another array": ({"other": np.array([{}])}, "pickle_refused", "other"),
    "flat rows": ({"x": noise((40, 144))}, "bad_array", "x"),
    "channels first": ({"x": noise((40, 3, 12, 10))}, "bad_array", "x"),
    "four channels": ({"x": noise((40, 12, 10, 4))}, "bad_array", "x"),
    "columns first": ({"x": np.asfortranarray(noise((40, 12, 10)))}, "bad_array", "x"),
    "complex": ({"x": np.zeros((40, 12, 10), np.complex64)}, "bad_array", "x"),
    "between the scales": ({"x": np.full((40, 12, 10), 0.5)}, "bad_array", "x"),
    "not a number": ({"x": np.where(np.arange(4800).reshape(40, 12, 10) == 4799, np.nan, 0.5)}, "bad_array", "x[39]"),
    "beyond float32": ({"x": np.where(np.arange(4800).reshape(40, 12, 10) == 0, 1e39, 0.5)}, "bad_array", "x[0]"),
    "large integers": ({"x": noise((40, 12, 10)).astype(np.int64) << 20}, "bad_array", "x"),
    "too low": ({"x": noise((40, 7, 10))}, "size_out_of_bounds", "x"),
    "no image": ({"x": noise((0, 12, 10)), "y": np.zeros(0, int)}, "no_images", "x"),
    "a label too few": ({"y": np.arange(39) % 2}, "bad_labels", "y"),
    "one-hot": ({"y": np.eye(40)}, "bad_labels", "y"),
    "halves": ({"y": np.arange(40) + 0.5}, "bad_labels", "y"),
    "labels that are not numbers": ({"y": np.full(40, np.nan)}, "bad_labels", "y"),
    "one class": ({"y": np.zeros(40, int)}, "too_few_classes", None),
    "labels beyond the names": (
        {"class_names": np.array(["only", "these"]), "y": np.arange(40) % 3},
        "bad_labels",
        "class_names",
    ),
    "a name twice": ({"class_names": np.array(["same", "same"])}, "bad_labels", "class_names"),
}


@pytest.mark.parametrize(("change", "code", "member"), UNUSABLE.values(), ids=UNUSABLE)
def test_unusable_arrays_are_refused(tmp_path, change, code, member):
    rejection = rejection_of(npz(tmp_path / "a.npz", **(arrays_of(40) | change)))
    assert (rejection.code, rejection.member) == (code, member)


def test_arrays_without_labels_or_with_unknown_names_are_refused(tmp_path):
    assert rejection_of(npz(tmp_path / "a.npz", x_train=noise((9, 12, 10)))).code == "bad_labels"
    assert "`pictures`" in rejection_of(npz(tmp_path / "b.npz", pictures=noise((9, 12, 10)))).detail


def test_more_classes_than_the_limit_are_refused(tmp_path):
    rejection = rejection_of(
        npz(tmp_path / "a.npz", x=noise((40, 12, 10)), y=np.arange(40)), limits=IngestLimits(classes=39)
    )
    assert rejection.code == "too_many_classes"


def test_the_total_size_of_class_names_is_limited(tmp_path):
    names = np.array([f"{number:03}" + "é" * 125 for number in range(300)])
    arrays = {"x": noise((300, 12, 10)), "y": np.arange(300)}
    rejection = rejection_of(npz(tmp_path / "a.npz", **arrays, class_names=names))
    assert rejection.code == "bad_labels"
    assert "take 75,900 bytes; at most 65,536" in rejection.detail


# --- Parquet -------------------------------------------------------------------------------------


def table(files, *, names=("cat", "dog"), hugging_face=True, paths=True):
    """Make a table as `datasets` writes it for images with class labels."""
    rows = sorted(files)
    images = [{"bytes": files[name], "path": name.replace("/", "-") if paths else None} for name in rows]
    columns = {
        "image": pa.array(images, pa.struct([("bytes", pa.binary()), ("path", pa.string())])),
        "label": pa.array([names.index(name.split("/")[0]) for name in rows], pa.int64()),
    }
    features = {"image": {"_type": "Image"}, "label": {"names": list(names), "_type": "ClassLabel"}}
    metadata = {"huggingface": json.dumps({"info": {"features": features}})} if hugging_face else None
    return pa.table(columns).replace_schema_metadata(metadata)


def test_parquet_of_hugging_face_keeps_images_and_class_names(tmp_path):
    files = pictures(10, ("dog", "cat"))
    pq.write_table(table(files, names=("dog", "cat")), tmp_path / "a.parquet", row_group_size=7)
    report, target = taken(tmp_path / "a.parquet")
    assert report.classes == ("dog", "cat")
    assert read_members(target) == [name.replace("/", "-") for name in sorted(files)]
    folder, folder_target = taken(zipped(tmp_path / "a.zip", files))
    np.testing.assert_array_equal(load(target).images, load(folder_target).images)
    assert report.splits["train"]["count"] == folder.splits["train"]["count"]


def test_parquet_without_metadata_numbers_its_classes_and_rows(tmp_path):
    pq.write_table(table(pictures(10), hugging_face=False, paths=False), tmp_path / "a.parquet")
    report, target = taken(tmp_path / "a.parquet")
    assert report.classes == ("0", "1")
    assert read_members(target)[:2] == ["table[0]", "table[1]"]


def test_parquet_files_in_a_zip_are_splits(tmp_path):
    parts = {"train-00000-of-00002": 12, "train-00001-of-00002": 8, "validation-00000-of-00001": 4, "test": 6}
    files = {}
    for place, (name, count) in enumerate(parts.items()):
        images = {f"{key[:4]}{place}{key[4:]}": data for key, data in pictures(count // 2).items()}
        images = {key.replace(str(place), "", 1): encoded(noise(seed=77 * place + n)) for n, key in enumerate(images)}
        pq.write_table(table(images), tmp_path / "part")
        files[f"data/{name}.parquet"] = (tmp_path / "part").read_bytes()
    report, target = taken(zipped(tmp_path / "a.zip", files))
    assert [counts["count"] for counts in report.splits.values()] == [20, 4, 6]
    assert not (target / ".scratch").exists()


@pytest.mark.parametrize(
    ("spoil", "code"),
    [
        (lambda t: t.drop_columns("label"), "bad_table"),
        (lambda t: t.rename_columns(["pixels", "label"]).replace_schema_metadata(None), "bad_table"),
        (lambda t: t.set_column(1, "label", pa.array([-1] * len(t))), "bad_labels"),
        (lambda t: t.set_column(1, "label", pa.array([None] * len(t), pa.int64())), "bad_labels"),
        (lambda t: t.set_column(1, "label", pa.array([[0]] * len(t))), "bad_labels"),
        (lambda t: t.set_column(0, "image", pa.array([{"bytes": None, "path": "a"}] * len(t))), "bad_table"),
        (lambda t: t.set_column(0, "image", pa.array([{"bytes": b"x", "path": "a"}] * len(t))), "unreadable_member"),
        (lambda t: t.slice(0, 0), "no_images"),
    ],
    ids=["no label", "no image", "unlabelled", "null labels", "lists", "no bytes", "no picture", "no rows"],
)
def test_an_unusable_table_is_refused(tmp_path, spoil, code):
    pq.write_table(spoil(table(pictures(10))), tmp_path / "a.parquet")
    assert rejection_of(tmp_path / "a.parquet").code == code


def test_mnist5k_is_unchanged(tmp_path, mnist5k):
    x = {split: mnist5k.images[rows] for split, rows in mnist5k.splits.items()}
    y = {split: mnist5k.labels[rows] for split, rows in mnist5k.splits.items()}
    path = npz(
        tmp_path / "a.npz",
        **{f"x_{key}": x[split] for split, key in (("train", "train"), ("validation", "val"), ("test", "test"))},
        **{f"y_{key}": y[split] for split, key in (("train", "train"), ("validation", "val"), ("test", "test"))},
    )
    report, target = taken(path, DatasetSpec(name="digits", splits=SplitSpec()), ALONE)
    images = load(target)
    for split in x:
        np.testing.assert_array_equal(images.images[images.splits[split]], x[split])
    assert {finding.severity for finding in report.findings} <= {"info"}
