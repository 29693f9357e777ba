"""Recorded learning curves: the errors of a network with more and more training images.

Each size of a curve is twice the one before. A forecast uses all sizes but the largest, and is judged by that.
"""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.cures.conditions import ADAM, MILD, SLOW, Condition
from benchmarks.cures.record import Training
from heldout.spec.documents import merge
from heldout.spec.job import JobSpec

FILE = Path(__file__).parent / "curves.jsonl"
SEEDS = range(3)
DOUBLINGS = 5
# Images of train and of validation: `digits` has 797 for studies.
SIZES = {"digits": (720, 77), "mnist5k": (1600, 200), "fashion_mnist": (1600, 200)}
OTHER_SIZES = (1600, 200)
SIDES = {"digits": 8, "textures": 10}


@dataclass(frozen=True)
class Point:
    """One training: its number of training images, and the figures of its last weights.

    validation, referee: loss and accuracy. No study sees the referee's images.
    """

    curve: str
    images: int
    seed: int
    train: tuple[float, float]
    validation: tuple[float, float]
    referee: tuple[float, float]
    seconds: float

    @property
    def key(self) -> tuple[str, int, int]:
        return self.curve, self.images, self.seed


@dataclass(frozen=True)
class Curve:
    """One learning curve. variant: tells curves of the same network and dataset apart."""

    dataset: str
    variant: str
    condition: Condition

    @property
    def key(self) -> str:
        return f"{self.dataset}-{self.variant}"

    @property
    def sizes(self) -> list[int]:
        """Numbers of training images in ascending order; each is half of the next one, rounded down."""
        return [self.condition.train >> doubling for doubling in range(DOUBLINGS, -1, -1)]

    def spec(self, images: int, seed: int) -> JobSpec:
        limit = {"training": {"train_limit": images, "seed": seed}}
        return JobSpec.model_validate(merge(self.condition.base, limit))


def all_curves() -> list[Curve]:
    """List all curves, cheapest first."""
    return sorted(_curves(), key=lambda curve: curve.condition.cost)


def read_points(file: Path = FILE) -> Iterator[Point]:
    """Read every complete line of a file."""
    for line in file.read_text(encoding="utf-8").split("\n")[:-1] if file.is_file() else ():
        fields: dict[str, Any] = json.loads(line)
        pairs = {name: tuple(fields[name]) for name in ("train", "validation", "referee")}
        yield Point(**fields | pairs)


def point_of(curve: Curve, images: int, training: Training) -> Point:
    return Point(
        curve=curve.key,
        images=images,
        seed=training.seed,
        train=(training.train_loss, training.train_accuracy),
        validation=(float(training.losses.mean(dtype=np.float64)), float(training.correct.mean())),
        referee=(training.referee_loss, training.referee_accuracy),
        seconds=training.seconds,
    )


def line_of(point: Point) -> str:
    rounded = {
        name: [round(float(figure), 5) for figure in value] if isinstance(value, tuple) else value
        for name, value in asdict(point).items()
    }
    return json.dumps(rounded | {"seconds": round(point.seconds, 2)}) + "\n"


def _curves() -> Iterator[Curve]:
    slow, mild = tuple(SLOW.items()), tuple(MILD.items())
    for dataset in ("digits", "mnist5k", "fashion_mnist", "animals", "textures"):
        side = SIDES.get(dataset, 14)
        train, validation = SIZES.get(dataset, OTHER_SIZES)

        def of(
            variant: str,
            network: str,
            epochs: int,
            optimizer: tuple[tuple[str, Any], ...] = tuple(ADAM.items()),
            augmentation: tuple[tuple[str, Any], ...] = (),
            times: int = 1,
        ) -> Curve:
            condition = Condition(
                dataset,  # noqa: B023 - called at once
                side,  # noqa: B023
                network,
                train * times,  # noqa: B023
                validation,  # noqa: B023
                epochs,
                batch=16,
                optimizer=optimizer,
                augmentation=augmentation,
            )
            return Curve(dataset, variant, condition)  # noqa: B023

        yield of("small", "small", 15)
        yield of("small-slow", "small", 15, optimizer=slow)
        yield of("small-moved", "small", 15, augmentation=mild)
        yield of("wide", "wide", 12)
        yield of("norm", "norm", 15)
        yield of("dropped", "dropped", 20, augmentation=mild)
        if dataset in {"fashion_mnist", "animals"}:
            yield of("small-long", "small", 12, times=2)
