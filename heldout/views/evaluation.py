"""Evaluations: uploaded models measured on datasets."""

from typing import Literal

from pydantic import Field

from heldout.lifecycle.job import TERMINAL
from heldout.stored.measurement import Preprocessing, SplitsResult
from heldout.views.base import Time, View
from heldout.views.job import DatasetReference, JobErrorView
from heldout.views.page import Page


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
    error: JobErrorView | None
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
