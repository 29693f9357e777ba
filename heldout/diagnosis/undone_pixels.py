"""The effect of converting the pixel values of a held-out split back to those of training."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from heldout.diagnosis.effect import Effect
from heldout.diagnosis.facts import Facts
from heldout.fixes.offers import offer_undone_pixels as undone_in_version
from heldout.statistics.intervals import compute_paired_interval
from heldout.stored.gap import HeldOutCopies, StoredGap
from heldout.words import describe_part, percent
from heldout.words.labels import PIXELS

# How to describe altered images.
_ALTERED = {"inversion": "light and dark swapped", "channel_order": "red and blue swapped"}


def mention_left_out_copies(gap: StoredGap, split: str = "test") -> str:
    """If copies of training images are left out, a phrase that says so, with a leading space."""
    copies: HeldOutCopies | None = gap.validation_copies if split == "validation" else gap.test_copies
    return "" if copies is None or copies.clean is None else " without copies of training images"


@dataclass(frozen=True)
class UndonePixels:
    """A change of pixel values that clearly helps.

    at_least: lower bound of the accuracy that it restores.
    advice: how to store the images instead.
    fix: the same change for a new version of the dataset. None if the two halves of the images disagree on it, or only
        some images are altered.
    """

    at_least: float
    explanation: str
    evidence: dict[str, Any]
    advice: str
    fix: dict[str, Any] | None


def find_undone_pixels(facts: Facts, choices: Collection[str], split: str = "test") -> UndonePixels | None:
    """The change that was undone, if it is one of `choices` and clearly helps."""
    pixels = None if facts.gap is None else facts.gap.get_pixels(split)
    if facts.gap is None or pixels is None:
        return None
    chosen, change = pixels.chosen, pixels.change
    if chosen not in choices:
        return None
    low, high = compute_paired_interval(change.gained, change.lost, change.count)
    if not Effect((change.gained - change.lost) / change.count, (low, high)).matters:
        return None
    before, after = pixels.accuracies
    aside = mention_left_out_copies(facts.gap, split)
    advice = "Store the pixel values of all splits the same way."
    undone = PIXELS[chosen].undone
    about = f"The pixel values of {split} have a different meaning than those of training"
    then = f"{undone[0].lower()}{undone[1:]}"
    evidence: dict[str, Any] = {
        "split": split,
        f"{split}_accuracy": before,
        f"{split}_accuracy_undone": after,
        "undone": chosen,
        "parameters": list(pixels.parameters),
        "difference_interval": [low, high],
    }
    if pixels.share is not None:
        images, altered = round(pixels.share * change.count), _ALTERED[chosen]
        about = (
            f"About {describe_part(pixels.share)} of the {split} images ({images:,} of {change.count:,}) have {altered}"
        )
        then = "once these are swapped back"
        advice = f"Look for the {split} images that have {altered}, swap them back and upload the dataset again."
        evidence["share"] = pixels.share
    return UndonePixels(
        low,
        f"{about}: the network answers {percent(before)} of the {split} images{aside} correctly as they are, and "
        f"{percent(after)} {then}.",
        evidence,
        advice,
        undone_in_version(split, pixels),
    )
