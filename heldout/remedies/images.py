"""Remedies that change the training images at random: moving, mirroring, erasing and mixing them."""

from typing import Any

from heldout.remedies.change import (
    CROP_PADDING,
    CUTMIX,
    ERASING,
    HUE,
    MIXUP,
    REFERENCE_ROTATION_DEGREES,
    REFERENCE_SHIFT,
    ROTATION_DEGREES,
    SATURATION,
    SHIFT,
    ZOOM,
    Change,
    NoChange,
    Outcome,
    RemedyBase,
)
from heldout.words import percent

_ROTATION = {"rotation_degrees": ROTATION_DEGREES}
_SHIFT = {"width_shift": SHIFT, "height_shift": SHIFT}
_ZOOM = {"zoom": ZOOM}
MILD_AUGMENTATION: dict[str, Any] = _ROTATION | _SHIFT | _ZOOM
REFERENCE_AUGMENTATION: dict[str, Any] = {
    "rotation_degrees": REFERENCE_ROTATION_DEGREES,
    "width_shift": REFERENCE_SHIFT,
    "height_shift": REFERENCE_SHIFT,
    "horizontal_flip": True,
}


def add_rotation(base: RemedyBase) -> Outcome:
    return _add_amounts(base, _ROTATION, f"Rotates training images by up to {ROTATION_DEGREES}° either way.", "rotated")


def add_shift(base: RemedyBase) -> Outcome:
    said = f"Moves training images by up to {percent(SHIFT, 0)} of their width and height."
    return _add_amounts(base, _SHIFT, said, "moved")


def add_zoom(base: RemedyBase) -> Outcome:
    return _add_amounts(base, _ZOOM, f"Zooms training images in and out by up to {percent(ZOOM, 0)}.", "zoomed")


def add_horizontal_flip(base: RemedyBase) -> Outcome:
    return _add_amounts(base, {"horizontal_flip": True}, "Mirrors half of the training images.", "mirrored")


def add_augmentation(base: RemedyBase) -> Outcome:
    """Add rotation, shift and zoom wherever the spec does not set them."""
    did = (
        f"Rotates, moves and zooms training images slightly: by up to {ROTATION_DEGREES}°, {percent(SHIFT, 0)} and "
        f"{percent(ZOOM, 0)}."
    )
    return _add_amounts(base, MILD_AUGMENTATION, did, "rotated, moved and zoomed")


def use_reference_augmentation(base: RemedyBase) -> Outcome:
    """Set the amounts of the reference spec `augmented.json`, whatever the spec has."""
    changes = {name: value for name, value in REFERENCE_AUGMENTATION.items() if base.augmentation.get(name) != value}
    if not changes:
        return NoChange("The spec already has exactly this augmentation.")
    did = (
        f"Rotates training images by up to {REFERENCE_ROTATION_DEGREES}°, moves them by up to "
        f"{percent(REFERENCE_SHIFT, 0)}, and mirrors half of them."
    )
    return Change({"augmentation": changes}, did)


def add_erasing(base: RemedyBase) -> Outcome:
    said = f"Fills a random rectangle of {percent(ERASING, 0)} of the training images with the mean of all images."
    return _add_amounts(base, {"erasing": ERASING}, said, "erased in part")


def add_random_crop(base: RemedyBase) -> Outcome:
    said = f"Crops training images at random after padding each side by {percent(CROP_PADDING)}."
    return _add_amounts(base, {"random_crop": {"name": "padded", "padding": CROP_PADDING}}, said, "cropped")


def add_saturation(base: RemedyBase) -> Outcome:
    said = f"Changes how strong the colors of training images are, by up to {percent(SATURATION, 0)}."
    return _add_amounts(base, {"saturation": SATURATION}, said, "of random saturation")


def add_hue(base: RemedyBase) -> Outcome:
    said = f"Turns the colors of training images by up to {percent(HUE, 0)} of the color circle either way."
    return _add_amounts(base, {"hue": HUE}, said, "of random hue")


def add_trivial_augment(base: RemedyBase) -> Outcome:
    said = "Changes each training image by one random operation of random strength (TrivialAugment)."
    return _add_amounts(base, {"trivial_augment": True}, said, "changed by TrivialAugment")


def add_mixup(base: RemedyBase) -> Outcome:
    return _mix_images(base, "mixup", "cutmix", MIXUP, "Blends pairs of training images and their labels")


def add_cutmix(base: RemedyBase) -> Outcome:
    said = "Replaces a rectangle of each training image by another image's, and its label in proportion"
    return _mix_images(base, "cutmix", "mixup", CUTMIX, said)


def _add_amounts(base: RemedyBase, amounts: dict[str, Any], did: str, seen: str) -> Outcome:
    missing = {name: amount for name, amount in amounts.items() if not base.augmentation.get(name)}
    return Change({"augmentation": missing}, did) if missing else NoChange(f"Training images are already {seen}.")


def _mix_images(base: RemedyBase, way: str, other: str, alpha: float, did: str) -> Outcome:
    if base.training.get(way):
        return NoChange(f"The spec already has `{way}`.")
    patch: dict[str, Any] = {way: alpha}
    if base.training.get(other):
        # A spec may only have one of the two.
        patch[other] = 0
        did += f", instead of `{other}`"
    return Change({"training": patch}, f"{did} (alpha {alpha}).")
