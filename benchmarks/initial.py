"""What known weights are worth as a start: twenty images of each class, of classes that the first network never saw.

A network is trained on 10,000 images of five classes of fashion_mnist. Then one learns the other five classes from 20
images of each: from scratch, from those weights, and with their first blocks frozen. The files are read from the
folder that HELDOUT_DATASETS names.
"""

import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from analysis.arrays.dataset import ImageSet
from analysis.jobs.initial import Initial, Weights, match
from heldout.service.settings import Settings
from heldout.spec.job import JobSpec
from heldout.spec.layers import NetworkPlan, plan_network
from heldout.statistics import compute_t_quantile
from models.bundled import BUNDLED
from worker.messages import AssignedDataset, Assignment
from worker.training.data.training_data import ResidentData, select
from worker.training.engine.engine import Engine
from worker.training.exports.exported_model import PreparedExport, export_kept
from worker.training.measuring.evaluate import Evaluator
from worker.training.networks.network import build_network, freeze_blocks
from worker.training.trainer import Trainer
from worker.training.training_setup import start_from

SEEDS = range(5)
SOURCE_IMAGES, SOURCE_EPOCHS = 2_000, 5  # images of each class
FEW, FEW_EPOCHS = 20, 40
VALIDATION = 20
NETWORK = {"blocks": [{"filters": 32}, {"filters": 64}, {"filters": 64, "pool": 1}], "dense": [{"units": 64}]}
ARMS: dict[str, int | None] = {"from scratch": None, "from there": 0, "2 blocks frozen": 2, "3 blocks frozen": 3}


def main() -> None:
    whole = BUNDLED["fashion_mnist"].read(Settings().datasets)
    found: dict[str, list[float]] = {arm: [] for arm in ARMS}
    with tempfile.TemporaryDirectory() as first, tempfile.TemporaryDirectory() as second:
        model = Path(first) / "model.keras"
        for seed in SEEDS:
            draw = np.random.default_rng(seed)
            known, others = np.split(draw.permutation(10), [5])
            trained(_spec(SOURCE_EPOCHS, seed), images_of(whole, known, SOURCE_IMAGES, draw), Path(first))
            few = images_of(whole, others, FEW, draw)
            source = Weights.of("job_1", _plan(_spec(1, seed), few), [whole.classes[label] for label in known])
            for arm, frozen in ARMS.items():
                initial = None if frozen is None else {"job": "job_1", "freeze_blocks": frozen}
                spec = _spec(FEW_EPOCHS, seed, initial)
                fits = None if frozen is None else match(spec, _plan(spec, few), few.classes, source)
                found[arm].append(trained(spec, few, Path(second), model, fits))
            print(f"seed {seed}: " + ", ".join(f"{arm} {values[-1]:.4f}" for arm, values in found.items()), flush=True)
    show(found)


def show(found: dict[str, list[float]]) -> None:
    """Test accuracy of each arm, and its difference from scratch with a 95% interval (paired, Student's t)."""
    print("| arm | test accuracy | more than from scratch |\n|---|---|---|")
    base = found["from scratch"]
    for arm, values in found.items():
        more = [value - other for value, other in zip(values, base, strict=True)]
        half = compute_t_quantile(0.975, len(more) - 1) * stdev(more) / len(more) ** 0.5
        low, high = mean(more) - half, mean(more) + half
        difference = "" if values is base else f"{mean(more):+.3f} ({low:+.3f} to {high:+.3f})"
        print(f"| {arm} | {mean(values):.3f} ± {stdev(values):.3f} | {difference} |")


def trained(
    spec: JobSpec, images: ImageSet, scratch: Path, model: Path | None = None, initial: Initial | None = None
) -> float:
    """Train as a worker does, leave the model in `scratch`, and return its test accuracy."""
    keras.backend.clear_session()
    assert spec.training.seed is not None
    data = select(images, spec)
    network = build_network(spec.network, images.shape, len(images.classes), spec.training.seed)
    if initial is not None and spec.initial is not None and model is not None:
        freeze_blocks(network, spec.initial.freeze_blocks)
        start_from(network, model, initial.taken)
    source = ResidentData(data)
    evaluator = Evaluator(network, source)
    engine = Engine(network, data, source, spec)
    trainer = Trainer(spec, data, engine, evaluator, scratch=scratch, send=lambda message: None)
    trainer.train()
    assignment = Assignment("job_initial", spec, AssignedDataset(Path()), scratch)
    with ThreadPoolExecutor(1) as thread:
        export_kept(trainer.get_trained_weights(), PreparedExport(spec.network, data, source, thread), assignment)
    return evaluator.measure(data.rows["test"]).accuracy


def _spec(epochs: int, seed: int, initial: dict[str, Any] | None = None) -> JobSpec:
    body = {"dataset": "fashion", "network": NETWORK, "training": {"epochs": epochs, "seed": seed}}
    return JobSpec.model_validate(body | ({"initial": initial} if initial else {}))


def _plan(spec: JobSpec, images: ImageSet) -> NetworkPlan:
    return plan_network(spec.network, images.shape, len(images.classes))


def images_of(whole: ImageSet, labels: NDArray[np.int64], count: int, draw: np.random.Generator) -> ImageSet:
    """Select images of some classes: `count` of each for training, a few for validation, and the whole test split."""
    rows: dict[str, list[NDArray[np.int64]]] = {"train": [], "validation": [], "test": []}
    for label in labels:
        of_class = draw.permutation(np.flatnonzero(whole.labels[:60_000] == label))
        rows["train"].append(of_class[:count])
        rows["validation"].append(of_class[count : count + VALIDATION])
        rows["test"].append(whole.splits["test"][whole.labels[whole.splits["test"]] == label])
    taken = {split: np.concatenate(parts) for split, parts in rows.items()}
    every = np.concatenate(list(taken.values()))
    ends = np.cumsum([len(part) for part in taken.values()])
    new_label = np.full(10, -1, np.int32)
    new_label[labels] = np.arange(len(labels))
    return replace(
        whole,
        images=np.ascontiguousarray(whole.images[every]),
        labels=new_label[whole.labels[every]],
        splits=dict(zip(taken, np.split(np.arange(ends[-1]), ends[:-1]), strict=True)),
        classes=tuple(whole.classes[label] for label in labels),
    )


if __name__ == "__main__":
    main()
