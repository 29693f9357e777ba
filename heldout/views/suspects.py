"""Images of a dataset whose label is probably wrong."""

from typing import Literal

from pydantic import Field

from heldout.views.base import View
from heldout.views.job import DatasetReference, JobErrorView


class SuspectView(View):
    """An image whose label is probably wrong."""

    rank: int = Field(description="From 1, the surest first.")
    index: int = Field(description="Its position in the dataset.")
    split: Literal["train", "validation", "test"]
    member: str | None = Field(description="Its name in the upload; null where it has none.")
    label: str = Field(description="The class that it has.")
    suggested: str = Field(description="The class that the networks find more likely.")
    probability: float = Field(description="That its label is wrong, as far as the networks can tell.")
    thumbnail: str


class WrongLabelsView(View):
    """How many labels of the whole dataset are probably wrong."""

    count: int
    share: float
    low: int = Field(description="`low` to `high`: where the true count was in most sets with planted wrong labels.")
    high: int


class SearchView(View):
    """How the labels were judged."""

    networks: int = Field(description="Networks that were trained.")
    trained_on: int = Field(description="Images that each of them was trained on, at most.")
    seen_as: tuple[int, int] = Field(description="Height and width of the images that the networks were given.")
    agreement: float = Field(
        description="Share of all images to which the networks, trained without them, give the label that they have."
    )


class SuspectsView(View):
    """What a search for wrong labels found, as a page of its suspects; while it waits or runs there are none."""

    object: Literal["suspects"]
    status: Literal["queued", "running", "ready", "failed"]
    dataset: DatasetReference
    explanation: str
    error: JobErrorView | None = Field(description="Why the search failed.")
    images: int | None = Field(description="How many images were judged: all of the dataset.")
    wrong: WrongLabelsView | None = Field(description="Null where the networks did not learn enough to tell.")
    search: SearchView | None
    data: list[SuspectView]
    has_more: bool
    next: int | None = Field(description="`after` of the following page, null at the end.")
