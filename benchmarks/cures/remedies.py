"""The remedies at the time of recording. Each is a merge patch of the spec, stored with its trainings."""

from typing import Any

from heldout.spec.documents import merge

Patch = dict[str, Any]


def patches(spec: dict[str, Any]) -> dict[str, Patch]:
    """Return every remedy that changes `spec`, by name."""
    blocks = spec["network"]["blocks"]
    every: dict[str, Patch] = {
        "smaller_network": _blocks([block | {"filters": max(1, block["filters"] // 2)} for block in blocks]),
        "dropout": _blocks([block | {"dropout": 0.25} for block in blocks]),
        "l2": {"network": {"l2": 0.001}},
        "weight_decay": {"training": {"optimizer": {"name": "adamw", "weight_decay": 0.01, "momentum": None}}},
        "batch_norm": _blocks([block | {"batch_norm": True} for block in blocks]),
        "label_smoothing": {"training": {"label_smoothing": 0.1}},
        "early_stopping": {
            "training": {"early_stopping": {"monitor": "validation_loss", "patience": 5, "restore_best": True}}
        },
        "erasing": {"augmentation": {"erasing": 0.5}},
        "mixup": {"training": {"mixup": 0.2}},
        "cutmix": {"training": {"cutmix": 1.0}},
        "ema": {"training": {"ema_decay": 0.99}},
        "rotation": {"augmentation": {"rotation_degrees": 15.0}},
        "shift": {"augmentation": {"width_shift": 0.1, "height_shift": 0.1}},
        "zoom": {"augmentation": {"zoom": 0.1}},
        "horizontal_flip": {"augmentation": {"horizontal_flip": True}},
        "reference_augmentation": {
            "augmentation": {"rotation_degrees": 20.0, "width_shift": 0.2, "height_shift": 0.2, "horizontal_flip": True}
        },
    }
    return {name: patch for name, patch in every.items() if merge(spec, patch) != spec}


def _blocks(blocks: list[dict[str, Any]]) -> Patch:
    # A merge patch replaces a list as a whole.
    return {"network": {"blocks": blocks}}
