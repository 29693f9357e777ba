"""What bringing the pixel values of test back to training's has shown."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from heldout.diagnosis.effect import Effect
from heldout.diagnosis.facts import Facts
from heldout.diagnosis.gap.budget import accuracy_of, chosen_pixels, levels_of
from heldout.intervals import paired_interval
from heldout.mending.offers import undone_test_pixels
from heldout.stored.gap import StoredGap
from heldout.words import percent

# What was changed in the test images, in words.
_CHANGES = {
    "scale": "with their pixel values on the scale of the training images",
    "inversion": "once light and dark are swapped",
    "channel_order": "once their colour channels are in the order of the training images",
    "brightness": "with the brightness and contrast of the training images",
}


def without_copies(gap: StoredGap) -> str:
    """That copies of training images are left out of the test, where they are. Begins with a space."""
    copies = gap.test_copies
    return "" if copies is None or copies.clean is None else " without copies of training images"


@dataclass(frozen=True)
class UndonePixels:
    """A change of pixel values that surely helps.

    at_least: accuracy that it brings back. mend: the same change for a new version of the dataset; None where the two
    halves of the test images do not agree on it.
    """

    at_least: float
    explanation: str
    evidence: dict[str, Any]
    mend: dict[str, Any] | None


def undone_pixels(facts: Facts, choices: Collection[str]) -> UndonePixels | None:
    """The change, if it is one of these and surely helps."""
    if facts.gap is None or facts.gap.pixels is None:
        return None
    levels, pixels = levels_of(facts.gap), facts.gap.pixels
    chosen = chosen_pixels(pixels)
    if levels is None or chosen not in choices:
        return None
    change = pixels.change
    low, high = paired_interval(change.gained, change.lost, change.count)
    if not Effect((change.gained - change.lost) / change.count, (low, high)).matters:
        return None
    before, after = accuracy_of(levels.clean_test), accuracy_of(levels.pixels_undone)
    return UndonePixels(
        low,
        "The pixel values of test mean something else than those of training: the network answers "
        f"{percent(before)} of the test images{without_copies(facts.gap)} correctly as they are, and {percent(after)} "
        f"{_CHANGES[chosen]}.",
        {
            "test_accuracy": before,
            "test_accuracy_undone": after,
            "undone": chosen,
            "parameters": list(pixels.parameters),
            "difference_interval": [low, high],
        },
        undone_test_pixels(pixels),
    )
