"""The kept weights class by class: confusion matrices, scores and mistakes, and what was hardest to learn."""

from typing import Literal

from pydantic import Field

from heldout.stored.final import Figure
from heldout.views.base import View
from heldout.views.page import NumberedPage

# A matrix of more classes would take megabytes.
MAX_MATRIX_CLASSES = 200


class ClassScores(View):
    """Of one class; null where there is nothing to divide by."""

    label: str
    count: int
    precision: Figure
    recall: Figure
    f1: Figure
    gap: Figure = Field(description="Recall in training less recall here; null for the training split.")


class Mistake(View):
    """A wrong answer: the image, its label, what was answered, and how surely."""

    index: int = Field(description="The image's position in the dataset.")
    member: str | None = Field(
        description="Its name in the upload; null in bundled datasets, and in results of earlier releases."
    )
    thumbnail: str = Field(description="The route of its picture.")
    label: str
    answer: str
    probability: float


class SplitScores(View):
    """The kept weights on one split, class by class."""

    confusion: list[list[int]] = Field(
        description=f"Rows are labels, columns answers, in the order of `classes`; empty above {MAX_MATRIX_CLASSES} "
        "classes, where `…/confusion/images` still has the cells one by one."
    )
    per_class: list[ClassScores]
    calibration_error: Figure = Field(description="Expected calibration error over 15 bins.")
    mistakes: list[Mistake] = Field(description="The most confident first.")


class ConfusionView(View):
    """The kept weights, class by class, on each split."""

    object: Literal["confusion"]
    classes: list[str]
    splits: dict[Literal["train", "validation", "test"], SplitScores]


class CellView(View):
    """Images of one split with one label that got one answer: what is behind a cell of a confusion matrix."""

    object: Literal["cell"]
    label: str
    answer: str
    count: int = Field(description="All of them; `images` holds the surest.")
    images: list[Mistake] = Field(description="With the probability of the answer, the surest first.")


class MemorizedImageView(View):
    """A training image and how hard it was to learn."""

    index: int = Field(description="Its position in the dataset.")
    member: str | None = Field(description="Its name in the upload; null where it has none.")
    thumbnail: str = Field(description="The route of its picture.")
    label: str
    answer: str = Field(description="What the kept weights answer.")
    loss_sum: float = Field(description="Its cross-entropy after each epoch, summed over all epochs, in nats.")
    loss_mean: float = Field(description="The same for each epoch: `loss_sum` / `epochs`.")


class MemorizedPage(NumberedPage[MemorizedImageView]):
    """Training images, the hardest to learn first; `next` is the `after` of the following part."""

    explanation: str
    epochs: int | None = Field(
        description="Over how many epochs losses were summed; null where none were, as with `evaluation.train: final` "
        "and in jobs of earlier releases."
    )
    count: int | None = Field(description="Training images, or those of one class, in all; null where `epochs` is.")
