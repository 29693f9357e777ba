"""What a job's model says of images."""

from typing import Literal

from pydantic import Field

from heldout.views.base import View


class ScoredClassView(View):
    """A class, and how probable the model finds it."""

    label: str
    index: int = Field(description="The class' position in the dataset's `classes`, from 0.")
    probability: float


class PredictionView(View):
    """What the model says of one image."""

    name: str | None = Field(description="The name of its file, where it came with one.")
    answer: str = Field(description="The most probable class, or `uncertain` where that is below `threshold`.")
    uncertain: bool
    probability: float = Field(description="Of the most probable class.")
    top: list[ScoredClassView] = Field(description="The `top_k` most probable classes, the surest first.")


class PredictionsView(View):
    """What the model says of each image of a request, in its order."""

    object: Literal["predictions"] = "predictions"
    job_id: str
    weights_sha256: str = Field(description="Of the weights that answered; every file of the model says the same.")
    temperature: float | None = Field(
        description="What the logits were divided by, as fitted on validation; null without `calibrated`."
    )
    threshold: float | None
    predictions: list[PredictionView]
