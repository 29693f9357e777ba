"""The time of an epoch with each augmentation as a share of an epoch without, on the three reference networks.

`python -m benchmarks.augmentations [--rounds N]`. An epoch draws its changes, takes its steps, and measures the
training and validation splits, as jobs do by default. All variants take turns in one process with one tower. A figure
is the minimum over all rounds in processor time, so other work on the machine matters little. Changes of color are
measured on the same networks with three channels.
"""

import argparse
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from analysis.arrays.dataset import ImageSet
from benchmarks.naive import in_process
from heldout.spec.job import JobSpec

TRAIN, VALIDATION, CLASSES = 2000, 500, 10
NETWORKS = {"C": "augmented", "B": "regularized", "A": "overfit"}
REFERENCE = {"rotation_degrees": 20.0, "width_shift": 0.2, "height_shift": 0.2, "horizontal_flip": True}
GRAY: dict[str, dict[str, Any]] = {
    "`examples/augmented.json`": REFERENCE,
    "`random_crop`, padded": {"random_crop": {}},
    "`random_crop`, resized": {"random_crop": {"name": "resized"}},
    "`trivial_augment`": {"trivial_augment": True},
    "`brightness`, `contrast`": {"brightness": 0.2, "contrast": 0.2},
    "`erasing`": {"erasing": 0.5},
}
COLOR: dict[str, dict[str, Any]] = {
    "`examples/augmented.json`, 3 channels": REFERENCE,
    "`hue`, 3 channels": {"hue": 0.1},
    "`saturation`, 3 channels": {"saturation": 0.4},
    "`trivial_augment`, 3 channels": {"trivial_augment": True},
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.augmentations")
    parser.add_argument("--rounds", type=int, default=9)
    rounds = parser.parse_args().rounds
    found: dict[str, list[str]] = {name: [] for name in (*GRAY, *COLOR)}
    for example in NETWORKS.values():
        for channels, ways in ((1, GRAY), (3, COLOR)):
            seconds = in_process(_seconds, (example, channels, [None, *ways.values()], rounds))
            for name, taken in zip(ways, seconds[1:], strict=True):
                found[name].append(f"{taken / seconds[0]:.2f}")
                print(f"{example}, {channels}: {name} {found[name][-1]}", file=sys.stderr, flush=True)
    print(f"| an epoch with | {' | '.join(NETWORKS)} |\n|{'---|' * (len(NETWORKS) + 1)}")
    print("\n".join(f"| {name} | {' | '.join(shares)} |" for name, shares in found.items()))
    print(f"\nLoad average at the end {os.getloadavg()[0]:.1f}.")


def _seconds(task: tuple[str, int, list[dict[str, Any] | None], int]) -> list[float]:
    """Measure the processor time of an epoch with each augmentation."""
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    example, channels, augmentations, rounds = task
    epochs = [_make_epoch(example, channels, augmentation) for augmentation in augmentations]
    seconds: list[list[float]] = [[] for _ in epochs]
    for number in range(rounds + 1):  # the first of them traces and is not counted
        for of_way, run in zip(seconds, epochs, strict=True):
            began = time.process_time()
            run(number + 1)
            of_way.append(time.process_time() - began)
    return [min(of_way[1:]) for of_way in seconds]


def _make_epoch(example: str, channels: int, augmentation: dict[str, Any] | None) -> Any:
    from worker.training.data.training_data import ResidentData, select
    from worker.training.engine.checkpoint import FitSums
    from worker.training.engine.engine import Engine
    from worker.training.measuring.evaluate import make_evaluator
    from worker.training.networks.network import build_network

    content = json.loads((Path("examples") / f"{example}.json").read_text())
    content |= {"augmentation": augmentation, "training": content["training"] | {"seed": 1}}
    spec, draws = JobSpec.model_validate(content), np.random.default_rng(0)
    count = TRAIN + VALIDATION
    images = ImageSet(
        draws.integers(0, 256, (count, 28, 28, channels), np.uint8),
        draws.integers(0, CLASSES, count).astype(np.int32),
        {"train": np.arange(TRAIN), "validation": np.arange(TRAIN, count), "test": np.arange(1)},
        tuple(map(str, range(CLASSES))),
        (0, 255),
    )
    data = select(images, spec, None)
    source, network = ResidentData(data), build_network(spec.network, images.shape, CLASSES, 1)
    engine = Engine(network, data, source, spec)
    evaluator = make_evaluator(spec, network, source, engine.weights, "float32")
    rates = np.full(engine.steps_per_epoch, 0.001, np.float32)

    def run(epoch: int) -> None:
        engine.begin_epoch(epoch, rates)
        engine.run(0, engine.steps_per_epoch, FitSums())
        for split in ("train", "validation"):
            evaluator.measure(data.rows[split])

    return run


if __name__ == "__main__":
    main()
