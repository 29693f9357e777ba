"""A Python script that trains a job once more with NumPy and Keras alone, and prints its figures beside the job's.

Pure: from facts of a job to text. What cannot be said in plain Keras is refused, never left out.
"""

import base64
import json
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from heldout.errors import NotSupported
from heldout.spec import CosineSchedule, EarlyStoppingSpec, JobSpec, NetworkSpec, OptimizerSpec, PlateauSchedule
from heldout.stored.final import FinalView
from models.reports.plain_keras_parts import DATA, END, MEASURE

SPLIT_CODES = {"train": 1, "validation": 2, "test": 3}
_LINE = 100


@dataclass(frozen=True)
class ScriptFacts:
    """What a script is made of.

    splits: for each split that the job uses the positions of its images in the dataset, int64.
    images: how many the dataset has. digests: of the splits that are the dataset's own, as its row has them.
    shape: (height, width, channels). data_file: what the reader is to give, in words.
    """

    job_id: str
    job_name: str
    spec: JobSpec
    classes: Sequence[str]
    shape: Sequence[int]
    value_range: Sequence[float]
    splits: Mapping[str, NDArray[np.int64]]
    images: int
    digests: Mapping[str, str]
    final: FinalView | None
    data_file: str


def require_plain(spec: JobSpec) -> None:
    """Raises NotSupported where a job does what the script cannot say: its figures would be others."""
    training = spec.training
    asked = {
        "/augmentation": spec.augmentation is not None,
        "/training/mixup": bool(training.mixup),
        "/training/cutmix": bool(training.cutmix),
        "/training/ema_decay": training.ema_decay is not None,
        "/training/on_overfit": training.on_overfit in {"stop", "stop_and_restore"},
        "/initial": spec.initial is not None,
    }
    if spec.network.backbone is not None:
        raise NotSupported(
            "/network/backbone",
            "A script of plain Keras builds its network from the spec, and the weights of an uploaded backbone are in "
            "none. Take the model itself, as `keras` or in another format: it has the backbone in it.",
        )
    for pointer, is_asked in asked.items():
        if is_asked:
            raise NotSupported(
                pointer,
                "A script of plain Keras has no such thing. Other formats hold the model itself.",
            )


def script_of(facts: ScriptFacts) -> str:
    """The script. Raises NotSupported."""
    require_plain(facts.spec)
    parts = [
        _head(facts),
        _constants(facts),
        DATA,
        _network(facts.spec.network, len(facts.classes), _seed(facts.spec)),
        MEASURE,
        _training(facts.spec),
        END,
    ]
    return "\n\n\n".join(part.strip("\n") for part in parts) + "\n"


def _seed(spec: JobSpec) -> int:
    assert spec.training.seed is not None, "the API completes every spec"
    return spec.training.seed


def _head(facts: ScriptFacts) -> str:
    name = _one_line(facts.job_name)
    return f'''"""Trains the job {facts.job_id} ({name}) once more, with NumPy and Keras alone.

    python {facts.job_id}.py DATA [MODEL.keras]

DATA is {facts.data_file}. The figures of the job are printed beside those of this run: they
agree but for rounding: another machine, a job in several parts, on a GPU or in 16 bits rounds otherwise, and batch
normalisation with Adam makes more of it.
"""

import base64
import hashlib
import json
import os
import sys
import zlib

os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import keras
import numpy as np'''


def _one_line(text: str) -> str:
    return "".join(letter if letter.isprintable() and letter not in '"\\' else "?" for letter in text)


def _constants(facts: ScriptFacts) -> str:
    codes = np.zeros(facts.images, np.uint8)
    for split, positions in facts.splits.items():
        codes[positions] = SPLIT_CODES[split]
    packed = base64.b64encode(zlib.compress(codes.tobytes(), 9)).decode()
    lines = [f'    "{packed[first : first + _LINE]}"' for first in range(0, len(packed), _LINE)]
    figures = {}
    if facts.final is not None:
        for split in SPLIT_CODES:
            result = getattr(facts.final, split)
            if result is not None:
                figures[split] = {"loss": result.loss, "accuracy": result.accuracy}
    return "\n".join(
        [
            f"SEED = {_seed(facts.spec)}",
            f"SHAPE = {tuple(facts.shape)}  # height, width, channels",
            f"LOW, HIGH = {facts.value_range[0]!r}, {facts.value_range[1]!r}  # range of the pixels",
            f"CLASSES = {json.dumps(list(facts.classes), ensure_ascii=True)}",
            "# What the job has measured.",
            f"OF_THE_JOB = {figures!r}",
            "# SHA-256 of the images and labels of splits.",
            f"DIGESTS = {dict(facts.digests)!r}",
            "# For each image of the data: 1 train, 2 validation, 3 test, 0 not used. Compressed.",
            "SPLITS = (",
            *lines,
            ")",
        ]
    )


def _seeds(seed: int) -> Iterator[int]:
    """As `worker/training/network.py` draws them: one for each layer that draws, in order."""
    draws = np.random.default_rng([seed, 0])
    while True:
        yield int(draws.integers(2**31))


def _network(network: NetworkSpec, classes: int, seed: int) -> str:
    seeds, lines = _seeds(seed), list[str]()

    def kernel() -> str:
        return f"kernel_initializer=keras.initializers.GlorotUniform({next(seeds)})"

    def penalty(factor: float | None) -> str:
        return f", kernel_regularizer=keras.regularizers.L2({factor!r})" if factor else ""

    def add(layer: str) -> None:
        lines.append(f"    x = keras.layers.{layer}(x)")

    for number, block in enumerate(network.blocks, start=1):
        for repeat in range(1, block.repeat + 1):
            add(
                f'Conv2D({block.filters}, {block.kernel_size}, padding="{block.padding}", {kernel()}'
                f'{penalty(network.penalty(block))}, name="block{number}_conv{repeat}")'
            )
            if block.batch_norm:
                add(f'BatchNormalization(name="block{number}_norm{repeat}")')
            add(f'Activation("{block.activation}")')
        if block.pool > 1:
            add(f"MaxPooling2D({block.pool})")
        if block.dropout:
            add(f"Dropout({block.dropout!r}, seed={next(seeds)})")
    add("Flatten()" if network.head == "flatten" else "GlobalAveragePooling2D()")
    for number, dense in enumerate(network.dense, start=1):
        add(
            f'Dense({dense.units}, activation="{dense.activation}", {kernel()}{penalty(dense.l2)}, '
            f'name="dense{number}")'
        )
        if dense.dropout:
            add(f"Dropout({dense.dropout!r}, seed={next(seeds)})")
    add(f'Dense({classes}, {kernel()}, name="output")')
    body = "\n".join(lines)
    return f'''def build():
    """The network: images in 0–1 in, logits out. The seeds are those from which the job drew its weights and masks."""
    x = images = keras.Input(SHAPE)
{body}
    return keras.Model(images, x)'''


def _optimizer(spec: OptimizerSpec) -> str:
    rate = repr(spec.learning_rate)
    match spec.name:
        case "sgd":
            return f"keras.optimizers.SGD({rate}, momentum={spec.momentum!r})"
        case "adam":
            return f"keras.optimizers.Adam({rate})"
        case "adamw":
            return f"keras.optimizers.AdamW({rate}, weight_decay={spec.weight_decay!r})"
        case "rmsprop":
            return f"keras.optimizers.RMSprop({rate})"


def _training(spec: JobSpec) -> str:
    training = spec.training
    smoothing = training.label_smoothing
    loss = "keras.losses.SparseCategoricalCrossentropy(from_logits=True)"
    targets = "labels"
    if smoothing:
        loss = f"keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing={smoothing!r})"
        targets = "keras.utils.to_categorical(labels, len(CLASSES))"
    lines = [
        "def train(network, splits):",
        '    """As the job did: in the same order, with the same rates; gives the weights that it kept."""',
        '    images, labels = splits["train"]',
        f"    targets = {targets}",
        f"    weights = {_weights(training.class_weights)}",
        f"    optimizer = {_optimizer(training.optimizer)}",
        f"    network.compile(optimizer, {loss}, jit_compile=False)",
        f"    epochs, batch, rate = {training.epochs}, {training.batch_size}, {training.optimizer.learning_rate!r}",
        "    steps = -(-len(images) // batch)",
    ]
    plateau, stopping = training.schedule, training.early_stopping
    needs_validation = isinstance(plateau, PlateauSchedule) or stopping is not None
    if isinstance(plateau, PlateauSchedule):
        lines.append("    lowest, waited = None, 0")
    if stopping is not None:
        lines.append("    best, best_weights, since_best = None, None, 0")
    lines += [
        "    for epoch in range(1, epochs + 1):",
        "        order = np.random.default_rng([SEED, 1, epoch]).permutation(len(images))",
        "        for step in range(steps):",
        "            rows = order[step * batch : (step + 1) * batch]",
    ]
    if isinstance(plateau, CosineSchedule):
        lines += [
            "            done = (epoch - 1) * steps + step",
            f"            warmup = {plateau.warmup_epochs} * steps",
            "            share = (done - warmup) / (epochs * steps - warmup) if done >= warmup else None",
            "            optimizer.learning_rate = (",
            "                rate * done / warmup if share is None else rate * 0.5 * (1 + np.cos(np.pi * share))",
            "            )",
        ]
    else:
        lines.append("            optimizer.learning_rate = rate")
    lines += [
        "            part = None if weights is None else weights[rows]",
        "            network.train_on_batch(images[rows], targets[rows], sample_weight=part)",
    ]
    if needs_validation:
        lines.append('        found = measure(network, *splits["validation"])')
        lines.append("        print(f\"epoch {epoch}: validation loss {found['loss']:.4f}\", flush=True)")
    else:
        lines.append('        print(f"epoch {epoch}", flush=True)')
    if isinstance(plateau, PlateauSchedule):
        lines += [
            '        if lowest is None or found["loss"] + 1e-4 < lowest:',
            '            lowest, waited = found["loss"], 0',
            f"        elif waited + 1 >= {plateau.patience}:",
            f"            rate, waited = rate * {plateau.factor!r}, 0",
            "        else:",
            "            waited += 1",
        ]
    if stopping is not None:
        lines += _stopping(stopping)
    if stopping is not None and stopping.restore_best:
        lines += ["    network.set_weights(best_weights)"]
    return "\n".join(lines)


def _stopping(spec: EarlyStoppingSpec) -> list[str]:
    figure = spec.monitor.removeprefix("validation_")
    value = f'found["{figure}"]'
    better = f"{value} + {spec.min_delta!r} < best" if figure == "loss" else f"{value} - {spec.min_delta!r} > best"
    return [
        f"        if best is None or {better}:",
        f"            best, best_weights, since_best = {value}, network.get_weights(), 0",
        "        else:",
        "            since_best += 1",
        f"            if since_best >= {spec.patience}:",
        "                break",
    ]


def _weights(wanted: Mapping[str, float] | str | None) -> str:
    if wanted is None:
        return "None"
    if isinstance(wanted, str):
        return (
            "(len(labels) / (len(CLASSES) * np.maximum(np.bincount(labels, minlength=len(CLASSES)), 1)))[labels]"
            ".astype(np.float32)"
        )
    named = json.dumps(dict(wanted), ensure_ascii=True)
    return f"np.array([{named}.get(name, 1.0) for name in CLASSES], np.float32)[labels]"
