"""The effect of a change to a dataset, and pairs of images that look alike but differ."""

from typing import Literal

from pydantic import Field

from heldout.views.base import View
from heldout.views.job import DatasetReference


class ExampleView(View):
    """An image of the dataset: its position, its name in the upload, and the route of its thumbnail."""

    split: Literal["train", "validation", "test"]
    index: int
    member: str
    thumbnail: str


class SplitImagesView(View):
    """Number of images in each split."""

    train: int
    validation: int
    test: int


class EffectView(View):
    """The effect of a change on the images of a version, counted before it is made."""

    summary: str = Field(description="In words, such as `Removes 12 of 500 test images.`")
    removes: SplitImagesView = Field(description="How many images of each split would be removed.")
    changes: SplitImagesView = Field(description="How many other images would get a different label or pixels.")
    cuts_splits: bool = Field(description="Whether all images would be split again.")
    is_complete: bool = Field(
        description="False if copies are to be dropped that are not known yet, because their search has not run or the "
        "change creates other copies."
    )
    removed: list[ExampleView] = Field(description="The first images that would be removed, test before train.")
    changed: list[ExampleView] = Field(description="The first images that would be changed.")


class DifferentView(View):
    """Pairs of images of a version that a person marked as different; derived versions keep these marks."""

    object: Literal["different"]
    dataset: DatasetReference
    pairs: list[tuple[int, int]] = Field(description="All pairs, in order.")
