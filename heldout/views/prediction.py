"""What a job's model answers to images."""

from typing import Literal

from pydantic import Field

from heldout.views.base import View


class ScoredClassView(View):
    """A class and the probability that the model gives it."""

    label: str
    index: int = Field(description="The class' position in the dataset's `classes`, from 0.")
    probability: float


class PredictionView(View):
    """The model's answer to one image."""

    name: str | None = Field(description="Its file name, if it has one.")
    answer: str = Field(description="The most probable class, or `uncertain` if its probability is below `threshold`.")
    uncertain: bool
    probability: float = Field(description="Probability of the most probable class.")
    top: list[ScoredClassView] = Field(description="The `top_k` most probable classes, the most probable first.")


class PredictionsView(View):
    """The model's answers to the images of a request, in the same order."""

    object: Literal["predictions"] = "predictions"
    job_id: str
    weights_sha256: str = Field(
        description="Digest of the weights that answered; all files of the model have the same."
    )
    temperature: float | None = Field(
        description="The number by which the logits were divided, fitted on validation; null without `calibrated`."
    )
    threshold: float | None
    predictions: list[PredictionView]
