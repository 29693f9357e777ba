"""Specs to start from, by name: those of `examples/`, for users who have only the command line."""

from copy import deepcopy
from enum import StrEnum
from typing import Any

_TRAINING = {"epochs": 10, "batch_size": 32, "optimizer": {"name": "adam", "learning_rate": 0.001}, "seed": 7}
_CHANGES = {"rotation_degrees": 20, "width_shift": 0.2, "height_shift": 0.2, "horizontal_flip": True}


class Preset(StrEnum):
    """A network that memorizes its training images, one that is regularized, one with augmentation, and a ResNet."""

    OVERFIT = "overfit"
    REGULARIZED = "regularized"
    AUGMENTED = "augmented"
    RESNET20 = "resnet20"


def _list_resnet_blocks(repeat: int) -> list[dict[str, Any]]:
    """Return the blocks of a network for images of 32×32 (He et al. 2015, section 4.2): three sizes of maps."""
    usual = {"padding": "same", "norm": "batch", "pool": 1}
    residual = usual | {"residual": True, "repeat": 2}
    blocks: list[dict[str, Any]] = [{"filters": 16, **usual}]
    for filters in (16, 32, 64):
        first = residual if filters == 16 else residual | {"strides": 2}
        blocks += [{"filters": filters, **each} for each in (first, *[residual] * (repeat - 1))]
    return blocks


_PARTS: dict[Preset, dict[str, Any]] = {
    Preset.OVERFIT: {"network": {"blocks": [{"filters": 32}, {"filters": 64}, {"filters": 128}]}},
    Preset.REGULARIZED: {
        "network": {"blocks": [{"filters": 32, "dropout": 0.25}, {"filters": 64, "dropout": 0.25}], "l2": 0.01}
    },
    Preset.AUGMENTED: {
        "network": {"blocks": [{"filters": 16}]},
        "augmentation": _CHANGES,
        "training": _TRAINING | {"epochs": 20},
    },
    Preset.RESNET20: {
        "network": {"blocks": _list_resnet_blocks(3), "l2": 0.0001, "head": "global_average"},
        "training": _TRAINING
        | {
            "epochs": 20,
            "batch_size": 128,
            "optimizer": {"name": "sgd", "learning_rate": 0.1, "momentum": 0.9},
            "schedule": {"name": "cosine", "warmup_epochs": 1},
        },
    },
}


def build_command(dataset: str, image: tuple[int, int, int], classes: int) -> str:
    """Return the `heldout train` command for the regularized preset on a dataset, with padding for small images.

    Args:
        image: (height, width, channels) of one image.
    """
    from heldout.errors import NetworkTooDeep
    from heldout.spec.job import NetworkSpec
    from heldout.spec.layers import plan_network

    network = get_spec(Preset.REGULARIZED)["network"]
    command = f"heldout train --preset {Preset.REGULARIZED} --set dataset={dataset}"
    try:
        plan_network(NetworkSpec.model_validate(network), image, max(2, classes))
    except NetworkTooDeep:
        command += "".join(f" --set network.blocks.{index}.padding=same" for index in range(len(network["blocks"])))
    return command


def get_spec(preset: Preset) -> dict[str, Any]:
    """Return a new copy of the spec."""
    return deepcopy({"name": preset.value, "dataset": "mnist5k", "training": _TRAINING, **_PARTS[preset]})
