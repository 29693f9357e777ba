"""The progress of a training, and checkpoints: all of its state in one file that is either whole or refused."""

import errno
import hashlib
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from heldout.errors import HeldoutError
from heldout.lifecycle.job import FailureCode
from worker.messages import Warned
from worker.training.engine.training_policy import ALL_CURVES, BestEpochs, GuardState, PlateauState, StoppingState


@dataclass(frozen=True)
class FitSums:
    """What Keras' `fit` accumulates over an epoch: objective and right answers, weighted by images. float32."""

    objective: float = 0.0
    correct: float = 0.0
    images: float = 0.0

    @property
    def loss(self) -> float:
        """The running mean that `fit` reports as `loss`: with penalties, class weights and smoothing."""
        return float(np.float32(self.objective) / np.float32(self.images))

    @property
    def accuracy(self) -> float:
        """The running mean that `fit` reports as `accuracy`."""
        return float(np.float32(self.correct) / np.float32(self.images))


@dataclass(frozen=True)
class Position:
    """The progress of a training, and the state of all its decisions."""

    epoch: int = 1  # in progress, from 1
    step: int = 0  # steps of this epoch that are done
    sums: FitSums = field(default_factory=FitSums)  # of these steps
    seconds: float = 0.0  # for these steps
    plateau: PlateauState = field(default_factory=lambda: PlateauState(rate=0.0))
    stopping: StoppingState = field(default_factory=StoppingState)
    guard: GuardState = field(default_factory=GuardState)
    kept: int = 0  # epoch of the weights that would be exported now; 0 before the first epoch is complete
    best: BestEpochs = field(default_factory=BestEpochs)
    start: dict[str, Any] | None = None  # what was seen inside the network before its first step, until it is reported

    @property
    def needed_epochs(self) -> set[int]:
        """Return the epochs whose weights the end of the training needs."""
        return {self.kept, self.best.by_loss, self.best.by_accuracy} - {0}

    @classmethod
    def from_json(cls, stored: dict[str, Any]) -> "Position":
        return cls(
            **{
                **stored,
                "best": BestEpochs(**stored["best"]),
                "sums": FitSums(**stored["sums"]),
                "plateau": PlateauState(**stored["plateau"]),
                "stopping": StoppingState(**stored["stopping"]),
                # JSON turned its tuples into lists.
                "guard": GuardState(**stored["guard"] | {name: tuple(stored["guard"][name]) for name in ALL_CURVES}),
            }
        )


@dataclass(frozen=True)
class LossSums:
    """How hard each training image was to learn: its cross-entropy in inference mode, summed over all epochs.

    sums: (training images,) float32, in nats. epochs: how many of them were summed.
    """

    sums: NDArray[np.float32]
    epochs: int


_MAGIC = b"heldout checkpoint 1\n"
_ABOUT = "about"


class CheckpointDamaged(HeldoutError):
    """A checkpoint is cut short, altered, or none at all; the one before it may be whole."""

    code, title = FailureCode.CHECKPOINT_DAMAGED, "A checkpoint cannot be read"

    def __init__(self, path: Path, why: str) -> None:
        super().__init__(f"The checkpoint {path.name} {why}. Continue from the one before it, or start over.")


def describe_fault(error: OSError) -> str:
    """Say what is wrong with the disk. The system's own words may differ between workers, and name its files."""
    return "the disk is full" if error.errno in (errno.ENOSPC, errno.EDQUOT) else "the file cannot be read or written"


def write_checkpoint(path: Path, arrays: Mapping[str, NDArray[Any]], about: Mapping[str, Any]) -> None:
    """Write `arrays` and the JSON object `about`; `path` is replaced as a whole or not at all.

    Raises:
        OSError: if the disk is full or the folder cannot be written; nothing is left behind then.
    """
    buffer = io.BytesIO()
    buffer.write(_MAGIC + bytes(hashlib.sha256().digest_size))
    start = buffer.tell()
    np.savez(buffer, **arrays, **{_ABOUT: np.frombuffer(json.dumps(about).encode(), np.uint8)})  # type: ignore[arg-type]
    content = buffer.getbuffer()
    content[len(_MAGIC) : start] = hashlib.sha256(content[start:]).digest()
    unfinished = path.with_name(f"{path.name}.tmp")
    try:
        # No fsync: the supervisor stores the file at once, and this folder is removed after a loss of power.
        unfinished.write_bytes(content)
        unfinished.replace(path)
    except OSError:
        unfinished.unlink(missing_ok=True)
        raise


def read_checkpoint(path: Path) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """Read the file of `write_checkpoint`.

    Raises:
        CheckpointDamaged: if the file is missing, or differs from what was written.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise CheckpointDamaged(path, f"cannot be opened: {describe_fault(error)}") from error
    start = len(_MAGIC) + hashlib.sha256().digest_size
    if not content.startswith(_MAGIC) or len(content) < start:
        raise CheckpointDamaged(path, "is not a checkpoint of this release")
    payload = memoryview(content)[start:]
    if hashlib.sha256(payload).digest() != content[len(_MAGIC) : start]:
        raise CheckpointDamaged(path, "does not match its checksum")
    with np.load(io.BytesIO(payload)) as stored:
        arrays = {name: stored[name] for name in stored.files}
    return arrays, json.loads(arrays.pop(_ABOUT).tobytes())


def warn_of_other_facts(before: Mapping[str, Any], now: Mapping[str, Any]) -> Warned | None:
    """Warn that a training continues with other facts, on which bits depend, than it began with."""
    names = [name for name in sorted(now) if before.get(name) != now[name]]
    if not names:
        return None
    return Warned(
        f"Resumed under another {', '.join(names)}: the rest may differ in its last digits from what an "
        "uninterrupted training would have given.",
        {name: {"before": before.get(name), "now": now[name]} for name in names},
    )
