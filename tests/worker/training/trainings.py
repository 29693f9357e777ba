"""Small trainings for tests of the training process: specs, datasets, and everything that an engine needs."""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from analysis.arrays.dataset import ImageSet
from heldout.spec.job import JobSpec
from heldout.stored.results import SplitResult
from worker.machine.devices import Policy
from worker.messages import FromTraining
from worker.training.data.replicas import Replicas
from worker.training.data.training_data import BatchSource, ResidentData, StreamedData, TrainingData, select
from worker.training.engine.engine import Engine
from worker.training.engine.optimizer import build_loss, build_optimizer
from worker.training.engine.order import draw_epoch_order
from worker.training.measuring.evaluate import make_evaluator
from worker.training.networks.network import build_network
from worker.training.trainer import Trainer

# As in a training process. Tests compare bits, which depend on it.
tf.config.threading.set_intra_op_parallelism_threads(1)
tf.config.threading.set_inter_op_parallelism_threads(1)

EXAMPLES = Path(__file__).parents[3] / "examples"


def load_example(name: str, **training: Any) -> JobSpec:
    """Return a reference spec of `examples/` with fields of `training` replaced."""
    spec = json.loads((EXAMPLES / f"{name}.json").read_text())
    spec["training"] |= training
    return JobSpec.model_validate(spec)


def small_spec(*blocks: dict[str, Any], network: dict[str, Any] | None = None, **parts: Any) -> JobSpec:
    """Make a spec with a tiny network; `training` and other parts are given as JSON."""
    training = {"epochs": 3, "batch_size": 32, "seed": 7} | parts.pop("training", {})
    body = {
        "name": "small",
        "dataset": "digits",
        "network": {"blocks": list(blocks) or [{"filters": 4}]} | (network or {}),
        "training": training,
    }
    return JobSpec.model_validate(body | parts)


def fewer(images: ImageSet, train: int, validation: int = 60, test: int = 80) -> ImageSet:
    """Return the dataset with only this many images in each split."""
    counts = {"train": train, "validation": validation, "test": test}
    return replace(
        images,
        splits={
            name: images.splits[name][:: len(images.splits[name]) // count][:count] for name, count in counts.items()
        },
    )


class Training:
    """The parts of one job in this process, assembled as by the runner."""

    def __init__(
        self,
        spec: JobSpec,
        images: ImageSet,
        scratch: Path = Path("nowhere"),
        towers: int = 1,
        resident_bytes: int | None = None,
        policy: Policy = "float32",
        devices: Sequence[str] = (),
        network: keras.Model | None = None,
        groups: np.ndarray | None = None,
        **options: Any,
    ) -> None:
        """Make a new network unless one is given. options: of the trainer."""
        self.spec = spec
        self.data: TrainingData = replace(select(images, spec, resident_bytes), groups=groups)
        replicas = Replicas(devices)
        with replicas.scope():
            self.network: keras.Model = network or new_network(spec, images, policy)
        streamed = self.data.is_streamed
        self.resident: BatchSource = StreamedData(self.data) if streamed else ResidentData(self.data, devices)
        self.engine = Engine(self.network, self.data, self.resident, spec, towers, replicas)
        self.evaluator = make_evaluator(spec, self.network, self.resident, self.engine.weights, policy)
        self.messages: list[FromTraining] = []
        self.on_message: Callable[[FromTraining], object] = lambda message: None
        self.requested_stop: Any = lambda: None
        self.trainer = Trainer(
            spec,
            self.data,
            self.engine,
            self.evaluator,
            scratch=scratch,
            send=self.send,
            requested_stop=lambda: self.requested_stop(),
            **options,
        )

    def restore_kept(self) -> int:
        """Give the network the kept weights; returns their epoch."""
        trained = self.trainer.get_trained_weights()
        self.network.set_weights(trained.of_epoch[trained.kept])
        return trained.kept

    def send(self, message: FromTraining) -> None:
        self.messages.append(message)
        self.on_message(message)


def scale_to_unit(images: np.ndarray, value_range: tuple[float, float]) -> np.ndarray:
    """Convert pixels to what the network sees: float32 in [0, 1]."""
    low, high = np.float32(value_range[0]), np.float32(value_range[1])
    return (images.astype(np.float32) - low) / (high - low)


def fit_in_same_order(network: keras.Model, images: ImageSet, spec: JobSpec) -> list[float]:
    """Train by `fit` of plain Keras with the batches of the engine; return the loss of each epoch."""
    optimizer = build_optimizer(spec.training.optimizer)
    network.compile(optimizer, build_loss(0.0), metrics=["accuracy"], jit_compile=False)
    data, losses, size = select(images, spec), [], spec.training.batch_size
    unit, seed = scale_to_unit(data.images, data.value_range), spec.training.seed
    assert seed is not None
    for epoch in range(1, spec.training.epochs + 1):
        order = data.rows["train"][draw_epoch_order(seed, epoch, len(data.rows["train"]))]
        fitted = network.fit(unit[order], data.labels[order], batch_size=size, shuffle=False, verbose=0)
        losses += fitted.history["loss"]
    return losses


def assert_gives_served_figures(model: keras.Model, images: ImageSet, test: SplitResult) -> np.ndarray:
    """Check that Keras measures the same figures of the test split; return its images."""
    rows = images.splits["test"]
    tested, labels = np.asarray(images.images[rows], np.float32), images.labels[rows]
    loss, accuracy = model.evaluate(tested, labels, verbose=0)
    assert test.loss == pytest.approx(loss, rel=1e-5)
    assert test.accuracy == pytest.approx(accuracy, abs=1e-6)
    return tested


def new_network(spec: JobSpec, images: ImageSet, policy: str = "float32") -> keras.Model:
    """Return the network of `spec` as it is before the first step."""
    assert spec.training.seed is not None
    return build_network(spec.network, images.shape, len(images.classes), spec.training.seed, policy)
