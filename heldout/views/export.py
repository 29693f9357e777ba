"""A job's model for other runtimes: how far each file is, and how it answered when it was loaded again."""

from typing import Literal

from pydantic import Field

from heldout.stored.artifacts import ExportFormat, ExportStatus
from heldout.stored.evaluation import SplitName
from heldout.stored.model_about import ModelAbout
from heldout.views.base import View


class ExportView(View):
    """A model in a format, and how far it is."""

    object: Literal["export"] = "export"
    job_id: str = Field(description="The training, or the study whose ensemble it is.")
    format: ExportFormat
    status: ExportStatus


class ExportErrorView(View):
    """Why there is no proven file."""

    code: str
    detail: str


class ExportReportView(View):
    """How the file answered the job's own images, beside what the training has said of them."""

    object: Literal["export_report"] = "export_report"
    job_id: str = Field(description="The training, or the study whose ensemble it is.")
    format: ExportFormat
    runtime: str = Field(description="What loaded the file again, with its version.")
    compared_with: Literal["predictions", "keras"] = Field(
        description="`predictions`: the job's stored `predictions.npz`; of an ensemble the mean of those of its jobs. "
        "`keras`: what Keras says of the same images, where a job has none."
    )
    split: SplitName
    images: int
    batch_sizes: list[int] = Field(description="In which batches the images were given.")
    differing_answers: int = Field(description="Images whose most probable class is another one; 0 in every report.")
    max_difference: float = Field(description="The largest difference of two probabilities.")
    tolerance: float
    size_bytes: int
    sha256: str = Field(description="Of the file that was proven, hexadecimal.")
    about: ModelAbout = Field(description="What the file says of itself.")


class ListedExportView(View):
    """What is known of a job's model in a format, whether somebody has ordered it or not."""

    object: Literal["export"] = "export"
    job_id: str
    format: ExportFormat
    status: ExportStatus | Literal["absent"] = Field(
        description="`absent`: nobody has ordered it. For `keras`, whose file is there at once, of its proof."
    )
    error: ExportErrorView | None = Field(description="Why it has failed.")
    report: ExportReportView | None = Field(description="Of its proof, where that is stored.")


class ExportList(View):
    """A job's model in every format."""

    object: Literal["list"] = "list"
    data: list[ListedExportView]
