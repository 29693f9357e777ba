"""The names that people read for what was done to images: changed pixels, turns, and lost quality."""

from collections.abc import Mapping
from typing import NamedTuple


class PixelLabel(NamedTuple):
    """How to name images with changed pixels, their headline, and the phrase for undoing the change."""

    name: str
    headline: str
    undone: str


_TURNED_BACK = "Turned back"
PIXELS: Mapping[str, PixelLabel] = {
    "inversion": PixelLabel("inverted", "{images} are inverted.", "With light and dark swapped back"),
    "scale": PixelLabel(
        "another scale", "{split} pixel values are on another scale.", "With the scale of the training images"
    ),
    "channel_order": PixelLabel(
        "swapped color channels", "{images} have red and blue swapped.", "With the channels swapped back"
    ),
    "brightness": PixelLabel(
        "another brightness or contrast",
        "{images} differ in brightness or contrast.",
        "With the brightness of the training images",
    ),
    "transpose": PixelLabel(
        "swapped rows and columns", "{images} have rows and columns swapped.", "With these swapped back"
    ),
    "turn_left": PixelLabel("turned to the right", "{images} are turned by 90° to the right.", _TURNED_BACK),
    "turn_right": PixelLabel("turned to the left", "{images} are turned by 90° to the left.", _TURNED_BACK),
    "upside_down": PixelLabel("upside down", "{images} are upside down.", _TURNED_BACK),
    "flip_vertical": PixelLabel("mirrored", "{images} have top and bottom swapped.", "With these swapped back"),
    "flip_horizontal": PixelLabel("mirrored", "{images} have left and right swapped.", "With these swapped back"),
}


class QualityLabel(NamedTuple):
    """How to name images that have lost quality, and its measure as a template."""

    name: str
    measure: str


QUALITIES: Mapping[str, QualityLabel] = {
    "blur": QualityLabel("blurred", "a standard deviation of {strength:.1f} pixels"),
    "noise": QualityLabel("noisy", "a standard deviation of {strength:.0f} of 255 levels"),
    "compression": QualityLabel("strongly compressed", "a JPEG quality of about {strength:.0f}"),
    "resolution": QualityLabel("enlarged from a lower resolution", "{strength:.0%} of the sides"),
}
