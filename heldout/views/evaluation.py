"""An uploaded model, measured on a dataset."""

from typing import Literal

from pydantic import Field

from heldout.lifecycle.job import TERMINAL
from heldout.stored.measurement import Preprocessing, SplitsResult
from heldout.views.base import Time, View
from heldout.views.job import DatasetReference, JobErrorView
from heldout.views.page import Page


class ModelReference(View):
    """The model that is measured; it may be deleted by now."""

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
        description="The model on each split, with the pixels that it understands; null until it has succeeded."
    )
    preprocessing: Preprocessing | None = Field(
        description="What was done to the dataset's pixels, since the model understands no others; null where nothing."
    )
    as_given: SplitsResult | None = Field(description="Its figures without that; null where nothing was done.")
    attempt: int
    error: JobErrorView | None
    version: int
    created_at: Time
    started_at: Time | None
    finished_at: Time | None

    @property
    def has_ended(self) -> bool:
        """Whether nothing will change any more."""
        return self.status in TERMINAL


class EvaluationPage(Page[EvaluationView]):
    """Part of the caller's evaluations, newest first; `next` is the `after` of the following part."""
