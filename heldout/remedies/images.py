"""Remedies that change the training images at random: moving, mirroring, erasing and mixing them."""

from typing import Any

from heldout.remedies.change import Change, NoChange, Outcome, Remedies, Remedy, RemedyBase
from heldout.words import percent

ROTATION_DEGREES = 10
# Share of an image's side.
SHIFT = 0.1
ZOOM = 0.1
# Share of the training images of which a rectangle is erased. (Zhong et al. 2020)
ERASING = 0.5
# Of the published recipes: He et al. 2015 (4 pixels of 32), the usual color jitter.
CROP_PADDING = 0.125
SATURATION = 0.4
HUE = 0.1
# Alphas of the Beta distributions. (Zhang et al. 2018; Yun et al. 2019)
MIXUP = 0.2
CUTMIX = 1.0

_ROTATION = {"rotation_degrees": ROTATION_DEGREES}
_SHIFT = {"width_shift": SHIFT, "height_shift": SHIFT}
_ZOOM = {"zoom": ZOOM}
MILD_AUGMENTATION: dict[str, Any] = _ROTATION | _SHIFT | _ZOOM
# The reference spec `augmented.json` has these amounts.
REFERENCE_AUGMENTATION: dict[str, Any] = {
    "rotation_degrees": 20,
    "width_shift": 0.2,
    "height_shift": 0.2,
    "horizontal_flip": True,
}


def _add_amounts(amounts: dict[str, Any], did: str, seen: str, reason: str) -> Remedy:
    """Make the remedy that sets these fields of the augmentation wherever the spec does not."""

    def change(base: RemedyBase) -> Outcome:
        missing = {name: amount for name, amount in amounts.items() if not base.augmentation.get(name)}
        return Change({"augmentation": missing}, did) if missing else NoChange(f"Training images are already {seen}.")

    return Remedy(change, reason)


def _mix_images(way: str, other: str, alpha: float, did: str, reason: str) -> Remedy:
    """Make the remedy that mixes images one way. A spec may only have one of the two."""

    def change(base: RemedyBase) -> Outcome:
        if base.training.get(way):
            return NoChange(f"The spec already has `{way}`.")
        if base.training.get(other):
            return Change({"training": {way: alpha, other: 0}}, f"{did}, instead of `{other}` (alpha {alpha}).")
        return Change({"training": {way: alpha}}, f"{did} (alpha {alpha}).")

    return Remedy(change, reason)


def _use_reference_augmentation(base: RemedyBase) -> Outcome:
    """Set the amounts of the reference spec, whatever the spec has."""
    changes = {name: value for name, value in REFERENCE_AUGMENTATION.items() if base.augmentation.get(name) != value}
    if not changes:
        return NoChange("The spec already has exactly this augmentation.")
    did = "Rotates training images by up to 20°, moves them by up to 20%, and mirrors half of them."
    return Change({"augmentation": changes}, did)


REMEDIES = Remedies(
    {
        "augmentation": _add_amounts(
            MILD_AUGMENTATION,
            f"Rotates, moves and zooms training images slightly: by up to {ROTATION_DEGREES}°, {percent(SHIFT, 0)} "
            f"and {percent(ZOOM, 0)}.",
            "rotated, moved and zoomed",
            "Slightly rotated, shifted and zoomed copies give the network more varied images. Use them only if they "
            "still show the same thing.",
        ),
        "rotation": _add_amounts(
            _ROTATION,
            f"Rotates training images by up to {ROTATION_DEGREES}° either way.",
            "rotated",
            "Slightly rotated copies give the network more varied images.",
        ),
        "shift": _add_amounts(
            _SHIFT,
            f"Moves training images by up to {percent(SHIFT, 0)} of their width and height.",
            "moved",
            "Slightly shifted copies teach the network that the position does not matter.",
        ),
        "zoom": _add_amounts(
            _ZOOM,
            f"Zooms training images in and out by up to {percent(ZOOM, 0)}.",
            "zoomed",
            "Slightly zoomed copies teach the network that the size does not matter.",
        ),
        "horizontal_flip": _add_amounts(
            {"horizontal_flip": True},
            "Mirrors half of the training images.",
            "mirrored",
            "Mirrored copies double the variety if a mirrored image still shows the same thing: garments do, digits "
            "do not.",
        ),
        "reference_augmentation": Remedy(
            _use_reference_augmentation,
            "Strongly rotated, shifted and mirrored copies give a lot of variety, but too much for a short training.",
        ),
        "erasing": _add_amounts(
            {"erasing": ERASING},
            f"Fills a random rectangle of {percent(ERASING, 0)} of the training images with the mean of all images.",
            "erased in part",
            "Hidden parts stop the network from relying on one detail of an image.",
        ),
        "random_crop": _add_amounts(
            {"random_crop": {"name": "padded", "padding": CROP_PADDING}},
            f"Crops training images at random after padding each side by {percent(CROP_PADDING)}.",
            "cropped",
            "Parts of an image at changing places teach that the position does not matter.",
        ),
        "saturation": _add_amounts(
            {"saturation": SATURATION},
            f"Changes how strong the colors of training images are, by up to {percent(SATURATION, 0)}.",
            "of random saturation",
            "Paler and brighter colors teach the network not to rely on how strong a color is.",
        ),
        "hue": _add_amounts(
            {"hue": HUE},
            f"Turns the colors of training images by up to {percent(HUE, 0)} of the color circle either way.",
            "of random hue",
            "Other colors teach the network to look at shapes. Use them only if colors do not tell classes.",
        ),
        "trivial_augment": _add_amounts(
            {"trivial_augment": True},
            "Changes each training image by one random operation of random strength (TrivialAugment).",
            "changed by TrivialAugment",
            "One strong random change of each image gives a lot of variety without anything to tune.",
        ),
        "mixup": _mix_images(
            "mixup",
            "cutmix",
            MIXUP,
            "Blends pairs of training images and their labels",
            "Blended images and labels make the network change its answers gradually.",
        ),
        "cutmix": _mix_images(
            "cutmix",
            "mixup",
            CUTMIX,
            "Replaces a rectangle of each training image by another image's, and its label in proportion",
            "Images with a part of another image make the network look at all parts.",
        ),
    }
)
