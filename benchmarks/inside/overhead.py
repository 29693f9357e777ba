"""What looks inside a network cost: `python -m benchmarks.inside.overhead`, one training of each network.

Processor seconds of all looks, weights read for them included, as a share of those of a training and its evaluation.
"""

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from time import process_time
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
from keras import layers

from heldout.spec.job import JobSpec
from models.bundled import BUNDLED
from tests.worker.training.trainings import Training, load_example
from tests.written_networks import make_digit_resnet
from worker.training.measuring import inside
from worker.training.networks.own_network import find_output

EPOCHS = 6
IMAGE, CLASSES = (28, 28, 1), 10


def make_deep() -> keras.Model:
    """Ten convolutions with batch normalization, and a wide dense layer."""
    taken = maps = keras.Input(IMAGE)
    for filters, strides in ((32, 1), (32, 1), (64, 2), (64, 1), (64, 1), (128, 2), *[(128, 1)] * 4):
        maps = layers.Conv2D(filters, 3, strides, padding="same", use_bias=False)(maps)
        maps = layers.ReLU()(layers.BatchNormalization()(maps))
    features = layers.Dense(512, activation="relu")(layers.Flatten()(maps))
    return keras.Model(taken, layers.Dense(CLASSES)(features))


def list_trainings() -> Iterator[tuple[str, JobSpec, Callable[[], keras.Model] | None]]:
    own = {"dataset": "mnist5k", "network": {"model": "mod_own"}, "training": {"seed": 1, "epochs": EPOCHS}}
    yield "three blocks (`examples/overfit.json`)", load_example("overfit", seed=1), None
    yield "a ResNet with 7 convolutions", JobSpec.model_validate(own), make_digit_resnet
    yield "ten convolutions, a dense layer", JobSpec.model_validate(own), make_deep


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


def main() -> None:
    images = BUNDLED["mnist5k"].read(Path())
    print("| network | training, s | looks, s | share |\n|---|---|---|---|")
    for name, spec, make in list_trainings():
        network = None if make is None else find_output(make()).logits
        training, watch = Training(spec, images, network=network), Stopwatch()
        looker = training.trainer._looks._looker
        assert isinstance(looker, inside.Looker)
        looker.look, looker.read_weights = watch.time(looker.look), watch.time(looker.read_weights)  # type: ignore[method-assign]
        started = process_time()
        training.trainer.train()
        seconds = process_time() - started
        print(f"| {name} | {seconds:.1f} | {watch.seconds:.2f} | {100 * watch.seconds / seconds:.1f}% |", flush=True)


if __name__ == "__main__":
    sys.exit(main())
