"""What choosing an epoch by each metric gains and costs, on recorded trainings with rare classes.

`python -m benchmarks.imbalanced` trains networks on digits whose odd classes are 10 or 50 times rarer, in training and
in validation alike. After each epoch it measures every metric on validation, and on referee images, of which all
classes have the same number. Then each metric chooses its best epoch of the same training, as `restore_best` does.
"""

import argparse
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import keras
import numpy as np
from numpy.typing import NDArray

from analysis.answers.answers import Answers
from analysis.answers.metrics import contribute
from analysis.arrays.dataset import ImageSet
from benchmarks.diagnosis.sets import cut
from heldout.metrics import METRICS, Measure
from heldout.spec.job import JobSpec
from worker.training.data.training_data import ResidentData, TrainingData, take_images
from worker.training.engine.checkpoint import FitSums
from worker.training.engine.engine import Engine
from worker.training.exports.exported_model import build_exported
from worker.training.measuring.predictor import Predictor
from worker.training.networks.network import build_network

# Images before classes become rare: train, validation, none for test, referee.
SETS = {"digits": (800, 400, 0, 597), "mnist5k": (2000, 1000, 0, 2000)}
RATIOS = (10, 50)
SEEDS, EPOCHS, BATCH = 5, 20, 32
# To miss a rare class costs ten times as much as any other mistake.
MISSED = 10.0
CHOICES: tuple[Measure, ...] = ("accuracy", "loss", "balanced_accuracy", "macro_f1", "worst_class", "auroc", "cost")


@dataclass(frozen=True)
class Setting:
    """One training: its images, how much rarer the odd classes are, and its seed."""

    dataset: str
    ratio: int
    seed: int


@dataclass(frozen=True)
class Epoch:
    """What one epoch's weights give: each metric on validation, and figures of the referee.

    usual: accuracy on referee images weighted as in training. recalls: (classes,) of the referee.
    """

    validation: dict[Measure, float]
    usual: float
    recalls: NDArray[np.float64]


def make_imbalanced(images: ImageSet, ratio: int, seed: int) -> ImageSet:
    """Leave 1 of `ratio` images of each odd class in train and validation, at least one."""
    draw, splits = np.random.default_rng([seed, ratio]), dict(images.splits)
    for split in ("train", "validation"):
        rows = draw.permutation(splits[split])
        labels = images.labels[rows]
        kept = [
            rows[labels == label][: max(1, round((labels == label).sum() / ratio)) if label % 2 else None]
            for label in range(len(images.classes))
        ]
        splits[split] = np.sort(np.concatenate(kept))
    return ImageSet(images.images, images.labels, splits, images.classes, images.value_range)


def train(setting: Setting) -> Iterator[Epoch]:
    """Train, and measure the exported network after each epoch."""
    images = make_imbalanced(cut(setting.dataset, SETS[setting.dataset]), setting.ratio, setting.seed)
    for predictor, data in train_small(setting.dataset, images, ("train", "validation", "referee"), setting.seed):
        yield measure(predictor, data)


def train_small(
    dataset: str, images: ImageSet, splits: Sequence[str], seed: int, epochs: int = EPOCHS
) -> Iterator[tuple[Predictor, TrainingData]]:
    """Train a small network, and yield it as it would be exported after each epoch."""
    keras.backend.clear_session()
    data = take_images(images, {name: images.splits[name] for name in splits})
    spec = JobSpec.model_validate(
        {
            "dataset": dataset,
            "network": {"blocks": [{"filters": 16, "padding": "same"}, {"filters": 32, "padding": "same"}]},
            "training": {"epochs": epochs, "batch_size": BATCH, "seed": seed},
            "resources": {"device": "cpu", "towers": 1},
        }
    )
    network = build_network(spec.network, images.shape, len(images.classes), seed, "float32")
    source = ResidentData(data)
    engine = Engine(network, data, source, spec)
    predictor = Predictor(build_exported(spec.network, data, network), source, data.value_range)
    rates = np.full(engine.steps_per_epoch, 0.001, np.float32)
    for epoch in range(1, epochs + 1):
        engine.begin_epoch(epoch, rates)
        engine.run(0, engine.steps_per_epoch, FitSums())
        predictor.use(engine.weights())
        yield predictor, data


def measure(predictor: Predictor, data: TrainingData) -> Epoch:
    """Measure the current weights on validation and on the referee."""
    found = {}
    for split in ("validation", "referee"):
        rows = data.rows[split]
        found[split] = Answers.to(data.labels[rows], predictor.predict(rows))
    classes, referee = len(data.classes), found["referee"]
    costs = (1 - np.eye(classes)) * np.where(np.arange(classes) % 2, MISSED, 1.0)[:, None]
    validation = {metric: contribute(metric, found["validation"], costs.tolist()).value for metric in CHOICES}
    recalls = np.bincount(referee.labels, referee.right, classes) / np.bincount(referee.labels, minlength=classes)
    shares = np.bincount(data.labels[data.rows["train"]], minlength=classes) / len(data.rows["train"])
    return Epoch(validation, float(recalls @ shares), recalls)


def choose(epochs: list[Epoch], metric: Measure) -> Epoch:
    """Return the epoch that is best by a metric of validation; of equal ones the first."""
    values = np.array([epoch.validation[metric] for epoch in epochs])
    return epochs[int(np.argmax(values if METRICS[metric].is_share else -values))]


def score(epoch: Epoch) -> NDArray[np.float64]:
    """Return (4,) accuracy as in training, balanced accuracy, recall of the rare classes, and the lowest recall."""
    return 100 * np.array([epoch.usual, epoch.recalls.mean(), epoch.recalls[1::2].mean(), np.min(epoch.recalls)])


def print_rows(ratio: int, trainings: list[list[Epoch]]) -> None:
    """Print the referee's figures of each choice, with the difference from choosing by accuracy (95% by trainings)."""
    by_accuracy = np.array([score(choose(epochs, "accuracy")) for epochs in trainings])
    for metric in CHOICES:
        scores = np.array([score(choose(epochs, metric)) for epochs in trainings])
        gains = scores - by_accuracy
        halves = 1.96 * gains.std(axis=0, ddof=1) / np.sqrt(len(gains))
        cells = [
            f"{value:.1f}" if metric == "accuracy" else f"{value:.1f} ({gain:+.1f} ± {half:.1f})"
            for value, gain, half in zip(scores.mean(axis=0), gains.mean(axis=0), halves, strict=True)
        ]
        print(f"| 1:{ratio} | `{metric}` | {' | '.join(cells)} |", flush=True)


def main() -> None:
    """Print the table of docs/measurements/objectives.md."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=SEEDS)
    seeds = parser.parse_args().seeds
    print("| rare : common | chosen by | accuracy | balanced accuracy | rare classes | worst class |")
    print("|---|---|---|---|---|---|")
    for ratio in RATIOS:
        settings = [Setting(dataset, ratio, seed) for dataset, seed in product(SETS, range(seeds))]
        print_rows(ratio, [list(train(setting)) for setting in settings])


if __name__ == "__main__":
    os.chdir(Path(__file__).resolve().parent.parent)
    main()
