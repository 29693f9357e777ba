"""A dataset, how it is split, how it can be fixed, and who looked at its labels."""

from typing import Any, Literal

from pydantic import Field

from heldout.lifecycle.resources import DatasetStatus
from heldout.stored.audit import SplitCounts
from heldout.stored.evaluation import SplitName
from heldout.stored.gap import HeldOutName
from heldout.views.base import ErrorView, NumberedPage, Page, SubjectView, Time, View
from heldout.views.job import DatasetReference


class SplitsView(View):
    """The three splits of a dataset."""

    train: SplitCounts
    validation: SplitCounts
    test: SplitCounts


class RejectionView(ErrorView):
    """Why an upload was rejected, and which file, array or row caused it."""

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
    upload_kept_until: Time | None = Field(
        None,
        description="If it was rejected for the sizes of its images: until then, `POST /v1/datasets/{id}/resize` reads "
        "the same upload again.",
    )
    created_at: Time
    description: str
    derived_from: DerivedFromView | None = Field(None, description="Null if it was uploaded and adds to no version.")

    def _repr_html_(self) -> str:
        from heldout.documents.dataset import lay_out_dataset
        from heldout.documents.html import render_notebook

        return render_notebook(lay_out_dataset(self).blocks)


class IndicesView(View):
    """For each split, the positions of its images in the source's order."""

    object: Literal["splits"]
    train: list[int]
    validation: list[int]
    test: list[int]


class DatasetPage(Page[DatasetView]):
    """A page of the datasets visible to the caller, newest first; `next` is the `after` of the next page."""


class ImageView(View):
    """One image of a dataset."""

    index: int = Field(description="Its position in the dataset.")
    member: str | None = Field(description="Its name in the upload; null if it has none, or if it is not known.")
    thumbnail: str = Field(description="The route of its picture.")


class DatasetImageView(ImageView):
    """One image, with its split and its label."""

    split: SplitName
    label: str = Field(description="A name in `classes`.")


class DatasetImagePage(NumberedPage[DatasetImageView]):
    """A page of a split's images, in the source's order; `next` is the `after` of the next page."""

    count: int = Field(description="Total of images in the split, or in one class of it.")


class ExampleView(View):
    """An image of the dataset: its position, its name in the upload, and the route of its thumbnail."""

    split: SplitName
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


class SplitReadsView(View):
    """How often the caller has looked at the labels of one split."""

    sha256: str | None = Field(
        description="Digest of the split's images and labels; all datasets with the same digest share the count. Null "
        "while unknown."
    )
    images: int
    reads: int = Field(description="All looks at these labels, including `selections` and `handed_out`.")
    selections: int = Field(description="Looks that could decide how a training continued or which epoch was kept.")
    handed_out: int = Field(description="How often the labels themselves were shown, without any weights.")
    jobs: int = Field(description="How many jobs looked, including deleted ones.")
    models: int = Field(0, description="How many uploaded models looked, including deleted ones.")
    experiments: int = Field(
        0, description="How often experiments split all images again and trained other networks on some of these."
    )
    earlier_reads: int = Field(
        0,
        description="Looks at this split in earlier versions whose images or labels differed. If the splits were made "
        "again, looks at both held-out splits count. Not included in `reads`.",
    )


class LedgerSplitsView(View):
    """The splits whose labels training does not see."""

    validation: SplitReadsView
    test: SplitReadsView


class LabelReadView(View):
    """One look at the labels of a split. Repeating the same look adds no entry."""

    id: str
    object: Literal["label_read"]
    split: HeldOutName
    subject: SubjectView = Field(
        description="The job or uploaded model whose weights were compared with the labels, or the dataset shown."
    )
    fold: int | None = Field(
        None, description="Fold of a job with folds, from 0: its validation images are not the dataset's own split."
    )
    epoch: int | None = Field(
        description="Epoch of the weights, from 1; null for uploaded models, and if only labels were shown."
    )
    what: Literal["measured", "selected", "handed_out", "experiment"] = Field(
        description="`selected`: the figure could decide how the training continued or which epoch was kept. "
        "`experiment`: other networks were trained on these images, to find out whether they are of another kind."
    )
    dataset_id: str = Field(description="The version that was named; others may contain the same labels.")
    created_at: Time


class LabelReadPage(Page[LabelReadView]):
    """A page of the looks at a dataset's held-out labels, newest first; `next` is the `after` of the next page."""


class LedgerView(View):
    """How often the caller has looked at the validation and test labels of a dataset: totals and single looks."""

    object: Literal["ledger"]
    dataset: DatasetReference
    explanation: str
    splits: LedgerSplitsView
    fold_reads: int = Field(0, description="Looks of jobs with folds at their own validation images.")
    entries: LabelReadPage
