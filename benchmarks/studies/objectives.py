"""How often intervals of differences hold by other metrics than accuracy and loss, in simulated studies.

`python -m benchmarks.studies.objectives` prints the table of docs/measurements/objectives.md. Each study has a base and
one remedy, which is better, most of all for rare classes or groups. Nothing but its own seeds shows how noisy they are.
"""

import argparse
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from analysis.answers.answers import Answers, Predictions
from analysis.answers.metrics import contribute
from analysis.studies.comparing import GainUnit, Pair, compare_pairs
from analysis.studies.state import Scores
from heldout.metrics import Measure

OF_CLASSES: tuple[Measure, ...] = ("balanced_accuracy", "macro_f1", "auroc", "worst_class")
OF_GROUPS: tuple[Measure, ...] = ("worst_group",)
MINIMA = ("worst_class", "worst_group")
# Standard deviation of the logit of the right class between seeds, of all classes together and of each.
SEED_NOISE = 0.15
# Images and seeds that stand for all there are.
TRUE_IMAGES, TRUE_SEEDS = 60_000, 40


@dataclass(frozen=True)
class Setting:
    """One row: the validation images of each class or group, and the seeds. folds: each seed has its own, if any."""

    counts: tuple[int, ...]
    seeds: int
    folds: int | None = None


def list_settings() -> Iterator[Setting]:
    """Return all rows of the table."""
    for seeds in (3, 8):
        yield Setting((20, 1000), seeds)
        yield Setting((100, 4900), seeds)
        yield Setting((20, 100, 1000), seeds)
        yield Setting((20, *[100] * 9), seeds)
        yield Setting((100,) * 10, seeds)
    yield Setting((100, 500, 2000), 5, folds=5)


class World:
    """Draws images, and the answers of trainings to them. Part of an image's difficulty is the same for all."""

    def __init__(self, classes: int, seed: int) -> None:
        self.classes = classes
        self._random = np.random.default_rng(seed)
        self._strength = {"base": np.full(classes, 2.0), "remedy": 2.0 + np.linspace(0.5, 0.0, classes)}

    def draw_images(self, counts: tuple[int, ...]) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
        """Return (images,) labels and (images, classes) what all trainings find likely."""
        labels = np.repeat(np.arange(self.classes), counts).astype(np.int32)
        common = self._random.normal(0, 0.7, (len(labels), self.classes))
        common[np.arange(len(labels)), labels] += self._random.normal(0, 1, len(labels))
        return labels, common

    def answer(self, arm: str, labels: NDArray[np.int32], common: NDArray[np.float64], noise: float) -> Answers:
        """Return the answers of one training."""
        strength = self._strength[arm] + self._random.normal(0, noise) + self._random.normal(0, noise, self.classes)
        logits = common + self._random.normal(0, 0.5, common.shape)
        logits[np.arange(len(labels)), labels] += strength[labels]
        shares = np.exp(logits - logits.max(axis=1, keepdims=True))
        shares = (shares / shares.sum(axis=1, keepdims=True)).astype(np.float32)
        return Answers.to(labels, Predictions(shares, -np.log(shares[np.arange(len(labels)), labels])))

    def draw_folds(self, labels: NDArray[np.int32], folds: int) -> NDArray[np.int64]:
        """Return (images,) the fold of each image; classes are spread evenly."""
        found = np.empty(len(labels), np.int64)
        for label in np.unique(labels):
            places = np.flatnonzero(labels == label)
            found[places] = self._random.permutation(len(places)) % folds
        return found


class GroupedWorld(World):
    """The same for groups of images of all of three classes. The labels that it draws and takes include the group."""

    def draw_images(self, counts: tuple[int, ...]) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
        """Return (images,) three times the group plus the class, and (images, 3) what all trainings find likely."""
        labels = self._random.integers(0, 3, sum(counts))
        common = self._random.normal(0, 0.7, (len(labels), 3))
        common[np.arange(len(labels)), labels] += self._random.normal(0, 1, len(labels))
        return (3 * np.repeat(np.arange(len(counts)), counts) + labels).astype(np.int32), common

    def answer(self, arm: str, labels: NDArray[np.int32], common: NDArray[np.float64], noise: float) -> Answers:
        """Return the answers of one training, with the group of each image."""
        groups, classes = np.divmod(labels, 3)
        strength = self._strength[arm] + self._random.normal(0, noise) + self._random.normal(0, noise, self.classes)
        logits = common + self._random.normal(0, 0.5, common.shape)
        logits[np.arange(len(labels)), classes] += strength[groups] + self._random.normal(0, noise, 3)[classes]
        return Answers.without_probabilities(classes, logits.argmax(axis=1)).in_groups(groups.astype(np.int64))


def compute_truth(setting: Setting, kind: type[World], metrics: tuple[Measure, ...], seed: int) -> dict[Measure, float]:
    """Return the true differences: means over seeds, on many images in the same shares."""
    world, of_arm = kind(len(setting.counts), seed), {}
    counts = tuple(count * TRUE_IMAGES // sum(setting.counts) for count in setting.counts)
    labels, common = world.draw_images(counts)
    for arm in ("base", "remedy"):
        answers = [world.answer(arm, labels, common, SEED_NOISE) for _ in range(TRUE_SEEDS)]
        of_arm[arm] = {m: np.mean([contribute(m, each).value for each in answers]) for m in metrics}
        right, strata = np.mean([each.right for each in answers], axis=0), contribute(metrics[0], answers[0]).strata
        lowest = min(right[strata == stratum].mean() for stratum in range(len(counts)))
        of_arm[arm] |= {m: lowest for m in metrics if m in MINIMA}
    return {m: float(of_arm["remedy"][m] - of_arm["base"][m]) for m in metrics}


def measure_coverage(setting: Setting, studies: int, seed: int = 0) -> dict[Measure, float]:
    """Return how often the interval of each metric holds the true difference, by classes and by groups."""
    of_classes = _measure_coverage(setting, World, OF_CLASSES, studies, seed)
    return of_classes | _measure_coverage(setting, GroupedWorld, OF_GROUPS, studies, seed)


def _measure_coverage(
    setting: Setting, kind: type[World], metrics: tuple[Measure, ...], studies: int, seed: int
) -> dict[Measure, float]:
    truth, world = compute_truth(setting, kind, metrics, seed), kind(len(setting.counts), seed + 1)
    held = dict.fromkeys(metrics, 0)
    for _ in range(studies):
        labels, common = world.draw_images(setting.counts)
        fold = None if setting.folds is None else world.draw_folds(labels, setting.folds)
        answers: dict[str, list[tuple[NDArray[np.int64], Answers]]] = {"remedy": [], "base": []}
        for number in range(setting.seeds):
            rows = np.arange(len(labels)) if fold is None else np.flatnonzero(fold == number % (setting.folds or 1))
            for arm, of_arm in answers.items():
                of_arm.append((rows, world.answer(arm, labels[rows], common[rows], SEED_NOISE)))
        for metric in metrics:
            arms = [[make_scores(metric, *each) for each in of_arm] for of_arm in answers.values()]
            unit = GainUnit(1.0, 1.0, (metric,))
            low, high = compare_pairs({"remedy": Pair(*arms)}, unit, setting.folds)["remedy"].objective.interval()
            held[metric] += low <= truth[metric] <= high
    return {metric: count / studies for metric, count in held.items()}


def make_scores(metric: Measure, rows: NDArray[np.int64], answers: Answers) -> Scores:
    """Return what a study compares of one training."""
    losses = answers.losses.astype(np.float32)
    return Scores(rows.astype(np.int32), losses, answers.right, objective=contribute(metric, answers))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--studies", type=int, default=600, help="for each row")
    options = parser.parse_args()
    headings = ("images of each class, or of each group", "seeds", "splits", "balanced accuracy", "macro F1", "AUROC")
    print("| " + " | ".join([*headings, "worst class", "worst group"]) + " |")
    print("|---" * 8 + "|")
    for setting in list_settings():
        found = measure_coverage(setting, options.studies)
        rare, times = setting.counts[0], len(setting.counts)
        images = f"{rare} in each of {times}" if set(setting.counts) == {rare} else describe_counts(setting.counts)
        splits = "fixed" if setting.folds is None else f"{setting.folds} folds"
        figures = " | ".join(f"{share:.3f}" for share in found.values())
        print(f"| {images} | {setting.seeds} | {splits} | {figures} |", flush=True)


def describe_counts(counts: tuple[int, ...]) -> str:
    """`20 : 1,000`, or `20 : 9 × 100`."""
    if len(counts) > 3:
        return f"{counts[0]} : {len(counts) - 1} × {counts[1]}"
    return " : ".join(f"{count:,}" for count in counts)


if __name__ == "__main__":
    main()
