"""What a change of a dataset would do, and which of its images look alike but are not."""

from typing import Literal

from pydantic import Field

from heldout.views.base import View
from heldout.views.job import DatasetReference


class ExampleView(View):
    """An image of the dataset: its position, what it was called in the upload, and the route of its thumbnail."""

    split: Literal["train", "validation", "test"]
    index: int
    member: str
    thumbnail: str


class SplitImagesView(View):
    """Images of each split."""

    train: int
    validation: int
    test: int


class EffectView(View):
    """What a change would do to the images of a version, counted before it is made."""

    summary: str = Field(description="In words, such as `Removes 12 of 500 test images.`")
    removes: SplitImagesView = Field(description="How many images of each split would be left out.")
    changes: SplitImagesView = Field(description="How many others would get another label or other pixels.")
    cuts_splits: bool = Field(description="Whether all images would be split anew.")
    is_complete: bool = Field(
        description="False where copies are to be dropped that are not known yet: their search waits, or the change "
        "makes other copies of the images."
    )
    removed: list[ExampleView] = Field(description="The first images that would be left out, test before train.")
    changed: list[ExampleView] = Field(description="The first images that would be changed.")


class DifferentView(View):
    """Pairs of images of a version that were told apart; versions that are derived from it keep them."""

    object: Literal["different"]
    dataset: DatasetReference
    pairs: list[tuple[int, int]] = Field(description="All of them, in order.")
