"""The kept weights class by class: confusion matrices, scores, mistakes, and the hardest images to learn."""

from typing import Literal

from pydantic import Field

from heldout.stored.final import Figure
from heldout.views.base import View
from heldout.views.page import NumberedPage

# A matrix with more classes would take megabytes.
MAX_MATRIX_CLASSES = 200


class ClassScores(View):
    """Scores of one class; null if there is nothing to divide by."""

    label: str
    count: int
    precision: Figure
    recall: Figure
    f1: Figure
    gap: Figure = Field(description="Recall in training minus recall here; null for the training split.")


class Mistake(View):
    """A wrong answer: the image, its label, the answer, and its probability."""

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
        description=f"Rows are labels and columns are answers, in the order of `classes`; empty above "
        f"{MAX_MATRIX_CLASSES} classes, where `…/confusion/images` still has single cells."
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
    """The images behind one cell of a confusion matrix: one split, one label, one answer."""

    object: Literal["cell"]
    label: str
    answer: str
    count: int = Field(description="Number of all images in the cell; `images` holds the most confident ones.")
    images: list[Mistake] = Field(description="With the probability of the answer, the most confident first.")


class MemorizedImageView(View):
    """A training image and how hard it was to learn."""

    index: int = Field(description="Its position in the dataset.")
    member: str | None = Field(description="Its name in the upload; null if it has none.")
    thumbnail: str = Field(description="The route of its picture.")
    label: str
    answer: str = Field(description="The answer of the kept weights.")
    loss_sum: float = Field(description="Its cross-entropy after each epoch, summed over all epochs, in nats.")
    loss_mean: float = Field(description="The mean per epoch: `loss_sum` / `epochs`.")


class MemorizedPage(NumberedPage[MemorizedImageView]):
    """Training images, the hardest to learn first; `next` is the `after` of the next page."""

    explanation: str
    epochs: int | None = Field(
        description="Number of epochs over which losses were summed; null if none were, as with `evaluation.train: "
        "final` and in jobs of earlier releases."
    )
    count: int | None = Field(description="Total of training images, or of those of one class; null if `epochs` is.")
