"""The process that measures how fast this machine trains: seconds of a step and of a batch of small networks."""

from multiprocessing.connection import Connection
from time import perf_counter
from typing import Any, Literal

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from analysis.scheduling.cost import INFERENCE_BATCH_SIZE, Precision
from heldout.spec.job import JobSpec
from worker.machine.devices import Policy, get_policy
from worker.machine.speed import CLASSES, SPECS, TWO_TOWER_SPECS
from worker.training.data.training_data import ResidentData, TrainingData
from worker.training.engine.checkpoint import FitSums
from worker.training.engine.engine import Engine
from worker.training.measuring.evaluate import make_evaluator
from worker.training.networks.network import build_network

_IMAGES = 256
# Long enough to average over clock ticks and other processes, short enough for a worker's start.
_TIMED_S = 0.06
_REPEATS = 3


def measure(pipe: Connection, towers: Literal[1, 2], precision: Precision) -> None:
    """Send (step, batch) seconds of each network over the pipe; with two towers only if that is faster."""
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(towers)
    tf.config.set_visible_devices([], "GPU")
    numbers = TWO_TOWER_SPECS if towers == 2 else range(len(SPECS))
    pipe.send([_measure_seconds(*SPECS[number], towers, get_policy(precision, "cpu")) for number in numbers])


def _measure_seconds(spec: JobSpec, image: tuple[int, int, int], towers: int, policy: Policy) -> tuple[float, float]:
    """Return seconds of one gradient step, and of one batch in inference mode."""
    data = _make_noise(image)
    network = build_network(spec.network, image, CLASSES, 1, policy)
    resident = ResidentData(data)
    engine = Engine(network, data, resident, spec, towers)
    evaluator = make_evaluator(spec, network, resident, engine.weights, policy)
    engine.begin_epoch(1, np.full(engine.steps_per_epoch, 1e-3, np.float32))
    rows = data.rows["train"]

    def train() -> int:
        engine.run(0, engine.steps_per_epoch, FitSums())
        return engine.steps_per_epoch

    def evaluate() -> int:
        evaluator.measure(rows)
        return -(-len(rows) // INFERENCE_BATCH_SIZE)

    return _measure_fastest(train), _measure_fastest(evaluate)


def _measure_fastest(work: Any) -> float:
    """Return the seconds of one unit of the work that `work` reports, without disturbances."""
    work()
    work()  # the first traces, the second fills caches
    best = float("inf")
    for _ in range(_REPEATS):
        began, units = perf_counter(), 0
        while (took := perf_counter() - began) < _TIMED_S:
            units += work()
        best = min(best, took / units)
    return best


def _make_noise(image: tuple[int, int, int]) -> TrainingData:
    draws = np.random.default_rng(0)
    labels: NDArray[np.int32] = draws.integers(0, CLASSES, _IMAGES).astype(np.int32)
    rows = np.arange(_IMAGES, dtype=np.int32)
    return TrainingData(
        images=draws.integers(0, 256, (_IMAGES, *image), dtype=np.uint8),
        labels=labels,
        rows={"train": rows},
        source={"train": rows.astype(np.int64)},
        classes=tuple(map(str, range(CLASSES))),
        value_range=(0.0, 255.0),
        class_weights=None,
    )
