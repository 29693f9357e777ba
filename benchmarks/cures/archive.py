"""The committed form of a condition's trainings: a compressed archive of arrays with the same bytes each time."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.cures.conditions import Condition
from benchmarks.cures.record import ARRAYS, FIGURES, Training
from benchmarks.cures.remedies import Patch

FOLDER = Path(__file__).parent / "trainings"
DIGITS = 6  # that are kept of a figure


@dataclass(frozen=True)
class Recorded:
    """All trainings of a condition by arm, with the change of the base's spec that each arm made when it was
    recorded.
    """

    condition: dict[str, Any]
    base: dict[str, Any]
    arms: dict[str, Patch]
    trainings: tuple[Training, ...]

    @classmethod
    def of(cls, condition: Condition, trainings: Sequence[Training], arms: Sequence[str]) -> "Recorded":
        """The trainings of some arms, in the condition's order of arms, then by seed."""
        order = list(condition.arms)
        kept = sorted(
            (training for training in trainings if training.arm in arms),
            key=lambda one: (order.index(one.arm), one.seed),
        )
        patches = {arm: patch for arm, patch in condition.arms.items() if arm in arms}
        return cls(condition.as_json(), condition.base, patches, tuple(kept))


def write(recorded: Recorded, file: Path) -> None:
    about = {
        "condition": recorded.condition,
        "base": recorded.base,
        "arms": recorded.arms,
        "figures": [[_rounded(getattr(training, name)) for name in FIGURES] for training in recorded.trainings],
    }
    arrays: dict[str, NDArray[Any]] = {
        "about": np.frombuffer(json.dumps(about, separators=(",", ":")).encode(), np.uint8),
        "validation_counts": np.array([len(training.rows) for training in recorded.trainings], np.int32),
        "epoch_counts": np.array([training.epochs for training in recorded.trainings], np.int32),
    }
    for name, kind in ARRAYS.items():
        parts = [getattr(training, name) for training in recorded.trainings]
        whole = np.stack(parts) if name.startswith("referee") else np.concatenate(parts)
        arrays[name] = np.packbits(whole, axis=-1) if kind is np.bool_ else whole.astype(kind)
    arrays["referee_count"] = np.array(len(recorded.trainings[0].referee_correct))
    file.parent.mkdir(exist_ok=True)
    np.savez_compressed(file, allow_pickle=False, **arrays)


def read(file: Path) -> Recorded:
    with np.load(file, allow_pickle=False) as opened:
        arrays = {name: opened[name] for name in opened.files}
    about = json.loads(arrays["about"].tobytes())
    ends, epochs = np.cumsum(arrays["validation_counts"]), np.cumsum(arrays["epoch_counts"])
    correct = np.unpackbits(arrays["correct"], count=int(ends[-1])).astype(bool)
    referee = np.unpackbits(arrays["referee_correct"], axis=1, count=int(arrays["referee_count"])).astype(bool)
    parts = {
        "rows": np.split(arrays["rows"].astype(np.int64), ends[:-1]),
        "losses": np.split(arrays["losses"], ends[:-1]),
        "correct": np.split(correct, ends[:-1]),
        "referee_losses": list(arrays["referee_losses"]),
        "referee_correct": list(referee),
        "validation_curve": np.split(arrays["validation_curve"], epochs[:-1]),
    }
    trainings = tuple(
        Training(**dict(zip(FIGURES, figures, strict=True)), **{name: part[number] for name, part in parts.items()})
        for number, figures in enumerate(about["figures"])
    )
    return Recorded(about["condition"], about["base"], about["arms"], trainings)


def _rounded(figure: Any) -> Any:
    return float(f"{figure:.{DIGITS}g}") if isinstance(figure, float) else figure
