"""What a pretrained network makes of a dataset's images: similar ones, and a map of all."""

from typing import Literal

from pydantic import Field

from heldout.stored.evaluation import SplitName
from heldout.views.base import ErrorView, View
from heldout.views.dataset import ImageView
from heldout.views.job import DatasetReference

FeaturesState = Literal["queued", "running", "ready", "failed", "unavailable"]


class LooksView(View):
    """State of a dataset's features. Without them, `explanation` says why."""

    status: FeaturesState = Field(
        description="`unavailable`: the service has no pretrained network, or the operator has turned it off."
    )
    dataset: DatasetReference
    explanation: str
    error: ErrorView | None = Field(None, description="Why the features could not be computed.")
    model: str | None = Field(None, description="The pretrained network.")


class SimilarImageView(ImageView):
    """An image that resembles the one asked about."""

    split: SplitName
    similarity: float = Field(description="Cosine of the features, less the mean image: 1 for a copy, 0 by chance.")


class SimilarView(LooksView):
    """The images that look most like one image. No labels are shown, so the ledger does not count it."""

    object: Literal["similar"]
    index: int
    data: list[SimilarImageView] = Field([], description="The most similar image first.")


class MapPointsView(View):
    """Places on the map; each list has an entry for each image."""

    index: list[int] = Field(description="Positions in the dataset.")
    x: list[float] = Field(description="From 0 to 1. Only distances mean something, and only small ones.")
    y: list[float]
    split: list[SplitName] = Field(description="With `job`: those of its training, which may have folds of its own.")
    label: list[int] = Field(description="Positions in `classes`.")
    answer: list[int | None] | None = Field(
        None, description="With `job`: its answers, as positions in `classes`; null for images that it did not answer."
    )


class MapView(LooksView):
    """A picture of the dataset in two dimensions: images that look alike are near each other."""

    object: Literal["map"]
    classes: list[str]
    images: int | None = None
    sampled: int | None = Field(None, description="Number of images on the map; fewer than all if there are many.")
    points: MapPointsView | None = None
