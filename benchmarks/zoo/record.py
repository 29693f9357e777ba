"""One training of the zoo as it is kept: what the diagnosis is asked with, and what interventions showed of it."""

import base64
import gzip
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.diagnosis.record import Record
from benchmarks.zoo.data import class_names
from benchmarks.zoo.draw import check_open
from benchmarks.zoo.trainings import Training
from heldout.spec.job import JobSpec

COLLECTION = Path(__file__).parent / "collection"
UNLEARNED = COLLECTION / "unlearned"  # trainings of `unlearned.py`


@dataclass(frozen=True)
class ZooRecord(Record):
    """referee: what `interventions.py` measured; empty where the training failed.

    answers: of the kept weights to validation and test images, in row order, packed by `pack`. A later audit needs them
        to count copies again. `train` has their answers to training images, packed by `pack_training`. `early_train`
        has those of the weights with the lowest validation loss, and `early_validation` theirs to validation.
        `loss_sums` has the losses of training images, summed over all epochs and packed by `pack_losses`, and
        `sure_validation` and `sure_test` the losses that the answers would have if they were right. Older records lack
        all of these.
    """

    answers: dict[str, str] = field(default_factory=dict)

    @property
    def training(self) -> Training:
        return Training.of(self.condition)

    @property
    def spec(self) -> JobSpec:
        return self.training.spec

    @property
    def classes(self) -> tuple[str, ...]:
        return class_names(self.referee["classes"])


def read_set(name: str, folder: Path = COLLECTION, *, unseal: bool = False) -> Iterator[ZooRecord]:
    """Every record of a set that is kept.

    Raises:
        Sealed: if the set is sealed, unless it is to judge now.
    """
    check_open(name, unseal=unseal)
    for line in _lines(name, folder):
        yield ZooRecord(**json.loads(line))


def keys_of(name: str, folder: Path = COLLECTION) -> set[str]:
    """Which trainings of a set are kept. Nothing else of them is read, so sealed ones stay unseen."""
    return {Training.of(json.loads(line)["condition"]).key for line in _lines(name, folder)}


def append(record: ZooRecord, folder: Path = COLLECTION) -> None:
    """Write one record at once, as a compressed line of its own behind the others."""
    folder.mkdir(exist_ok=True)
    with (folder / f"{record.training.dataset}.jsonl.gz").open("ab", buffering=0) as file:
        file.write(_compress(record))


def write_set(records: Sequence[ZooRecord], folder: Path = COLLECTION) -> None:
    """Replace all records of a set."""
    file = folder / f"{records[0].training.dataset}.jsonl.gz"
    written = file.with_suffix(".new")
    written.write_bytes(b"".join(map(_compress, records)))
    written.rename(file)


def _compress(record: ZooRecord) -> bytes:
    line = json.dumps(asdict(record), separators=(",", ":"), allow_nan=False) + "\n"
    return gzip.compress(line.encode(), mtime=0)


def _lines(name: str, folder: Path) -> list[str]:
    file = folder / f"{name}.jsonl.gz"
    return gzip.decompress(file.read_bytes()).decode().splitlines() if file.is_file() else []


def pack(losses: NDArray[np.float32], right: NDArray[np.bool_]) -> str:
    """(count,) losses in half precision and whether each image was answered rightly."""
    return base64.b64encode(losses.astype("<f2").tobytes() + np.packbits(right).tobytes()).decode()


# The logarithm of a loss in steps of 7%.
_SMALLEST_LOSS, _STEPS_A_NAT = 1e-6, 15.0


def pack_losses(losses: NDArray[np.floating]) -> str:
    """(count,) losses, in a byte each."""
    return base64.b64encode(_quantize(losses)).decode()


def unpack_losses(packed: str) -> NDArray[np.float64]:
    """(count,) losses, at most 4% off; what is below a millionth of a nat is a millionth."""
    return _restore(base64.b64decode(packed))


@dataclass(frozen=True)
class TrainingAnswers:
    """Answers to training images: labels, losses, the classes answered, and how probable these were.

    All of them (count,). losses, probabilities: to about 4% of the loss, and of the answer's distance from 1.
    """

    labels: NDArray[np.int64]
    losses: NDArray[np.float64]
    classes: NDArray[np.int64]
    probabilities: NDArray[np.float64]


def pack_training(labels: NDArray[np.integer], losses: NDArray[np.floating], chances: NDArray[np.floating]) -> str:
    """Pack the answers to training images, with (count, classes) probabilities."""
    classes = np.stack([labels, chances.argmax(axis=1)]).astype("<u2")
    sure = -np.log(np.maximum(chances.max(axis=1).astype(np.float64), 1e-12))
    return base64.b64encode(classes.tobytes() + _quantize(losses) + _quantize(sure)).decode()


def unpack_training(packed: str) -> TrainingAnswers:
    content = base64.b64decode(packed)
    count = len(content) // 6
    labels, classes = np.frombuffer(content[: 4 * count], "<u2").astype(np.int64).reshape(2, count)
    losses, sure = _restore(content[4 * count : 5 * count]), _restore(content[5 * count :])
    return TrainingAnswers(labels, losses, classes, np.exp(-sure))


def _quantize(losses: NDArray[np.floating]) -> bytes:
    logs = np.log(np.maximum(losses.astype(np.float64), _SMALLEST_LOSS) / _SMALLEST_LOSS)
    return np.rint(logs * _STEPS_A_NAT).clip(0, 255).astype(np.uint8).tobytes()


def _restore(content: bytes) -> NDArray[np.float64]:
    restored: NDArray[np.float64] = _SMALLEST_LOSS * np.exp(np.frombuffer(content, np.uint8) / _STEPS_A_NAT)
    return restored


def unpack(packed: str, count: int) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    content = base64.b64decode(packed)
    losses = np.frombuffer(content[: 2 * count], "<f2").astype(np.float32)
    right = np.unpackbits(np.frombuffer(content[2 * count :], np.uint8), count=count).astype(bool)
    return losses, right
