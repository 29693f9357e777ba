"""A dataset and how it is split."""

from typing import Any, Literal

from pydantic import Field

from heldout.lifecycle.dataset import DatasetStatus
from heldout.markup import make_table
from heldout.stored.evaluation import SplitName
from heldout.views.base import Time, View
from heldout.views.job import DatasetReference
from heldout.views.page import NumberedPage, Page


class SplitView(View):
    """Number of images in one split, and of each class in the order of `classes`."""

    count: int
    per_class: list[int]


class SplitsView(View):
    """The three splits of a dataset."""

    train: SplitView
    validation: SplitView
    test: SplitView


class RejectionView(View):
    """Why an upload was rejected, and which file, array or row caused it."""

    code: str
    detail: str
    member: str | None


class DerivedFromView(View):
    """The version from which this version was derived without a new upload, and the changes."""

    dataset: DatasetReference
    changes: dict[str, Any] | None = Field(
        description="The changes as posted; null in lists and webhooks, and if images were added."
    )


class DatasetView(View):
    """A version of a dataset; immutable once it is ready. What is unknown before that is null."""

    id: str
    object: Literal["dataset"]
    name: str
    version: int
    status: DatasetStatus
    shape: tuple[int, int, int] | None = Field(description="Height, width and channels of an image.")
    dtype: str | None
    range: tuple[float, float] | None = Field(
        description="Smallest and largest pixel value that the source can contain."
    )
    classes: list[str] | None
    splits: SplitsView | None
    sha256: str | None
    size_bytes: int | None
    bundled: bool
    error: RejectionView | None
    queue_position: int | None = Field(
        None,
        description="Position of its check among your jobs, 1 being next, while it waits for a worker. Only where one "
        "dataset is asked for.",
    )
    created_at: Time
    description: str
    derived_from: DerivedFromView | None = Field(None, description="Null if it was uploaded and adds to no version.")

    def _repr_html_(self) -> str:
        rows = [("status", self.status.value)]
        if self.shape is not None and self.classes is not None:
            rows.append(("images", f"{'×'.join(map(str, self.shape))}, {len(self.classes)} classes"))
        if self.splits is not None:
            counts = [f"{split.count:,} {name}" for name, split in self.splits]
            rows.append(("splits", ", ".join(counts)))
        if self.error is not None:
            rows.append(("error", f"{self.error.code}: {self.error.detail}"))
        return make_table(f"{self.name}@{self.version} ({self.id})", rows)


class IndicesView(View):
    """For each split, the positions of its images in the source's order."""

    object: Literal["splits"]
    train: list[int]
    validation: list[int]
    test: list[int]


class DatasetPage(Page[DatasetView]):
    """A page of the datasets visible to the caller, newest first; `next` is the `after` of the next page."""


class DatasetImageView(View):
    """One image: its position, its label, and the route of its thumbnail."""

    index: int = Field(description="Its position in the dataset.")
    split: SplitName
    label: str = Field(description="A name in `classes`.")
    member: str | None = Field(description="Its name in the upload; null if it has none.")
    thumbnail: str


class DatasetImagePage(NumberedPage[DatasetImageView]):
    """A page of a split's images, in the source's order; `next` is the `after` of the next page."""

    count: int = Field(description="Total of images in the split, or in one class of it.")
