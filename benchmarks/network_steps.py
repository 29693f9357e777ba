"""Gradient steps of networks of many kinds: the engine beside Keras' `fit`, in 32 bits and in 16, in turn in one run.

Only steps are timed, no measuring and no checkpoints, on images that are in memory. Each way has a process of its own
and the cores that a lone job has.
"""

import statistics
import time
from collections.abc import Mapping
from typing import Any, Literal

from benchmarks.naive import in_process
from benchmarks.network_kinds import CLASSES, Network, keras_model

EPOCHS = 4  # the first of them traces and is not counted
Way = Literal["naive", "naive mixed", "engine", "engine mixed"]
WAYS: tuple[Way, ...] = ("naive", "naive mixed", "engine", "engine mixed")


def print_steps(chosen: Mapping[str, Network], rounds: int) -> None:
    """Print a table: seconds of an epoch of `fit`, and each other way as a share of it, medians over the rounds."""
    print("| network | naive, s | naive mixed | engine | engine mixed | towers |\n|---|---|---|---|---|---|")
    for name, network in chosen.items():
        found = [{way: in_process(_seconds, (way, network)) for way in WAYS} for _ in range(rounds)]
        naive = statistics.median(one["naive"][0] for one in found)
        shares = [statistics.median(one[way][0] / one["naive"][0] for one in found) for way in WAYS[1:]]
        towers = found[0]["engine"][1]
        print(f"| {name} | {naive:.2f} | {' | '.join(f'{share:.2f}' for share in shares)} | {towers} |", flush=True)


def _seconds(task: tuple[Way, Network]) -> tuple[float, int]:
    """The shortest epoch, and the towers of the engine."""
    way, network = task
    pixels, labels = network.images()["train"]
    mixed = way.endswith("mixed")
    return (_naive(network, pixels, labels, mixed), 0) if way.startswith("naive") else _engine(network, mixed)


def _naive(network: Network, pixels: Any, labels: Any, mixed: bool) -> float:
    model, scaled = keras_model(network, mixed=mixed), pixels.astype("float32") / 255

    def epoch(_: int) -> None:
        model.fit(scaled, labels, batch_size=network.batch_size, verbose=0)

    return _shortest(epoch)


def _engine(network: Network, mixed: bool) -> tuple[float, int]:
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

    pixels, labels = network.images()["train"]
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
