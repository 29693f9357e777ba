"""One training of the zoo as it is kept: what the diagnosis is asked with, and what interventions showed of it."""

import base64
import gzip
import json
from collections.abc import Iterator
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


@dataclass(frozen=True)
class ZooRecord(Record):
    """referee: what `interventions.py` measured; empty where the training failed.

    answers: the kept weights' answers to validation and test images, in row order, packed by `pack`. A later audit
        needs them to count copies again.
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
    line = json.dumps(asdict(record), separators=(",", ":"), allow_nan=False) + "\n"
    with (folder / f"{record.training.dataset}.jsonl.gz").open("ab", buffering=0) as file:
        file.write(gzip.compress(line.encode(), mtime=0))


def _lines(name: str, folder: Path) -> list[str]:
    file = folder / f"{name}.jsonl.gz"
    return gzip.decompress(file.read_bytes()).decode().splitlines() if file.is_file() else []


def pack(losses: NDArray[np.float32], right: NDArray[np.bool_]) -> str:
    """(count,) losses in half precision and whether each image was answered rightly."""
    return base64.b64encode(losses.astype("<f2").tobytes() + np.packbits(right).tobytes()).decode()


def unpack(packed: str, count: int) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    content = base64.b64decode(packed)
    losses = np.frombuffer(content[: 2 * count], "<f2").astype(np.float32)
    right = np.unpackbits(np.frombuffer(content[2 * count :], np.uint8), count=count).astype(bool)
    return losses, right
