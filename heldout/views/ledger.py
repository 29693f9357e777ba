"""The ledger of a dataset: how often its validation and test labels were looked at, and by what."""

from typing import Literal

from pydantic import Field

from heldout.views.base import Time, View
from heldout.views.event import SubjectView
from heldout.views.job import DatasetReference
from heldout.views.page import Page

HeldOutSplit = Literal["validation", "test"]


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
    split: HeldOutSplit
    subject: SubjectView = Field(
        description="The job or uploaded model whose weights were compared with the labels, or the dataset shown."
    )
    fold: int | None = Field(
        None, description="Fold of a job with folds, from 0: its validation images are not the dataset's own split."
    )
    epoch: int | None = Field(
        description="Epoch of the weights, from 1; null for uploaded models, and if only labels were shown."
    )
    what: Literal["measured", "selected", "handed_out"] = Field(
        description="`selected`: the figure could decide how the training continued or which epoch was kept."
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
