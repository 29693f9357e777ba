"""What the sum of a training image's losses tells: `python -m benchmarks.memorized`.

It is measured as a detector of planted wrong labels, and against leave-out memorization (Feldman 2020): how much more
often networks get an image right that was in their training. Results are kept in `.cache`, so a run may be short
(`--minutes`) and the next one continues. Figures are in `benchmarks/memorized.json`.
"""

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from scipy.stats import spearmanr
from sklearn.metrics import average_precision_score, roc_auc_score

import worker.training.preload  # noqa: F401 - chooses the backend of Keras
from analysis.arrays.dataset import ImageSet
from benchmarks.zoo.manifest import load_built
from heldout.spec.job import JobSpec
from worker.training.data.training_data import ResidentData, TrainingData
from worker.training.engine.checkpoint import FitSums
from worker.training.engine.engine import Engine
from worker.training.measuring.evaluate import Evaluator
from worker.training.networks.network import build_network
from worker.training.suspects.planting import score_labels
from worker.training.suspects.search import find_suspects

FIGURES = Path(__file__).with_suffix(".json")
WORK = Path(__file__).resolve().parents[1] / ".cache" / "memorized"
SETS = ("digits", "photo_tiles_grey")
IMAGES, HALVES, EPOCHS = 1000, 100, 30
SEEDS = (1, 2, 3)
WRONG = 0.1
SCORES = 4
SPEC = JobSpec.model_validate(
    {
        "dataset": "any",
        "network": {
            "blocks": [{"filters": 16, "padding": "same"}, {"filters": 32, "padding": "same"}],
            "dense": [{"units": 32}],
        },
        "training": {"epochs": EPOCHS, "batch_size": 32, "seed": 1},
    }
)


@dataclass(frozen=True)
class Course:
    """One training on all images; each array is (images,).

    loss_sums: what a job keeps. forgotten: epochs after which an image was wrong that was right one epoch before; of an
        image that was never right, all epochs (Toneva and others 2019). last_loss: after the last epoch.
    """

    loss_sums: NDArray[np.float32]
    forgotten: NDArray[np.int64]
    last_loss: NDArray[np.float32]


class Networks:
    """Trains one network after another on images of one set: the graph is traced once."""

    def __init__(self, images: ImageSet, labels: NDArray[np.int32], count: int) -> None:
        """count: images of each training."""
        self.labels = labels
        rows = np.arange(count, dtype=np.int32)
        self._data = TrainingData(
            images.images, labels, {"train": rows}, {"train": rows}, images.classes, images.value_range, None
        )
        self._shape, self._classes = images.images.shape[1:], len(images.classes)
        self._network = self._built(0)
        self._source = ResidentData(self._data)
        self._engine = Engine(self._network, self._data, self._source, SPEC)
        self._fresh = self._engine.state()
        self.evaluator = Evaluator(self._network, self._source)
        self._answers = tf.function(lambda pixels: tf.argmax(self._network(pixels, training=False), axis=-1))

    def begin(self, seed: int, rows: NDArray[np.int32]) -> None:
        """Make a network with new weights, which will be trained on `rows`."""
        own = [variable.numpy() for variable in self._built(seed).variables]
        self._engine.restore([*own, *self._fresh[len(own) :]])
        self._engine._data = replace(self._data, rows={"train": rows})
        self._engine._seed = seed

    def epoch(self, number: int) -> None:
        steps = self._engine.steps_per_epoch
        self._engine.begin_epoch(number, np.full(steps, SPEC.training.optimizer.learning_rate, np.float32))
        self._engine.run(0, steps, FitSums())

    def right(self) -> NDArray[np.bool_]:
        """Return (images,) which of all images it gets right."""
        pixels, _ = self._source.batch(tf.range(len(self.labels)))
        found: NDArray[np.bool_] = self._answers(pixels).numpy() == self.labels
        return found

    def _built(self, seed: int) -> Any:
        return build_network(SPEC.network, self._shape, self._classes, seed)


def taken(name: str) -> tuple[ImageSet, NDArray[np.int32]]:
    """At most IMAGES images of a set of the zoo, drawn at random, and the number of each one's group."""
    built = load_built(name)
    rows = np.sort(np.random.default_rng(5).permutation(len(built.labels))[:IMAGES])
    labels = built.labels[rows].astype(np.int32)
    used, labels = np.unique(labels, return_inverse=True)
    names = tuple(built.classes[one] for one in used)
    _, groups = np.unique(built.groups[rows], return_inverse=True)
    images = ImageSet(
        np.ascontiguousarray(built.images[rows]),
        labels.astype(np.int32),
        {"train": np.arange(len(rows))},
        names,
        (0, 255),
    )
    return images, groups.astype(np.int32)


def course_of(images: ImageSet, labels: NDArray[np.int32], seed: int) -> Course:
    """Train on all images, as a job does, and answer them after each epoch."""
    networks, rows = Networks(images, labels, len(labels)), np.arange(len(labels), dtype=np.int32)
    networks.begin(seed, rows)
    sums, forgotten = np.zeros(len(rows), np.float32), np.zeros(len(rows), np.int64)
    before, ever = np.zeros(len(rows), np.bool_), np.zeros(len(rows), np.bool_)
    losses = sums
    for number in range(1, EPOCHS + 1):
        networks.epoch(number)
        losses = networks.evaluator.measure_each(rows)[1]
        right = networks.right()
        sums, forgotten, before = sums + losses, forgotten + (before & ~right), right
        ever |= right
    return Course(sums, np.where(ever, forgotten, EPOCHS), losses)


def train_halves(name: str, deadline: float) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which images each half-set training had, and which it got right: both (trainings, images).

    Trainings that an earlier run has done are kept; no other begins after the deadline.
    """
    images, _ = taken(name)
    count = len(images.labels)
    file = WORK / f"{name}.npz"
    had, right = np.zeros((0, count), np.bool_), np.zeros((0, count), np.bool_)
    if file.is_file():
        with np.load(file) as kept:
            had, right = kept["had"], kept["right"]
    if len(had) < HALVES and perf_counter() < deadline:
        networks = Networks(images, images.labels, count // 2)
        while len(had) < HALVES and perf_counter() < deadline:
            seed = len(had) + 1
            rows = np.sort(np.random.default_rng([seed, 7]).permutation(count)[: count // 2]).astype(np.int32)
            networks.begin(seed, rows)
            for number in range(1, EPOCHS + 1):
                networks.epoch(number)
            had = np.vstack([had, np.isin(np.arange(count), rows)])
            right = np.vstack([right, networks.right()])
        WORK.mkdir(parents=True, exist_ok=True)
        np.savez(file, had=had, right=right)
    return had, right


def memorization(had: NDArray[np.bool_], right: NDArray[np.bool_]) -> NDArray[np.floating]:
    """(images,) how much more often a network gets an image right that was trained with it."""
    with_it = (right & had).sum(axis=0) / had.sum(axis=0)
    without: NDArray[np.floating] = (right & ~had).sum(axis=0) / (~had).sum(axis=0)
    return with_it - without


def halves_figures(name: str, deadline: float) -> dict[str, Any] | None:
    """Rank correlations with leave-out memorization; None while trainings are missing."""
    had, right = train_halves(name, deadline)
    print(f"{name}: {len(had)} of {HALVES} half-set trainings", flush=True)
    if len(had) < HALVES:
        return None
    images, _ = taken(name)
    truth = memorization(had, right)
    courses = [course_of(images, images.labels, seed) for seed in SEEDS]
    # How well the truth agrees with itself bounds every correlation with it.
    first, second = (memorization(had[part::2], right[part::2]) for part in (0, 1))
    return {
        "images": len(images.labels),
        "classes": len(images.classes),
        "trainings": len(had),
        "right_without": round(float((right & ~had).sum() / (~had).sum()), 4),
        "memorized": round(float((truth >= 0.25).mean()), 4),
        "truth_with_itself": _rank(first, second),
        "loss_sums": _mean(_rank(course.loss_sums, truth) for course in courses),
        "forgotten": _mean(_rank(course.forgotten, truth) for course in courses),
        "last_loss": _mean(_rank(course.last_loss, truth) for course in courses),
    }


def wrong_figures(name: str, known: Mapping[str, Any]) -> dict[str, Any]:
    """How well each score finds planted wrong labels, each the mean over the seeds.

    Args:
        known: figures of earlier runs; what the search found takes long, and stays as it is.
    """
    images, groups = taken(name)
    found: dict[str, list[tuple[float, float]]] = {}
    for seed in SEEDS:
        labels = planted(images.labels, len(images.classes), seed)
        scores: dict[str, NDArray[Any]] = dict(vars(course_of(images, labels, seed)))
        if "search" not in known:
            searched = find_suspects(replace(images, labels=labels), groups, seed)
            scores["search"] = score_labels(searched.probabilities, labels)
        for what, score in scores.items():
            is_wrong = labels != images.labels
            areas = roc_auc_score(is_wrong, score), average_precision_score(is_wrong, score)
            found.setdefault(what, []).append(areas)
    means = {
        what: {"auroc": _mean(area for area, _ in areas), "average_precision": _mean(ap for _, ap in areas)}
        for what, areas in found.items()
    }
    return {**known, **means}


def planted(labels: NDArray[np.int32], classes: int, seed: int) -> NDArray[np.int32]:
    """The labels with WRONG of them wrong, each drawn from all other classes."""
    draws = np.random.default_rng([seed, 13])
    wrong = draws.permutation(len(labels))[: round(WRONG * len(labels))]
    given = labels.copy()
    given[wrong] = (labels[wrong] + draws.integers(1, classes, len(wrong))) % classes
    return given


def _rank(one: NDArray[Any], other: NDArray[Any]) -> float:
    return round(float(spearmanr(one, other).statistic), 4)


def _mean(values: Any) -> float:
    return round(float(np.mean(list(values))), 4)


def table(figures: dict[str, Any]) -> str:
    """Markdown: one table of correlations, one of planted labels."""
    lines = [
        "| set | right without it | memorized | truth with itself | sum of losses | forgotten | last loss |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, one in figures["memorization"].items():
        shares = f"{100 * one['right_without']:.0f}% | {100 * one['memorized']:.0f}%"
        ranks = " | ".join(f"{one[what]:.2f}" for what in ("truth_with_itself", "loss_sums", "forgotten", "last_loss"))
        lines.append(f"| {name}, {one['images']:,} images | {shares} | {ranks} |")
    lines += ["", "| set | search | sum of losses | forgotten | last loss |", "|---|---|---|---|---|"]
    for name, one in figures["wrong_labels"].items():
        scores = (one[what] for what in ("search", "loss_sums", "forgotten", "last_loss"))
        cells = " | ".join(f"{score['auroc']:.3f} · {score['average_precision']:.2f}" for score in scores)
        lines.append(f"| {name} | {cells} |")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=60.0, help="no other part begins after these minutes")
    chosen = parser.parse_args(arguments)
    deadline = perf_counter() + 60 * chosen.minutes
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(2)
    figures = json.loads(FIGURES.read_text("utf-8")) if FIGURES.is_file() else {"memorization": {}, "wrong_labels": {}}
    for name in SETS:
        if name not in figures["memorization"] and perf_counter() < deadline:
            found = halves_figures(name, deadline)
            if found is not None:
                figures["memorization"][name] = found
        known = figures["wrong_labels"].get(name, {})
        if len(known) < SCORES and perf_counter() < deadline:
            figures["wrong_labels"][name] = wrong_figures(name, known)
        FIGURES.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    print(table(figures))


if __name__ == "__main__":
    main()
