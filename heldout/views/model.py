"""Models: uploaded ones with their evaluations, and exports of a job's model."""

from typing import Literal

from pydantic import Field

from heldout.lifecycle.job import TERMINAL
from heldout.lifecycle.resources import ModelFormat, ModelStatus
from heldout.stored.artifacts import ExportFormat, ExportStatus
from heldout.stored.evaluation import SplitName
from heldout.stored.results import ModelAbout, Preprocessing, SplitsResult
from heldout.views.base import ErrorView, Page, Time, View
from heldout.views.job import DatasetReference
from heldout.views.note import NoteView


class ModelLayerView(View):
    """A layer with weights, and the shapes of these weights in order."""

    name: str
    type: str
    weights: list[list[int]]


class ModelView(View):
    """An uploaded model. What its file says is null until it is ready."""

    id: str
    object: Literal["model"]
    name: str
    status: ModelStatus
    format: ModelFormat | None
    input_shape: list[int | None] | None = Field(
        description="Height, width and channels, whatever order the model itself uses; null means any size."
    )
    output_shape: list[int | None] | None = Field(description="Without the batch axis.")
    gives: Literal["answers", "feature_map"] | None = Field(
        description="`answers`: one figure per class, so the model can be evaluated."
    )
    classes: int | None = Field(description="Number of classes; null for a feature map.")
    parameters: int | None
    trainable_parameters: int | None = Field(description="Null for ONNX, which does not say.")
    weights: bool | None = Field(description="False for an architecture alone, which can be trained but not evaluated.")
    layers: list[ModelLayerView] | None = Field(
        description="Layers with weights; only the first ones if all take more than 128 KiB. Null in lists."
    )
    notes: list[NoteView] | None = Field(
        description="What looks wrong in its layers, whatever the dataset; null in lists, for ONNX files, and for a "
        "model that an earlier release has read."
    )
    shared: bool = Field(description="Whether the operator shares it with all owners. It can be used, but not deleted.")
    license: str | None = Field(description="The license of a shared model.")
    source: str | None = Field(description="Where a shared model is from.")
    made_by: str | None = Field(description="The program that wrote the file.")
    size_bytes: int
    sha256: str
    error: ErrorView | None
    created_at: Time

    @property
    def has_ended(self) -> bool:
        """Whether the check has ended and the model no longer changes."""
        return self.status is not ModelStatus.CHECKING

    def _repr_html_(self) -> str:
        from heldout.documents.html import render_notebook
        from heldout.documents.model import build_model

        return render_notebook(build_model(self))


class ModelPage(Page[ModelView]):
    """A page of the caller's and of shared models, newest first; `next` is the `after` of the next page."""


class ModelReference(View):
    """The model that is measured; it may have been deleted since."""

    id: str
    name: str


class EvaluationView(View):
    """An evaluation. `version` grows with every change of this body and is its ETag."""

    id: str
    object: Literal["evaluation"]
    status: Literal["queued", "running", "cancelling", "succeeded", "failed", "cancelled"]
    model: ModelReference
    dataset: DatasetReference
    headline: str = Field("", description="How often the model is right, in at most 12 words.")
    summary: str = Field("", description="The other splits and what to do next, in at most two sentences and 40 words.")
    metrics: SplitsResult | None = Field(
        description="The model's results on each split, with the pixel values it expects; null until it has succeeded."
    )
    preprocessing: Preprocessing | None = Field(
        description="The change to the dataset's pixels that the model needs; null if it needs none."
    )
    as_given: SplitsResult | None = Field(description="The results without that change; null if there was none.")
    attempt: int
    error: ErrorView | None
    version: int
    created_at: Time
    started_at: Time | None
    finished_at: Time | None

    @property
    def has_ended(self) -> bool:
        """Whether the evaluation has ended and no longer changes."""
        return self.status in TERMINAL


class EvaluationPage(Page[EvaluationView]):
    """A page of the caller's evaluations, newest first; `next` is the `after` of the next page."""


class ExportView(View):
    """A model in one format, and the state of its export."""

    object: Literal["export"] = "export"
    job_id: str = Field(description="The training, or the study whose ensemble it is.")
    format: ExportFormat
    status: ExportStatus


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
    error: ErrorView | None = Field(description="Why there is no verified file.")
    report: ExportReportView | None = Field(description="The report of its check, if stored.")


class ExportList(View):
    """A job's model in every format."""

    object: Literal["list"] = "list"
    data: list[ListedExportView]
