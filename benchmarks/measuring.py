"""How far an epoch's figures in bfloat16 are from those of the exported model, which computes in float32.

`python -m benchmarks.measuring [NAME …]` trains networks of the diagnosis' collection, and larger ones, in bfloat16 and
measures each epoch in both ways. Distances are in standard errors of the split: what chance alone makes of a figure.
"""

import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.diagnosis.conditions import ABLE, Condition, all_conditions
from benchmarks.diagnosis.sets import planted_set
from heldout.spec.job import JobSpec
from heldout.spec.network import NetworkSpec

DATASETS = ("digits", "mnist5k")
EPOCHS = 5
LARGER: dict[str, dict[str, Any]] = {
    "32-64-128": {"blocks": [{"filters": 32}, {"filters": 64}, {"filters": 128}]},
    "32-64, dropout": {"blocks": [{"filters": 32, "dropout": 0.25}, {"filters": 64, "dropout": 0.25}], "l2": 0.01},
    "64-64 same, batch_norm": {
        "blocks": [{"filters": 64, "padding": "same", "batch_norm": True}] * 2,
        "head": "global_average",
    },
}


@dataclass(frozen=True)
class Distance:
    """One split after one epoch: its accuracy in float32, and how far bfloat16 is off, in standard errors."""

    split: str
    epoch: int
    count: int
    exact: float
    accuracy: float
    loss: float


def conditions() -> Iterator[tuple[str, Condition, NetworkSpec]]:
    """One condition for each able network of the collection and each dataset, and the larger networks on mnist5k."""
    known = [one for one in all_conditions() if one.epochs >= EPOCHS]
    for dataset in DATASETS:
        for network in ABLE:
            one = next((one for one in known if (one.dataset, one.network) == (dataset, network)), None)
            if one is not None:
                yield f"{dataset} {network}", one, one.spec.network
    plain = next(one for one in known if one.dataset == "mnist5k" and one.images >= 2000 and not one.wrong)
    for name, network in LARGER.items():
        yield f"mnist5k {name}", plain, NetworkSpec.model_validate(network)


def distances(condition: Condition, network: NetworkSpec, epochs: int = EPOCHS) -> list[Distance]:
    """Train in bfloat16, and measure train and validation after each epoch as a job does and in float32."""
    from worker.training.data.training_data import ResidentData, select
    from worker.training.engine.checkpoint import FitSums
    from worker.training.engine.engine import Engine
    from worker.training.exports.exported_model import build_exported
    from worker.training.measuring.evaluate import make_evaluator, measure_predictions
    from worker.training.measuring.predictor import Predictor
    from worker.training.networks.network import build_network

    images = planted_set(condition).images
    spec: JobSpec = condition.spec.model_copy(update={"network": network})
    data = select(images, spec)
    trained = build_network(network, images.shape, len(images.classes), condition.seed, "mixed_bfloat16")
    source = ResidentData(data)
    engine = Engine(trained, data, source, spec)
    evaluator = make_evaluator(spec, trained, source, engine.weights, "mixed_bfloat16")
    predictor = Predictor(build_exported(network, data, trained), source, data.value_range)
    rates = np.full(engine.steps_per_epoch, condition.rate, np.float32)
    found = []
    for epoch in range(1, epochs + 1):
        engine.begin_epoch(epoch, rates)
        engine.run(0, engine.steps_per_epoch, FitSums())
        predictor.use(engine.weights())
        for split in ("train", "validation"):
            rows = data.rows[split]
            ours, said = evaluator.measure(rows), predictor.predict(rows)
            exact = measure_predictions(said.losses, said.probabilities, data.labels[rows])
            off = abs(ours.accuracy - exact.accuracy)
            error = np.sqrt(exact.accuracy * (1 - exact.accuracy) / exact.count)
            loss = abs(ours.loss - exact.loss) / _standard_error(said.losses)
            found.append(Distance(split, epoch, exact.count, exact.accuracy, float(off and off / error), loss))
    return found


def _standard_error(values: NDArray[np.float32]) -> float:
    return float(values.std(ddof=1, dtype=np.float64) / np.sqrt(len(values)))


def main(names: list[str]) -> None:
    """Print a table: the largest distances of each network."""
    print("| network | images | accuracy at the end | accuracy off by | loss off by |\n|---|---|---|---|---|")
    for name, condition, network in conditions():
        if names and not any(part in name for part in names):
            continue
        found = distances(condition, network)
        for split in ("train", "validation"):
            of_split = [one for one in found if one.split == split]
            accuracy, loss = (max(getattr(one, kind) for one in of_split) for kind in ("accuracy", "loss"))
            last = of_split[-1]
            print(f"| {name}, {split} | {last.count:,} | {last.exact:.3f} | {accuracy:.3f} | {loss:.3f} |", flush=True)


if __name__ == "__main__":
    os.chdir(Path(__file__).resolve().parent.parent)
    main(sys.argv[1:])
