"""The second phase of a training, in which the layers that were frozen are trained, too."""

from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass

import keras

from heldout.spec.job import JobSpec
from worker.machine.devices import Policy
from worker.training.data.replicas import Replicas
from worker.training.data.training_data import BatchSource, TrainingData
from worker.training.engine.checkpoint import Position
from worker.training.engine.engine import Engine
from worker.training.measuring.evaluate import Evaluator, make_evaluator
from worker.training.networks.backbone import set_trainable
from worker.training.networks.own_network import list_steps


@dataclass(frozen=True)
class SecondPhase:
    """What the second phase needs.

    network: the whole network, of which the first phase trains the head.
    data, images: of the job. build: builds the same network again, in another precision.
    beside: the thread in which graphs are traced during the first phase.
    """

    spec: JobSpec
    network: keras.Model | None
    data: TrainingData
    images: BatchSource
    towers: int
    replicas: Replicas
    policy: Policy
    build: Callable[[Policy], keras.Model]
    beside: Executor

    @property
    def epoch(self) -> int | None:
        """The first epoch of the second phase; None without a second phase."""
        unfreezing = self.spec.network.unfreezing
        return None if unfreezing is None else unfreezing.epoch

    def has_begun(self, position: Position) -> bool:
        """Return whether a training that has come this far is in its second phase."""
        epoch = self.epoch
        return epoch is not None and (position.epoch > epoch or (position.epoch == epoch and position.step > 0))

    def begin(self, first: Engine) -> tuple[Engine, Evaluator, TrainingData]:
        """Return what trains and measures the whole network, with the state of the first phase's engine."""
        unfreezing = self.spec.network.unfreezing
        assert unfreezing is not None
        assert self.network is not None, "it was built, because its frozen part is trained, too"
        self.beside.submit(lambda: None).result()
        unfreeze(self.network, unfreezing.layers)
        engine = Engine(
            self.network,
            self.data,
            self.images,
            self.spec,
            self.towers,
            self.replicas,
            earlier=first,
            later_rate=unfreezing.learning_rate,
        )
        evaluator = make_evaluator(self.spec, self.network, self.images, engine.weights, self.policy, self.build)
        return engine, evaluator, self.data


def unfreeze(network: keras.Model, layers: int | None) -> None:
    """Train all layers of a network, or only the last `layers` of those that were frozen, and what comes after them.

    Batch normalization that was frozen stays so. With the statistics of small batches instead of its averages, other
    layers would get signals on which they were not trained, and lose much of what they know.
    """
    steps = list_steps(network)
    frozen = [place for place, step in enumerate(steps) if not getattr(step, "trainable", True)]
    kept = [] if layers is None or not frozen else steps[: max(0, frozen[-1] + 1 - layers)]
    kept += [steps[place] for place in frozen if isinstance(steps[place], keras.layers.BatchNormalization)]
    set_trainable(network, True)
    for step in kept:
        if isinstance(step, keras.layers.Layer):
            step.trainable = False
