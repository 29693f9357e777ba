"""Gradient steps of networks of many kinds: the engine and Keras' `fit`, in 32 bits and in 16, alternating in one run.

Only steps are timed, without measuring or checkpoints, on images in memory. Each variant has its own process and the
cores that a single job gets.
"""

import statistics
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from benchmarks.engine_tables import CORES, PASSES
from benchmarks.naive import in_process, peak_flops
from benchmarks.network_kinds import CLASSES, Network, keras_model
from heldout.spec.job import JobSpec
from heldout.spec.layers import plan_network
from heldout.spec.network import NetworkSpec

EPOCHS = 4  # the first of them traces and is not counted
Way = Literal["naive", "naive mixed", "engine", "engine mixed"]
WAYS: tuple[Way, ...] = ("naive", "naive mixed", "engine", "engine mixed")


def print_steps(chosen: Mapping[str, Network], rounds: int) -> None:
    """Print a table: seconds of an epoch of `fit`, and each other way as a share of it, medians over the rounds.

    Its last columns say what share of the peak of large matrix products the engine reaches in each precision.
    """
    peaks = {dtype: peak_flops(CORES, dtype) for dtype in ("float32", "bfloat16")}
    print("; ".join(f"{dtype} peak of {CORES} cores: {peak / 1e9:.0f} GFLOP/s" for dtype, peak in peaks.items()))
    print("\n| network | naive, s | naive mixed | engine | engine mixed | towers | of peak | mixed, of peak |")
    print("|---|---|---|---|---|---|---|---|")
    for name, network in chosen.items():
        found = [{way: in_process(_seconds, (way, network)) for way in WAYS} for _ in range(rounds)]
        naive = statistics.median(one["naive"][0] for one in found)
        shares = [statistics.median(one[way][0] / one["naive"][0] for one in found) for way in WAYS[1:]]
        towers = found[0]["engine"][1]
        reached = [
            _flops(network) / statistics.median(one[way][0] for one in found) / peaks[dtype]
            for way, dtype in (("engine", "float32"), ("engine mixed", "bfloat16"))
        ]
        cells = [f"{naive:.2f}", *(f"{share:.2f}" for share in shares), str(towers), *(f"{x:.0%}" for x in reached)]
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


def _flops(network: Network) -> int:
    """The operations of an epoch of gradient steps."""
    plan = plan_network(NetworkSpec.model_validate(network.network), network.image, CLASSES)
    return PASSES * plan.flops_per_image * network.count


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


@dataclass(frozen=True)
class Made:
    """An engine with its parts, and the learning rate of each step."""

    spec: JobSpec
    model: Any
    data: Any
    source: Any
    engine: Any
    rates: Any
    towers: int


def engine_of(network: Network, mixed: bool, towers: int | None = None) -> Made:
    """Build the engine that trains a network on its images, by default with as many towers as a job would have."""
    import numpy as np
    import tensorflow as tf

    from analysis.arrays.dataset import ImageSet
    from worker.machine.cores import find_usable_cores
    from worker.machine.devices import get_policy
    from worker.training.choices import choose_towers
    from worker.training.data.training_data import ResidentData, select
    from worker.training.engine.engine import Engine
    from worker.training.networks.network import build_network

    pixels, labels = network.images()["train"]
    rows = np.arange(network.count)
    splits = {"train": rows, "validation": rows[:1], "test": rows[:1]}
    images = ImageSet(pixels, labels, splits, tuple(map(str, range(CLASSES))), (0, 255))
    training = {"seed": 1, "batch_size": network.batch_size}
    spec = JobSpec.model_validate({"dataset": "none", "network": network.network, "training": training})
    towers = towers or choose_towers("auto", len(find_usable_cores()) or 1, spec, network.image, CLASSES)
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(towers)
    policy = get_policy("mixed" if mixed else "float32", "cpu")
    model = build_network(spec.network, network.image, CLASSES, 1, policy)
    data = select(images, spec, None)
    source = ResidentData(data)
    engine = Engine(model, data, source, spec, towers)
    return Made(spec, model, data, source, engine, np.full(engine.steps_per_epoch, 0.001, np.float32), towers)


def _engine(network: Network, mixed: bool) -> tuple[float, int]:
    from worker.training.engine.checkpoint import FitSums

    made = engine_of(network, mixed)

    def epoch(number: int) -> None:
        made.engine.begin_epoch(number + 1, made.rates)
        made.engine.run(0, made.engine.steps_per_epoch, FitSums())

    return _shortest(epoch), made.towers


def _shortest(epoch: Any) -> float:
    seconds = []
    for number in range(EPOCHS):
        began = time.perf_counter()
        epoch(number)
        seconds.append(time.perf_counter() - began)
    return min(seconds[1:])
