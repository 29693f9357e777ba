"""A ResNet20 on small photographs: as an own network of a running service, as blocks, and in plain Keras.

`python -m benchmarks.resnet20` needs `zoo fetch photo_tiles`, and a service that HELDOUT_URL or its home names. The set
is CIFAR-like: 32×32 pixels in color, each class a photograph, of which the splits have different blocks.
"""

import json
import tempfile
from pathlib import Path
from statistics import mean
from typing import Any

import keras
import numpy as np
from keras import layers

from benchmarks.zoo.cuts import cut_of
from benchmarks.zoo.draw import open_set
from benchmarks.zoo.registry import ZOO
from heldout.client.client import Client

SET, IMAGES = "photo_tiles", {"train": 3000, "validation": 500, "test": 2000}
SEEDS, EPOCHS, BATCH = (1, 2, 3), 12, 128
RATE, MOMENTUM = 0.1, 0.9


def make_resnet20(classes: int) -> keras.Model:
    """Make the network of He et al. 2016 for 32×32 pixels, with 1×1 projections where shapes differ."""
    images = keras.Input((32, 32, 3))
    maps = _convolve(images, 16)
    for stage in range(3):
        for block in range(3):
            filters, strides = 16 * 2**stage, 2 if stage and not block else 1
            inner = _convolve(_convolve(maps, filters, strides), filters, is_activated=False)
            shortcut = layers.Conv2D(filters, 1, strides=strides)(maps) if strides > 1 else maps
            maps = layers.ReLU()(layers.Add()([inner, shortcut]))
    return keras.Model(images, layers.Dense(classes)(layers.GlobalAveragePooling2D()(maps)))


def _convolve(
    maps: keras.KerasTensor, filters: int, strides: int = 1, *, is_activated: bool = True
) -> keras.KerasTensor:
    maps = layers.BatchNormalization()(layers.Conv2D(filters, 3, strides=strides, padding="same")(maps))
    return layers.ReLU()(maps) if is_activated else maps


def read_images() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Return pixels from 0 to 255 and labels of each split, with whole groups in one of them."""
    cut = cut_of(open_set(SET, unseal=True), ZOO[SET].folds)
    draw, parts = np.random.default_rng(0), {}
    for split, count in IMAGES.items():
        rows = draw.permutation(cut.splits[split])[:count]
        parts[split] = cut.images[rows], cut.labels[rows]
    return parts


def train_in_keras(parts: dict[str, tuple[np.ndarray, np.ndarray]], classes: int, seed: int) -> float:
    """Return the test accuracy of plain `fit`."""
    keras.utils.set_random_seed(seed)
    model, (images, labels) = make_resnet20(classes), parts["train"]
    steps = EPOCHS * -(-len(images) // BATCH)
    rate = keras.optimizers.schedules.CosineDecay(RATE, steps)
    model.compile(
        keras.optimizers.SGD(rate, MOMENTUM), keras.losses.SparseCategoricalCrossentropy(True), metrics=["accuracy"]
    )
    model.fit(images / np.float32(255), labels, BATCH, EPOCHS, verbose=0)
    tested, expected = parts["test"]
    return float(model.evaluate(tested / np.float32(255), expected, verbose=0)[1])


def train_here(client: Client, spec: dict[str, Any]) -> tuple[float, str]:
    """Return the test accuracy of a job, and the headline of its diagnosis."""
    job = client.jobs.create(spec).wait()
    test = client.jobs.metrics(job.id).final.test
    return test.accuracy, client.jobs.diagnosis(job.id).headline or ""


def main() -> None:
    parts = read_images()
    classes = int(max(labels.max() for _, labels in parts.values())) + 1
    training = {
        "epochs": EPOCHS,
        "batch_size": BATCH,
        "optimizer": {"name": "sgd", "learning_rate": RATE, "momentum": MOMENTUM},
        "schedule": {"name": "cosine"},
    }
    blocks = json.loads(Path("examples/resnet20.json").read_text("utf-8"))["network"]
    found: dict[str, list[float]] = {"plain Keras": [], "own network": [], "blocks": []}
    with Client() as client, tempfile.TemporaryDirectory() as folder:
        arrays = {
            f"{axis}_{split}": part for split, pair in parts.items() for axis, part in zip("xy", pair, strict=True)
        }
        np.savez(Path(folder, "tiles.npz"), **arrays)
        client.datasets.push(Path(folder, "tiles.npz"), name="tiles").wait()
        Path(folder, "resnet20.json").write_text(make_resnet20(classes).to_json(), "utf-8")
        model = client.models.create(Path(folder, "resnet20.json"))
        while not model.has_ended:
            model = client.models.get(model.id, wait_s=30)
        for seed in SEEDS:
            found["plain Keras"].append(train_in_keras(parts, classes, seed))
            for kind, network in (("own network", {"model": model.id}), ("blocks", blocks)):
                spec = {"dataset": "tiles", "network": network, "training": training | {"seed": seed}}
                accuracy, headline = train_here(client, spec)
                found[kind].append(accuracy)
                print(f"seed {seed}, {kind}: {accuracy:.3f}. {headline}", flush=True)
    print("\n| network | test accuracy of each seed | mean |\n|---|---|---|")
    for kind, accuracies in found.items():
        print(f"| {kind} | {', '.join(f'{value:.1%}' for value in accuracies)} | {mean(accuracies):.1%} |")


if __name__ == "__main__":
    main()
