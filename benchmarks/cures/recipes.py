"""The effect of published recipes on the recorded conditions: `python -m benchmarks.cures.recipes [KEY …]`.

They are newer than the recorded trainings, so the base is trained again with them, on the same images and with the
same seeds. Sealed conditions are left out, and so are those whose images are missing. The images are gray, so hue and
saturation are measured on squares of two color photographs that come with scikit-learn.
"""

import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t
from sklearn.datasets import load_sample_images

from analysis.arrays.dataset import ImageSet
from benchmarks.cures import sets
from benchmarks.cures.conditions import MOMENTUM, SEALED, SEEDS, Condition, all_conditions
from benchmarks.cures.record import Training
from benchmarks.cures.remedies import Patch
from heldout.remedies.arms import resolve_remedy
from heldout.remedies.change import Change, RemedyBase
from heldout.spec.documents import merge
from heldout.spec.job import JobSpec
from models.bundled import SourceMissing

REMEDIES = ("random_crop", "trivial_augment", "one_cycle", "step_decay", "nesterov", "clip_norm", "focal_loss")
OF_COLORS = ("hue", "saturation")
SIDE = 10  # pixels of a square
PHOTOGRAPHS = Condition("photographs", SIDE, "small", 100, 100, 20, batch=16, optimizer=tuple(MOMENTUM.items()))


def read_photographs(_: Path) -> ImageSet:
    """Cut squares that do not overlap from the photographs; the class is the photograph."""
    squares: list[NDArray[np.uint8]] = []
    for photograph in load_sample_images().images:
        rows, columns = (length // SIDE for length in photograph.shape[:2])
        cut = photograph[: rows * SIDE, : columns * SIDE].reshape(rows, SIDE, columns, SIDE, 3)
        squares.append(cut.swapaxes(1, 2).reshape(-1, SIDE, SIDE, 3))
    labels = np.repeat(np.arange(len(squares), dtype=np.int32), [len(part) for part in squares])
    return ImageSet(np.concatenate(squares), labels, {}, ("china", "flower"), (0, 255))


def make_arms(condition: Condition) -> Mapping[str, Patch]:
    """Return the base and every remedy that changes it, with its patch from the catalogue."""
    base = RemedyBase(condition.spec("base", 0).model_dump(mode="json"), condition.train)
    names = REMEDIES if condition != PHOTOGRAPHS else (*OF_COLORS, *REMEDIES)
    outcomes = {name: resolve_remedy(name, base) for name in names}
    return {"base": {}} | {name: found.patch for name, found in outcomes.items() if isinstance(found, Change)}


def train_arms(condition: Condition) -> Mapping[str, Sequence[Training]]:
    """Train all seeds of each arm."""
    from benchmarks.cures.trained import Arm

    studied = sets.study_set(condition.dataset, condition.side, condition.train, condition.validation, condition.draw)
    trainings: dict[str, list[Training]] = {}
    for name, patch in make_arms(condition).items():
        specs = [
            JobSpec.model_validate(merge(condition.spec("base", seed).model_dump(mode="json"), patch)) for seed in SEEDS
        ]
        arm = Arm(specs[0], studied)
        trainings[name] = [arm.train(name, seed, spec) for seed, spec in zip(SEEDS, specs, strict=True)]
    return trainings


def describe_effects(trainings: Mapping[str, Sequence[Training]]) -> Iterator[str]:
    """Describe each remedy's mean difference from the base on the referee's images, with a 95% interval over seeds."""
    base = trainings["base"]
    for name, of_arm in trainings.items():
        if name == "base":
            continue
        accuracy = [
            100 * (one.referee_accuracy - other.referee_accuracy) for one, other in zip(of_arm, base, strict=True)
        ]
        loss = [one.referee_loss - other.referee_loss for one, other in zip(of_arm, base, strict=True)]
        yield f"| `{name}` | {_describe(accuracy, 1)} | {_describe(loss, 3)} |"


def _describe(differences: Sequence[float], digits: int) -> str:
    mean, error = np.mean(differences), np.std(differences, ddof=1) / np.sqrt(len(differences))
    reach = t.ppf(0.975, len(differences) - 1) * error
    low, high = f"{mean - reach:+.{digits}f}", f"{mean + reach:+.{digits}f}"
    return f"{mean:+.{digits}f} ({low} to {high})"


def main(keys: Sequence[str]) -> None:
    from benchmarks.cures.trained import one_thread

    one_thread()
    sets.SOURCES["photographs"] = read_photographs
    sets.REFEREES["photographs"] = 2000
    for condition in (*all_conditions(), PHOTOGRAPHS):
        if condition.key in SEALED or (keys and condition.key not in keys):
            continue
        try:
            trainings = train_arms(condition)
        except SourceMissing as missing:
            print(f"{condition.key}: left out, {missing}", flush=True)
            continue
        base = [training.referee_accuracy for training in trainings["base"]]
        print(f"\n{condition.key}, the base is right on {100 * np.mean(base):.1f}%\n", flush=True)
        print("| remedy | accuracy, points | loss, nats |\n|---|---|---|", flush=True)
        print("\n".join(describe_effects(trainings)), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
