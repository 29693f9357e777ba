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
    """What a network says of the labelled images of one split, each in the same place of every list."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    labels: list[ClassLabel] = Field(min_length=1, description="Classes as numbers from 0, or as names.")
    probabilities: list[list[float]] | None = Field(
        None,
        description="For each image the probability of each class, after the softmax. A row of one number is the "
        "probability of the second of two classes.",
    )
    answers: list[ClassLabel] | None = Field(
        None, description="Where probabilities are not known: the class that the network names."
    )
    hashes: list[Annotated[str, Field(max_length=256)]] | None = Field(
        None,
        description="A text for each image that is the same for the same pixels, such as a SHA-256 of them. With those "
        "of the training images it is known which held-out images were trained on.",
    )


class ForeignPredictions(BaseModel):
    """Answers of the same weights to the images of each split; the gap needs `train` and `test`."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    train: SplitPredictions | None = None
    validation: SplitPredictions | None = None
    test: SplitPredictions | None = None

    def answers(self, classes: int | Sequence[str] | None) -> ForeignAnswers:
        """Raises PredictionsRefused."""
        splits = {name: split for name in SPLIT_NAMES if (split := getattr(self, name)) is not None}
        return receive_answers({name: GivenSplit(**vars(split)) for name, split in splits.items()}, classes)
