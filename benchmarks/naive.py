"""The training that a user would write without the service: Keras' own loop, measured in its own process.

It provides what the service provides for each epoch: figures of the training and validation splits in inference mode,
and a file with all of the state.
"""

import os
import resource
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

SAMPLE_EVERY_S = 0.1
PEAK_SIDE = 1536
PEAK_ROUNDS = 30


@dataclass(frozen=True)
class Naive:
    """One training: seconds of wall clock and of processors, the most threads, and seconds of a `fit` epoch."""

    wall_s: float
    cpu_s: float
    threads: int
    epoch_s: float


def train(spec: dict[str, Any]) -> Naive:
    """Train the network of `spec` with `fit`. The time before the first line of training does not count."""
    return in_process(_train, spec)


def train_in_turn(specs: list[dict[str, Any]]) -> list[Naive]:
    """Train several specs in one process, as a script with a loop does."""
    return list(in_process(_train_in_turn, specs))


def train_with_torch(spec: dict[str, Any]) -> Naive | None:
    """Do the same with a plain PyTorch loop. None if PyTorch is not installed."""
    return in_process(_train_with_torch, spec) if find_spec("torch") else None


def peak_flops(cores: int, dtype: str = "float32") -> float:
    """Measure the floating-point operations per second of large matrix products on this many cores, the useful peak."""
    return in_process(_peak_flops, (cores, dtype))


def in_process(work: Any, argument: Any) -> Any:
    """Return `work(argument)` of a fresh process."""
    context = get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_run, args=(work, argument, theirs))
    process.start()
    theirs.close()
    try:
        return ours.recv()
    finally:
        process.join()


def in_fork(work: Callable[..., Any], *arguments: Any) -> Any:
    """Return `work(*arguments)` of a fork of this process; a worker's training processes are forks, too."""
    context = get_context("fork")
    ours, theirs = context.Pipe()
    process = context.Process(target=lambda: theirs.send(work(*arguments)))
    process.start()
    theirs.close()
    try:
        return ours.recv()
    finally:
        process.join()


def _run(work: Any, argument: Any, pipe: Connection) -> None:
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    import worker.training.preload  # noqa: F401  (imports Keras without TensorFlow's greetings)

    pipe.send(work(argument))


class _Watch:
    """Wall clock, processor time and threads of this process during the block."""

    def __enter__(self) -> "_Watch":
        self.threads = 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._sample)
        self._thread.start()
        self._cpu, self._began = _processor_s(), time.perf_counter()
        return self

    def __exit__(self, *_: object) -> None:
        self.wall_s, self.cpu_s = time.perf_counter() - self._began, _processor_s() - self._cpu
        self._over.set()
        self._thread.join()

    def _sample(self) -> None:
        while not self._over.wait(SAMPLE_EVERY_S):
            # Without the thread that counts.
            self.threads = max(self.threads, len(os.listdir("/proc/self/task")) - 1)


def _processor_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _pixels(spec: dict[str, Any]) -> Any:
    from analysis.arrays.folds import choose_stratified
    from models.bundled import BUNDLED

    images = BUNDLED[spec["dataset"]].read(Path())
    high = images.value_range[1]
    train, validation = images.splits["train"], images.splits["validation"]
    train = train[choose_stratified(images.labels[train], spec["training"].get("train_limit"))]
    return [(images.images[rows].astype("float32") / high, images.labels[rows]) for rows in (train, validation)]


def _train_in_turn(specs: list[dict[str, Any]]) -> list[Naive]:
    return [_train(spec) for spec in specs]


def _train(spec: dict[str, Any]) -> Naive:
    import keras
    from keras import layers
    from keras.src.legacy.preprocessing.image import ImageDataGenerator

    training, (train_set, validation) = spec["training"], _pixels(spec)
    keras.utils.set_random_seed(training["seed"])
    penalty = spec["network"].get("l2")
    with tempfile.TemporaryDirectory(prefix="heldout-bench-") as folder, _Watch() as watch:
        model = keras.Sequential([layers.Input(train_set[0].shape[1:])])
        for block in spec["network"]["blocks"]:
            regularizer = keras.regularizers.L2(penalty) if penalty else None
            model.add(layers.Conv2D(block["filters"], 3, activation="relu", kernel_regularizer=regularizer))
            model.add(layers.MaxPooling2D(2))
            if block.get("dropout"):
                model.add(layers.Dropout(block["dropout"]))
        model.add(layers.Flatten())
        model.add(layers.Dense(10, activation="softmax"))
        rate, decay = training["optimizer"]["learning_rate"], training["optimizer"].get("weight_decay")
        optimizer = keras.optimizers.AdamW(rate, decay) if decay else keras.optimizers.Adam(rate)
        loss = "sparse_categorical_crossentropy"
        if smoothing := training.get("label_smoothing"):
            # Keras has it for labels in one-hot form alone.
            loss = keras.losses.CategoricalCrossentropy(label_smoothing=smoothing)
            train_set, validation = ((x, keras.utils.to_categorical(y)) for x, y in (train_set, validation))
        model.compile(optimizer, loss, metrics=["accuracy"])
        epochs: list[float] = []

        class MeasureTrainingSplit(keras.callbacks.Callback):
            def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
                self.began = time.perf_counter()

            def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
                epochs.append(time.perf_counter() - self.began)
                model.evaluate(*train_set, verbose=0)

        callbacks = [MeasureTrainingSplit(), keras.callbacks.ModelCheckpoint(f"{folder}/{{epoch}}.keras")]
        size, count = training["batch_size"], training["epochs"]
        common = {"epochs": count, "validation_data": validation, "callbacks": callbacks, "verbose": 0}
        if changes := spec.get("augmentation"):
            generator = ImageDataGenerator(
                rotation_range=changes.get("rotation_degrees", 0),
                width_shift_range=changes.get("width_shift", 0.0),
                height_shift_range=changes.get("height_shift", 0.0),
                zoom_range=changes.get("zoom", 0.0),
                horizontal_flip=changes.get("horizontal_flip", False),
            )
            model.fit(generator.flow(*train_set, batch_size=size, seed=training["seed"]), **common)
        else:
            model.fit(*train_set, batch_size=size, **common)
        model.evaluate(*validation, verbose=0)
    # The first epoch traces.
    middle = sorted(epochs[1:] or epochs)
    return Naive(watch.wall_s, watch.cpu_s, watch.threads, middle[len(middle) // 2])


def _train_with_torch(spec: dict[str, Any]) -> Naive:
    import torch
    from torch import nn

    training, (train_set, validation) = spec["training"], _pixels(spec)
    torch.manual_seed(training["seed"])
    train_x, train_y, validation_x, validation_y = (
        torch.from_numpy(array if array.ndim == 1 else array.transpose(0, 3, 1, 2).copy())
        for array in (*train_set, *validation)
    )
    epochs: list[float] = []
    with tempfile.TemporaryDirectory(prefix="heldout-bench-") as folder, _Watch() as watch:
        parts: list[nn.Module] = []
        for block in spec["network"]["blocks"]:
            parts += [nn.LazyConv2d(block["filters"], 3), nn.ReLU(), nn.MaxPool2d(2)]
            parts += [nn.Dropout(block["dropout"])] if block.get("dropout") else []
        model = nn.Sequential(*parts, nn.Flatten(), nn.LazyLinear(10))
        model(train_x[:1])
        penalty = spec["network"].get("l2") or 0.0
        kernels = [part.weight for part in parts if isinstance(part, nn.Conv2d)]
        optimizer = torch.optim.Adam(model.parameters(), training["optimizer"]["learning_rate"])
        loss_of = nn.CrossEntropyLoss()
        for epoch in range(training["epochs"]):
            began = time.perf_counter()
            model.train()
            for batch in torch.randperm(len(train_x)).split(training["batch_size"]):
                optimizer.zero_grad()
                loss = loss_of(model(train_x[batch]), train_y[batch].long())
                if penalty:
                    loss = loss + penalty * sum((kernel**2).sum() for kernel in kernels)
                loss.backward()
                optimizer.step()
            epochs.append(time.perf_counter() - began)
            model.eval()
            with torch.no_grad():
                for x, y in ((train_x, train_y), (validation_x, validation_y)):
                    for first in range(0, len(x), 256):
                        loss_of(model(x[first : first + 256]), y[first : first + 256].long()).item()
            torch.save([model.state_dict(), optimizer.state_dict()], f"{folder}/{epoch}.pt")
    return Naive(watch.wall_s, watch.cpu_s, watch.threads, sorted(epochs)[len(epochs) // 2])


def _peak_flops(task: tuple[int, str]) -> float:
    import tensorflow as tf

    cores, dtype = task
    tf.config.threading.set_intra_op_parallelism_threads(cores)
    one = tf.cast(tf.random.normal((PEAK_SIDE, PEAK_SIDE), seed=1), dtype)
    best = float("inf")
    for _ in range(PEAK_ROUNDS):
        began = time.perf_counter()
        tf.linalg.matmul(one, one)[0, 0].numpy()
        best = min(best, time.perf_counter() - began)
    return 2 * PEAK_SIDE**3 / best
