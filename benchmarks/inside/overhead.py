"""What looks inside a network cost: `python -m benchmarks.inside.overhead`, three networks.

Each is trained with and without looks in turn, in one process. A timer adds up the processor seconds of all looks, as
a share of a training without them. Both trainings of a round are also compared, and so are their weights, bit by bit.
Figures are medians of the rounds. With a word, only networks are trained whose name has it.
"""

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from time import process_time
from typing import Any, NamedTuple

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
from keras import layers

from analysis.arrays.dataset import ImageSet
from heldout.spec.job import JobSpec
from models.bundled import BUNDLED
from tests.worker.training.trainings import Training, load_example
from tests.written_networks import make_digit_resnet
from worker.training.measuring import inside
from worker.training.networks.own_network import find_output

EPOCHS, ROUNDS = 6, 3
IMAGE, CLASSES = (28, 28, 1), 10


def make_mobile() -> keras.Model:
    """Blocks as in MobileNetV2: widen by 1×1, filter each map, narrow again, and add the input if the shape allows."""
    taken = maps = keras.Input(IMAGE)
    for filters, strides in ((16, 1), (16, 1), (24, 2), (24, 1), (32, 2), (32, 1)):
        inner = layers.Conv2D(4 * maps.shape[-1], 1, use_bias=False)(maps)
        inner = layers.ReLU(6.0)(layers.BatchNormalization()(inner))
        inner = layers.DepthwiseConv2D(3, strides, padding="same", use_bias=False)(inner)
        inner = layers.ReLU(6.0)(layers.BatchNormalization()(inner))
        inner = layers.BatchNormalization()(layers.Conv2D(filters, 1, use_bias=False)(inner))
        maps = layers.add([maps, inner]) if maps.shape == inner.shape else inner
    return keras.Model(taken, layers.Dense(CLASSES)(layers.GlobalAveragePooling2D()(maps)))


def list_trainings() -> Iterator[tuple[str, JobSpec, Callable[[], keras.Model] | None]]:
    own = {"dataset": "mnist5k", "network": {"model": "mod_own"}, "training": {"seed": 1, "epochs": EPOCHS}}
    yield "three blocks (`examples/overfit.json`)", load_example("overfit", seed=1), None
    yield "a ResNet with 7 convolutions", JobSpec.model_validate(own), make_digit_resnet
    yield "six blocks as in MobileNetV2", JobSpec.model_validate(own), make_mobile


class Time(NamedTuple):
    """Processor seconds of a training, and of the looks during it; its last weights."""

    all_s: float
    looks_s: float
    weights: list[Any]


class Stopwatch:
    """Adds up the seconds of calls."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def time(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*given: Any, **options: Any) -> Any:
            started = process_time()
            try:
                return call(*given, **options)
            finally:
                self.seconds += process_time() - started

        return timed


def train(spec: JobSpec, make: Callable[[], keras.Model] | None, images: ImageSet, *, has_looks: bool) -> Time:
    keras.utils.set_random_seed(1)  # else each network begins with weights of its own
    training, watch = Training(spec, images, network=None if make is None else find_output(make()).logits), Stopwatch()
    looks = training.trainer._looks
    looker = looks._looker
    assert isinstance(looker, inside.Looker)
    looker.look, looker.read_weights = watch.time(looker.look), watch.time(looker.read_weights)  # type: ignore[method-assign]
    looks._looker = looker if has_looks else None
    started = process_time()
    training.trainer.train()
    return Time(process_time() - started, watch.seconds, training.network.get_weights())


def main() -> None:
    images = BUNDLED["mnist5k"].read(Path())
    print("| network | training without looks, s | looks, s | share | with and without | equal bits |")
    print("|---|---|---|---|---|---|")
    for name, spec, make in list_trainings():
        if sys.argv[1:] and sys.argv[1] not in name:
            continue
        rounds = [
            [train(spec, make, images, has_looks=has_looks) for has_looks in (True, False)] for _ in range(ROUNDS)
        ]
        seconds = median(without.all_s for _, without in rounds)
        looks = median(seen.looks_s for seen, _ in rounds)
        ratio = median(seen.all_s / without.all_s for seen, without in rounds)
        pairs = [pair for round_ in rounds for pair in zip(*(time.weights for time in round_), strict=True)]
        is_equal = all(np.array_equal(seen, unseen) for seen, unseen in pairs)
        row = (
            f"{seconds:.1f} | {looks:.2f} | {100 * looks / seconds:.1f}% | {ratio:.3f} | {'yes' if is_equal else 'no'}"
        )
        print(f"| {name} | {row} |", flush=True)


if __name__ == "__main__":
    sys.exit(main())
