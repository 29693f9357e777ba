"""Gradient steps of networks of many kinds: the engine beside Keras' `fit`, in 32 bits and in 16, in turn in one run.

Only steps are timed, no measuring and no checkpoints, on random images that are in memory. Each way has a process of
its own and the cores that a lone job has. `python -m benchmarks.networks [NAME …]`; `BENCH_ROUNDS` sets the rounds.
"""

import os
import statistics
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from benchmarks.naive import in_process

ROUNDS = int(os.environ.get("BENCH_ROUNDS", "3"))
EPOCHS = 4  # the first of them traces and is not counted
CLASSES = 10
Way = Literal["naive", "naive mixed", "engine", "engine mixed"]
WAYS: tuple[Way, ...] = ("naive", "naive mixed", "engine", "engine mixed")


@dataclass(frozen=True)
class Network:
    """A network as the spec names it, on `count` images of `image` (height, width, channels)."""

    network: dict[str, Any]
    image: tuple[int, int, int]
    count: int
    batch_size: int = 32


def _blocks(*filters: int, **more: Any) -> list[dict[str, Any]]:
    return [{"filters": number, **more} for number in filters]


DIGIT, SMALL, PHOTO, LARGE = (28, 28, 1), (32, 32, 3), (64, 64, 3), (96, 96, 3)
NETWORKS: dict[str, Network] = {
    "A 32-64-128": Network({"blocks": _blocks(32, 64, 128)}, DIGIT, 3600),
    "B 32-64, dropout": Network({"blocks": _blocks(32, 64, dropout=0.25), "l2": 0.01}, DIGIT, 3600),
    "C 16": Network({"blocks": _blocks(16)}, DIGIT, 3600),
    "A, batch 128": Network({"blocks": _blocks(32, 64, 128)}, DIGIT, 7200, 128),
    "64-128-256 same": Network({"blocks": _blocks(64, 128, 256, padding="same")}, DIGIT, 1800),
    "16-32 on 8×8": Network({"blocks": _blocks(16, 32, padding="same")}, (8, 8, 1), 3600),
    "32-64-128 same, batch_norm": Network(
        {"blocks": _blocks(32, 64, 128, padding="same", batch_norm=True)}, PHOTO, 480
    ),
    "32-64-128 same": Network({"blocks": _blocks(32, 64, 128, padding="same")}, PHOTO, 960),
    "32-64 twice, batch_norm": Network(
        {"blocks": _blocks(32, 64, padding="same", batch_norm=True, repeat=2), "head": "global_average"}, SMALL, 960
    ),
    "32-64 twice": Network({"blocks": _blocks(32, 64, padding="same", repeat=2), "head": "global_average"}, SMALL, 960),
    "16-32-64-128 same, batch_norm, batch 16": Network(
        {"blocks": _blocks(16, 32, 64, 128, padding="same", batch_norm=True)}, LARGE, 240, 16
    ),
    "32-64, batch_norm, batch 256": Network({"blocks": _blocks(32, 64, batch_norm=True)}, SMALL, 2560, 256),
    "16-32, batch_norm": Network({"blocks": _blocks(16, 32, batch_norm=True)}, DIGIT, 2400),
}


def main(names: list[str]) -> None:
    """Print a table: seconds of an epoch of `fit`, and each other way as a share of it, medians over the rounds."""
    chosen = {name: one for name, one in NETWORKS.items() if not names or any(part in name for part in names)}
    print("| network | naive, s | naive mixed | engine | engine mixed | towers |\n|---|---|---|---|---|---|")
    for name, network in chosen.items():
        rounds = [{way: in_process(_seconds, (way, network)) for way in WAYS} for _ in range(ROUNDS)]
        naive = statistics.median(one["naive"][0] for one in rounds)
        shares = [statistics.median(one[way][0] / one["naive"][0] for one in rounds) for way in WAYS[1:]]
        towers = rounds[0]["engine"][1]
        print(f"| {name} | {naive:.2f} | {' | '.join(f'{share:.2f}' for share in shares)} | {towers} |", flush=True)


def _seconds(task: tuple[Way, Network]) -> tuple[float, int]:
    """The shortest epoch, and the towers of the engine."""
    way, network = task
    import numpy as np

    draws = np.random.default_rng(0)
    pixels = draws.integers(0, 256, (network.count, *network.image), dtype=np.uint8)
    labels = draws.integers(0, CLASSES, network.count).astype(np.int32)
    if way.startswith("naive"):
        return _naive(network, pixels, labels, mixed=way.endswith("mixed")), 0
    return _engine(network, pixels, labels, mixed=way.endswith("mixed"))


def _naive(network: Network, pixels: Any, labels: Any, *, mixed: bool) -> float:
    import keras
    from keras import layers

    keras.utils.set_random_seed(0)
    if mixed:
        keras.mixed_precision.set_global_policy("mixed_bfloat16")
    spec = network.network
    model = keras.Sequential([layers.Input(network.image)])
    for block in spec["blocks"]:
        penalty = keras.regularizers.L2(spec["l2"]) if spec.get("l2") else None
        for _ in range(block.get("repeat", 1)):
            padding = block.get("padding", "valid")
            model.add(layers.Conv2D(block["filters"], 3, padding=padding, kernel_regularizer=penalty))
            if block.get("batch_norm"):
                model.add(layers.BatchNormalization())
            model.add(layers.Activation("relu"))
        model.add(layers.MaxPooling2D(2))
        if block.get("dropout"):
            model.add(layers.Dropout(block["dropout"]))
    model.add(layers.GlobalAveragePooling2D() if spec.get("head") == "global_average" else layers.Flatten())
    model.add(layers.Dense(CLASSES, dtype="float32"))
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
    scaled = pixels.astype("float32") / 255

    def epoch(_: int) -> None:
        model.fit(scaled, labels, batch_size=network.batch_size, verbose=0)

    return _shortest(epoch)


def _engine(network: Network, pixels: Any, labels: Any, *, mixed: bool) -> tuple[float, int]:
    import numpy as np
    import tensorflow as tf

    from heldout.spec import JobSpec
    from models.arrays import ImageSet
    from worker.machine.cores import usable_cores
    from worker.machine.precision import policy_of
    from worker.training.data import select
    from worker.training.engine import Engine, FitSums, chosen_towers
    from worker.training.network import build_network
    from worker.training.resident import ResidentData

    rows = np.arange(network.count)
    splits = {"train": rows, "validation": rows[:1], "test": rows[:1]}
    images = ImageSet(pixels, labels, splits, tuple(map(str, range(CLASSES))), (0, 255))
    training = {"seed": 1, "batch_size": network.batch_size}
    spec = JobSpec.model_validate({"dataset": "none", "network": network.network, "training": training})
    towers = chosen_towers("auto", len(usable_cores()) or 1, spec, network.image, CLASSES)
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(towers)
    policy = policy_of("mixed" if mixed else "float32", "cpu")
    model = build_network(spec.network, network.image, CLASSES, 1, policy)
    data = select(images, spec, None)
    engine = Engine(model, data, ResidentData(data), spec, towers)
    rates = np.full(engine.steps_per_epoch, 0.001, np.float32)

    def epoch(number: int) -> None:
        engine.begin_epoch(number + 1, rates)
        engine.run(0, engine.steps_per_epoch, FitSums())

    return _shortest(epoch), towers


def _shortest(epoch: Any) -> float:
    seconds = []
    for number in range(EPOCHS):
        began = time.perf_counter()
        epoch(number)
        seconds.append(time.perf_counter() - began)
    return min(seconds[1:])


if __name__ == "__main__":
    os.chdir(Path(__file__).resolve().parent.parent)
    main(sys.argv[1:])
