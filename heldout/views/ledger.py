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
        description="Of the split's images and labels: all datasets with this digest share their count. Null while it "
        "is not known."
    )
    images: int
    reads: int = Field(description="All looks at these labels; `selections` and `handed_out` are among them.")
    selections: int = Field(description="Looks that could decide how a training went on or which epoch was kept.")
    handed_out: int = Field(description="How often the labels themselves were shown, without any weights.")
    jobs: int = Field(description="How many jobs looked, deleted ones included.")
    models: int = Field(0, description="How many uploaded models looked, deleted ones included.")
    earlier_reads: int = Field(
        0,
        description="Looks at this split in the versions that this one was made from, where its images or labels were "
        "others; at both held-out splits where they were cut anew. Not among `reads`.",
    )


class LedgerSplitsView(View):
    """The splits whose labels training does not see."""

    validation: SplitReadsView
    test: SplitReadsView


class LabelReadView(View):
    """One look at the labels of a split. The same look again adds none."""

    id: str
    object: Literal["label_read"]
    split: HeldOutSplit
    subject: SubjectView = Field(
        description="The job or the uploaded model whose weights met the labels, or the dataset that was shown."
    )
    fold: int | None = Field(
        None, description="Of a job with folds, from 0: these validation images are its own, not the dataset's split."
    )
    epoch: int | None = Field(
        description="Of the weights, from 1; null for uploaded models, and where labels alone were shown."
    )
    what: Literal["measured", "selected", "handed_out"] = Field(
        description="`selected`: the figure could decide how the training went on or which epoch was kept."
    )
    dataset_id: str = Field(description="The version that was named: another one may hold the same labels.")
    created_at: Time


class LabelReadPage(Page[LabelReadView]):
    """Part of the looks at a dataset's held-out labels, newest first; `next` is the `after` of the following part."""


class LedgerView(View):
    """How often the caller has looked at the validation and test labels of a dataset: totals, then the looks."""

    object: Literal["ledger"]
    dataset: DatasetReference
    explanation: str
    splits: LedgerSplitsView
    fold_reads: int = Field(0, description="Looks of jobs with folds at validation images of their own.")
    entries: LabelReadPage
