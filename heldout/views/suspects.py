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
    probability: float | None = Field(description="That its label is wrong; null where the search cannot tell.")
    thumbnail: str


class WrongLabelsView(View):
    """How many labels of the whole dataset are probably wrong."""

    count: int
    share: float
    low: int = Field(description="`low` to `high` is meant to hold in 95% of all datasets.")
    high: int


class SplitLabelsView(WrongLabelsView):
    """The same of one split."""

    images: int


class PlantedLabelsView(View):
    """What the search found of labels that it had changed itself, in copies of the labels."""

    planted: int = Field(description="Labels that were changed.")
    found: float = Field(description="Share of them that the search suspected.")
    right_class: float = Field(description="Share of them for which it suggested the label that they had before.")
    accused: float = Field(description="Share of the labels left alone that it suspected in the same copies.")


class ClassLabelsView(View):
    """How well the search knows one class."""

    name: str
    images: int
    agreement: float
    found: float = Field(description="Share of its planted labels that the search suspected.")


class SearchView(View):
    """How the labels were judged."""

    networks: int = Field(description="Networks that were trained.")
    trained_on: int = Field(description="Images that each of them was trained on, at most.")
    seen_as: tuple[int, int] = Field(description="Height and width of the images that the networks were given.")
    agreement: float = Field(
        description="Share of all images to which the networks, trained without them, give the label that they have."
    )
    planted: PlantedLabelsView | None = Field(description="Null for a search of an earlier release.")
    classes: list[ClassLabelsView] = Field(description="The class with the lowest agreement first.")


class SuspectsView(View):
    """What a search for wrong labels found, as a page of its suspects; while it waits or runs there are none.

    If the search cannot tell, `data` holds the oddest images, without probabilities.
    """

    object: Literal["suspects"]
    status: Literal["queued", "running", "ready", "failed"]
    dataset: DatasetReference
    explanation: str
    error: JobErrorView | None = Field(description="Why the search failed.")
    images: int | None = Field(description="How many images were judged: all of the dataset.")
    verdict: Literal["can_tell", "too_hard", "split_disagrees"] | None = Field(
        description="Whether the search can tell wrong labels from hard images. `split_disagrees`: most labels of a "
        "split are wrong, so that no count is true. Null before the search has ended, and for one of an earlier "
        "release, which did not check itself."
    )
    wrong: WrongLabelsView | None = Field(description="Null unless `verdict` is `can_tell`.")
    splits: dict[str, SplitLabelsView] | None = Field(description="`wrong` of each split; null where that is null.")
    search: SearchView | None
    data: list[SuspectView]
    has_more: bool
    next: int | None = Field(description="`after` of the following page, null at the end.")
