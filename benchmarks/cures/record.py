"""The recorded form of trainings: lines of JSON while recording, then one archive of arrays for each condition.

Rounding: losses of single images and curves to float16, the referee's losses to sums of float32 over BLOCK images.
Right answers are bits.
"""

import base64
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

BLOCK = 50  # referee images whose losses are added


@dataclass(frozen=True)
class Training:
    """One training and the results of its kept weights.

    arm: `base`, the name of a remedy, or `null_…`, which is the base with another seed. seed: of the study.
    fold: the spec's `validation`; None for fixed splits.
    rows: (validation,) positions of the validation images in the condition's images. losses, correct: of these, the
        cross-entropy of each and whether the answer was right.
    referee_losses: of each image as trained, or summed over BLOCK images if read from an archive.
    referee_correct: (referee,) whether the answer was right for each image that no study sees.
    epoch: whose weights are kept, of `epochs` in total. train_loss, train_accuracy: of the kept epoch.
    validation_curve: (epochs, 2) loss and accuracy after each.
    seconds: processor time of training, without measuring the training images.
    """

    arm: str
    seed: int
    training_seed: int
    fold: dict[str, int] | None
    rows: NDArray[np.int64]
    losses: NDArray[Any]
    correct: NDArray[np.bool_]
    referee_losses: NDArray[Any]
    referee_correct: NDArray[np.bool_]
    epoch: int
    epochs: int
    train_loss: float
    train_accuracy: float
    validation_curve: NDArray[Any]
    seconds: float

    @property
    def key(self) -> tuple[str, int]:
        return self.arm, self.seed

    def is_like(self, other: "Training") -> bool:
        """Return whether both have the same kept figures."""
        same = all(getattr(self, name) == getattr(other, name) for name in ("arm", "seed", "training_seed", "fold"))
        return (
            same
            and (self.epoch, self.epochs) == (other.epoch, other.epochs)
            and all(np.array_equal(getattr(self, name), getattr(other, name)) for name in ARRAYS)
        )

    @property
    def referee_loss(self) -> float:
        """The mean cross-entropy on the referee's images."""
        return float(self.referee_losses.sum(dtype=np.float64) / len(self.referee_correct))

    @property
    def referee_accuracy(self) -> float:
        return float(self.referee_correct.mean())


ARRAYS = {
    "rows": np.int32,
    "losses": np.float16,
    "correct": np.bool_,
    "referee_losses": np.float32,
    "referee_correct": np.bool_,
    "validation_curve": np.float16,
}
FIGURES = ("arm", "seed", "training_seed", "fold", "epoch", "epochs", "train_loss", "train_accuracy", "seconds")


def append_line(training: Training, file: Path) -> None:
    """Append one training at once, so that nothing is lost if the recording is stopped."""
    fields: dict[str, Any] = {name: getattr(training, name) for name in FIGURES}
    for name, kind in ARRAYS.items():
        array = np.asarray(getattr(training, name))
        if name == "referee_losses":
            array = summed(array)
        raw = np.packbits(array).tobytes() if kind is np.bool_ else array.astype(kind).tobytes()
        fields[name] = [list(array.shape), base64.b64encode(raw).decode()]
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("ab", buffering=0) as opened:
        opened.write((json.dumps(fields) + "\n").encode())


def read_lines(file: Path) -> Iterator[Training]:
    """Read every complete line. The last one may be cut off if the recording was killed."""
    for line in file.read_text(encoding="utf-8").split("\n")[:-1] if file.is_file() else ():
        fields = json.loads(line)
        yield Training(**fields | {name: _array(*fields[name], kind) for name, kind in ARRAYS.items()})


def summed(losses: NDArray[Any]) -> NDArray[np.float32]:
    """Return (blocks,) sums of losses over BLOCK images; the last block may be smaller."""
    return np.add.reduceat(losses.astype(np.float64), np.arange(0, len(losses), BLOCK)).astype(np.float32)


def _array(shape: Sequence[int], encoded: str, kind: Any) -> NDArray[Any]:
    raw = base64.b64decode(encoded)
    if kind is np.bool_:
        return np.unpackbits(np.frombuffer(raw, np.uint8), count=shape[0]).astype(bool)
    return np.frombuffer(raw, kind).reshape(shape)
