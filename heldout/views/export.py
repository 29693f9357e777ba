"""Exports of a model for other runtimes: the state of each file, and how it answered when it was loaded."""

from typing import Literal

from pydantic import Field

from heldout.stored.artifacts import ExportFormat, ExportStatus
from heldout.stored.evaluation import SplitName
from heldout.stored.model_about import ModelAbout
from heldout.views.base import View


class ExportView(View):
    """A model in one format, and the state of its export."""

    object: Literal["export"] = "export"
    job_id: str = Field(description="The training, or the study whose ensemble it is.")
    format: ExportFormat
    status: ExportStatus


class ExportErrorView(View):
    """Why there is no verified file."""

    code: str
    detail: str


class ExportReportView(View):
    """How the exported file's answers to the job's own images compare with those of the training."""

    object: Literal["export_report"] = "export_report"
    job_id: str = Field(description="The training, or the study whose ensemble it is.")
    format: ExportFormat
    runtime: str = Field(description="The runtime that loaded the file, with its version.")
    compared_with: Literal["predictions", "keras"] = Field(
        description="`predictions`: the job's stored `predictions.npz`, or for an ensemble the mean of its jobs' "
        "files. `keras`: Keras' own answers to the same images, if a job has no such file."
    )
    split: SplitName
    images: int
    batch_sizes: list[int] = Field(description="Batch sizes in which the images were given.")
    differing_answers: int = Field(description="Images whose most probable class differs; 0 in every report.")
    max_difference: float = Field(description="The largest difference between two probabilities.")
    tolerance: float
    size_bytes: int
    sha256: str = Field(description="Digest of the verified file, hexadecimal.")
    about: ModelAbout = Field(description="What the file says about itself.")


class ListedExportView(View):
    """What is known about a job's model in one format, whether it was ordered or not."""

    object: Literal["export"] = "export"
    job_id: str
    format: ExportFormat
    status: ExportStatus | Literal["absent"] = Field(
        description="`absent`: it was not ordered. For `keras`, whose file always exists, the status of its check."
    )
    error: ExportErrorView | None = Field(description="Why it failed.")
    report: ExportReportView | None = Field(description="The report of its check, if stored.")


class ExportList(View):
    """A job's model in every format."""

    object: Literal["list"] = "list"
    data: list[ListedExportView]
