"""What a pretrained backbone is worth: twenty images a class of classes that it never saw.

A `keras.applications` network learns five classes of fashion_mnist in plain Keras, and is saved without its head. Then
the other five classes are learned from 20 images of each, which each seed draws anew, behind it and from scratch. The
files are read from the folder that HELDOUT_DATASETS names.
"""

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from benchmarks.initial import FEW, FEW_EPOCHS, NETWORK, images_of, show
from heldout.settings import Settings
from heldout.spec import JobSpec
from models.arrays import ImageSet
from models.bundled import BUNDLED
from worker.messages import AssignedBackbone
from worker.training.backbone import UploadedBackbone
from worker.training.data import select
from worker.training.engine import Engine
from worker.training.evaluate import Evaluator
from worker.training.foreign.backbone import save_backbone
from worker.training.network import build_network
from worker.training.resident import ResidentData
from worker.training.trainer import Trainer

SEEDS = range(5)
# Its first layer takes every other pixel, and its last maps would be 2×2: so images are enlarged, and it is cut here.
SIZE, LAST_LAYER = 56, "conv_pw_5_relu"
SOURCE_IMAGES, SOURCE_EPOCHS = 2_000, 8  # images of each class


@dataclass(frozen=True)
class Arm:
    """Which backbone a network has, if any, and how it is trained. file: `pretrained` or `untrained`."""

    file: str | None
    trainable: bool = False
    learning_rate: float = 0.001


ARMS = {
    "from scratch": Arm("untrained", trainable=True),
    "blocks from scratch": Arm(None),
    "backbone frozen": Arm("pretrained"),
    "backbone trained along": Arm("pretrained", trainable=True, learning_rate=0.0001),
}


def main() -> None:
    whole = BUNDLED["fashion_mnist"].read(Settings().datasets)
    found: dict[str, list[float]] = {arm: [] for arm in ARMS}
    with tempfile.TemporaryDirectory() as folder:
        draw = np.random.default_rng(0)
        known, others = np.split(draw.permutation(10), [5])
        backbones = saved_backbones(images_of(whole, known, SOURCE_IMAGES, draw), 0, Path(folder))
        for seed in SEEDS:
            few = images_of(whole, others, FEW, np.random.default_rng(seed))
            for name, arm in ARMS.items():
                found[name].append(trained(arm, few, seed, backbones))
            print(f"seed {seed}: " + ", ".join(f"{arm} {values[-1]:.4f}" for arm, values in found.items()), flush=True)
    show(found)


def saved_backbones(images: ImageSet, seed: int, folder: Path) -> dict[str, UploadedBackbone]:
    """The same network before and after it has learned these images, each as it comes out of an uploaded file."""
    keras.backend.clear_session()
    keras.utils.set_random_seed(seed)
    pixels = keras.Input((SIZE, SIZE, 3))
    scaled = keras.layers.Rescaling(1 / 127.5, offset=-1)(pixels)
    whole = keras.applications.MobileNet(alpha=0.25, include_top=False, weights=None, input_shape=(SIZE, SIZE, 3))
    backbone = keras.Model(pixels, keras.Model(whole.input, whole.get_layer(LAST_LAYER).output)(scaled))
    taken = {"untrained": _taken_apart(backbone, folder / "untrained")}
    flat = keras.layers.GlobalAveragePooling2D()(backbone.output)
    classifier = keras.Model(pixels, keras.layers.Dense(len(images.classes))(flat))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    classifier.compile("adam", loss, metrics=["accuracy"])
    rows = images.splits["train"]
    shown = keras.ops.image.resize(np.repeat(images.images[rows].astype(np.float32), 3, axis=-1), (SIZE, SIZE))
    fitted = classifier.fit(shown, images.labels[rows], batch_size=64, epochs=SOURCE_EPOCHS, verbose=0)
    print(f"the backbone knows {fitted.history['accuracy'][-1]:.3f} of its images", flush=True)
    return taken | {"pretrained": _taken_apart(backbone, folder / "pretrained")}


def _taken_apart(model: keras.Model, folder: Path) -> UploadedBackbone:
    folder.mkdir(exist_ok=True)
    model.save(folder / "model.keras")
    save_backbone(folder / "model.keras", folder)
    return UploadedBackbone.read(AssignedBackbone(str(folder), "bytes"))


def trained(arm: Arm, images: ImageSet, seed: int, backbones: dict[str, UploadedBackbone]) -> float:
    """Train as a worker does, and give the accuracy on test."""
    keras.backend.clear_session()
    network: dict[str, Any] = NETWORK
    if arm.file is not None:
        backbone = {"model": arm.file, "trainable": arm.trainable}
        network = {"backbone": backbone, "blocks": [], "dense": NETWORK["dense"]}
    training = {"epochs": FEW_EPOCHS, "seed": seed, "optimizer": {"learning_rate": arm.learning_rate}}
    spec = JobSpec.model_validate({"dataset": "fashion", "network": network, "training": training})
    data = select(images, spec)
    built = build_network(spec.network, images.shape, len(images.classes), seed, backbone=backbones.get(arm.file or ""))
    source = ResidentData(data)
    evaluator = Evaluator(built, source)
    with tempfile.TemporaryDirectory() as scratch:
        engine = Engine(built, data, source, spec)
        trainer = Trainer(spec, data, engine, evaluator, scratch=Path(scratch), send=lambda message: None)
        trainer.train()
    return evaluator.measure(data.rows["test"]).accuracy


if __name__ == "__main__":
    main()
