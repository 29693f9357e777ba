"""Predictions in a JSON body: labels with probabilities or answers, split by split."""

from collections.abc import Sequence
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from analysis.answers.received import MAX_CLASSES, ForeignAnswers, GivenSplit, receive_answers
from heldout.stored.evaluation import SPLIT_NAMES

ClassName = Annotated[str, Field(min_length=1, max_length=256)]
# A position, counted from 0, or a name.
ClassLabel = Annotated[int, Field(ge=0, lt=MAX_CLASSES)] | ClassName
Classes = (
    Annotated[int, Field(ge=2, le=MAX_CLASSES)]
    | Annotated[list[ClassName], Field(min_length=2, max_length=MAX_CLASSES)]
)


class SplitPredictions(BaseModel):
    """A network's predictions for the labeled images of one split. All lists have the images in the same order."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    labels: list[ClassLabel] = Field(min_length=1, description="Classes as numbers from 0, or as names.")
    probabilities: list[list[float]] | None = Field(
        None,
        description="For each image, the probability of each class, after the softmax. A row with one number is the "
        "probability of the second of two classes.",
    )
    answers: list[ClassLabel] | None = Field(
        None, description="If probabilities are unknown: the predicted class of each image."
    )
    hashes: list[Annotated[str, Field(max_length=256)]] | None = Field(
        None,
        description="For each image, a text that is equal for equal pixels, such as their SHA-256. Together with the "
        "hashes of the training images, it shows which held-out images were trained on.",
    )


class ForeignPredictions(BaseModel):
    """Predictions of the same weights for the images of each split. The gap needs `train` and `test`."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    train: SplitPredictions | None = None
    validation: SplitPredictions | None = None
    test: SplitPredictions | None = None

    def answers(self, classes: int | Sequence[str] | None) -> ForeignAnswers:
        """Raises PredictionsRefused."""
        splits = {name: split for name in SPLIT_NAMES if (split := getattr(self, name)) is not None}
        return receive_answers({name: GivenSplit(**vars(split)) for name, split in splits.items()}, classes)
