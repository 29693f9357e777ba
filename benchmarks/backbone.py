"""What a pretrained backbone is worth if there are few images of each class, of classes that it never saw.

A network of `keras.applications` learns one half of a set's classes and loses its head. Then the other half is learned
with it and without it, from 5 images of each class or more. Each draw chooses the known classes and the few images
again. `python -m benchmarks.backbone [SET] [DRAW…]`: the sets are `mnist5k`, which is always available, and
`fashion_mnist`, whose files are read from the folder that HELDOUT_DATASETS names.
"""

import sys
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from analysis.arrays.dataset import ImageSet
from heldout.service.settings import Settings
from heldout.spec.job import JobSpec
from heldout.spec.layers import BACKBONE
from models.bundled import BUNDLED
from worker.messages import AssignedBackbone
from worker.training.data.training_data import ResidentData, select
from worker.training.engine.engine import Engine
from worker.training.measuring.evaluate import Evaluator
from worker.training.networks.backbone import UploadedBackbone
from worker.training.networks.network import build_network
from worker.training.trainer import Trainer
from worker.training.uploaded_models.keras_model import save_backbone

DRAWS = range(5)  # the design was chosen on draws from 100 on
FEW = {5: 160}  # epochs by how many images there are of each class; 20 of them have as many steps in 40 epochs
VALIDATION = 2  # images of each class, which decide nothing
SOURCE_IMAGES, SOURCE_EPOCHS, SOURCE_BATCH, SOURCE_RATE = 1_000, 6, 64, 0.002  # mnist5k has 360 of each class
TURNS = 4
# Its first layer takes every other pixel, and its last maps would be 2×2: so images are enlarged, and it is cut here.
SIZE, ALPHA, LAST_LAYER = 56, 0.5, "conv_pw_5_relu"
NORM_MOMENTUM = 0.9  # with Keras' 0.99 the averages are those of the images only after hundreds of steps
AUGMENTATION = {"rotation_degrees": 10, "width_shift": 0.08, "height_shift": 0.08, "zoom": 0.1}
BLOCKS = ({"filters": 32}, {"filters": 64}, {"filters": 64, "pool": 1})
DENSE = ({"units": 64},)


@dataclass(frozen=True)
class Arm:
    """A network's backbone, if it has one, and how it is trained. file: `pretrained` or `untrained`."""

    file: str | None = None
    trainable: bool = False
    learning_rate: float = 0.001
    augmented: bool = False

    def spec(self, epochs: int, seed: int) -> JobSpec:
        """The spec of the job that a user would submit."""
        network: dict[str, Any] = {"blocks": BLOCKS, "dense": DENSE}
        if self.file is not None:
            network = {"backbone": {"model": self.file, "trainable": self.trainable}, "blocks": (), "dense": DENSE}
        training = {"epochs": epochs, "seed": seed, "optimizer": {"learning_rate": self.learning_rate}}
        augmentation = {"augmentation": AUGMENTATION} if self.augmented else {}
        return JobSpec.model_validate({"dataset": "few", "network": network, "training": training, **augmentation})


ARMS = {
    "blocks": Arm(),
    "blocks, augmentation": Arm(augmented=True),
    "untrained backbone, frozen": Arm("untrained"),
    "untrained backbone, fine-tuned": Arm("untrained", trainable=True),
    "backbone, frozen": Arm("pretrained"),
    "backbone, fine-tuned": Arm("pretrained", trainable=True, learning_rate=0.0001),
}
Found = dict[int, dict[str, list[float]]]


def main(name: str = "mnist5k", *draws: str) -> None:
    tf.config.threading.set_intra_op_parallelism_threads(1)
    whole = BUNDLED[name].read(Settings().datasets)
    found: Found = {few: {arm: [] for arm in ARMS} for few in FEW}
    for number in [int(draw) for draw in draws] or DRAWS:
        measure_draw(whole, number, found)
    show(found)


def measure_draw(whole: ImageSet, number: int, found: Found) -> None:
    """Train a backbone on half of the classes and every arm on the other half. Appends each arm's accuracy."""
    draw = np.random.default_rng(number)
    known, others = np.split(draw.permutation(len(whole.classes)), 2)
    print(f"draw {number}: the backbone learns {', '.join(whole.classes[label] for label in known)}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        backbones = saved_backbones(turned(images_of(whole, known, SOURCE_IMAGES, draw)), number, Path(folder))
    for few, epochs in FEW.items():
        images = images_of(whole, others, few, np.random.default_rng([number, few]))
        for name, arm in ARMS.items():
            _, accuracy = trained(arm.spec(epochs, number), images, backbones.get(arm.file or ""))
            found[few][name].append(accuracy)
            print(f"draw {number}, {few} images a class, {name}: {accuracy:.4f}", flush=True)


def images_of(whole: ImageSet, labels: NDArray[np.int64], count: int, draw: np.random.Generator) -> ImageSet:
    """Select images of some classes: `count` of each for training, a few for validation, and the whole test split."""
    counts = {"train": count, "validation": VALIDATION, "test": None}
    parts: dict[str, list[NDArray[np.int64]]] = {split: [] for split in counts}
    for split, rows in whole.splits.items():
        for label in labels:
            parts[split].append(draw.permutation(rows[whole.labels[rows] == label])[: counts[split]])
    taken = {split: np.concatenate(of_label) for split, of_label in parts.items()}
    every, ends = np.concatenate(list(taken.values())), np.cumsum([len(rows) for rows in taken.values()])
    new_label = np.full(len(whole.classes), -1, np.int32)
    new_label[labels] = np.arange(len(labels))
    return replace(
        whole,
        images=np.ascontiguousarray(whole.images[every]),
        labels=new_label[whole.labels[every]],
        splits=dict(zip(taken, np.split(np.arange(ends[-1]), ends[:-1]), strict=True)),
        classes=tuple(whole.classes[label] for label in labels),
    )


def turned(images: ImageSet) -> ImageSet:
    """Turn each image by four quarter turns, and make each turn a class of its own, because 20 classes are harder."""
    count, classes = len(images.labels), len(images.classes)
    return replace(
        images,
        images=np.concatenate([np.rot90(images.images, turn, axes=(1, 2)) for turn in range(TURNS)]),
        labels=np.concatenate([images.labels + np.int32(turn * classes) for turn in range(TURNS)]),
        splits={
            split: np.concatenate([rows + turn * count for turn in range(TURNS)])
            for split, rows in images.splits.items()
        },
        classes=tuple(f"{label}, turned {turn} times" for turn in range(TURNS) for label in images.classes),
    )


def untrained() -> keras.Model:
    """Build the first layers of a MobileNet behind the scaling of pixels, from 56×56 pixels to maps of 7×7×128."""
    pixels = keras.Input((SIZE, SIZE, 3))
    scaled = keras.layers.Rescaling(1 / 127.5, offset=-1)(pixels)
    whole = keras.applications.MobileNet(alpha=ALPHA, include_top=False, weights=None, input_shape=(SIZE, SIZE, 3))
    for layer in whole.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = NORM_MOMENTUM
    return keras.Model(pixels, keras.Model(whole.input, whole.get_layer(LAST_LAYER).output)(scaled))


def saved_backbones(images: ImageSet, seed: int, folder: Path) -> dict[str, UploadedBackbone]:
    """Return the network before and after it has learned these images, as read from an uploaded file."""
    keras.utils.set_random_seed(seed)
    before = taken_apart(untrained(), folder / "untrained")
    network = {"backbone": {"model": "untrained", "trainable": True}, "blocks": (), "head": "global_average"}
    training = {
        "epochs": SOURCE_EPOCHS,
        "seed": seed,
        "batch_size": SOURCE_BATCH,
        "optimizer": {"learning_rate": SOURCE_RATE},
        "schedule": {"name": "cosine"},
    }
    body = {"dataset": "known", "network": network, "training": training, "augmentation": AUGMENTATION}
    model, accuracy = trained(JobSpec.model_validate(body), images, before)
    print(f"draw {seed}: of the test images of its own {len(images.classes)} classes {accuracy:.3f}", flush=True)
    return {"untrained": before, "pretrained": taken_apart(model.get_layer(BACKBONE), folder / "pretrained")}


def taken_apart(model: keras.Model, folder: Path) -> UploadedBackbone:
    """Return a model as a worker reads it from an uploaded file."""
    folder.mkdir()
    model.save(folder / "model.keras")
    save_backbone(folder / "model.keras", folder)
    return UploadedBackbone.read(AssignedBackbone(folder, "bytes"))


def trained(spec: JobSpec, images: ImageSet, backbone: UploadedBackbone | None) -> tuple[keras.Model, float]:
    """Train as a worker does, and return the network and its test accuracy."""
    keras.backend.clear_session()
    assert spec.training.seed is not None
    data = select(images, spec)
    network = build_network(spec.network, images.shape, len(images.classes), spec.training.seed, backbone=backbone)
    source = ResidentData(data)
    evaluator = Evaluator(network, source)
    with tempfile.TemporaryDirectory() as scratch:
        engine = Engine(network, data, source, spec)
        Trainer(spec, data, engine, evaluator, scratch=Path(scratch), send=lambda message: None).train()
    return network, evaluator.measure(data.rows["test"]).accuracy


def show(found: Found) -> None:
    """Print medians and ranges of test accuracies over the draws, and how often an arm beats the blocks."""
    for few, of_arm in found.items():
        print(f"\n| {few} images a class | median | range | above blocks | above blocks, augmentation |")
        print("|---|---|---|---|---|")
        for name, values in of_arm.items():
            wins = (_above(values, of_arm[base]) for base in ("blocks", "blocks, augmentation"))
            print(f"| {name} | {median(values):.3f} | {min(values):.3f}–{max(values):.3f} | {' | '.join(wins)} |")


def _above(values: Sequence[float], others: Iterable[float]) -> str:
    if values is others:
        return ""
    return f"{sum(value > other for value, other in zip(values, others, strict=True))} of {len(values)}"


if __name__ == "__main__":
    main(*sys.argv[1:])
