"""The kept weights of a job: figures of each epoch, scores class by class, and answers to new images."""

from typing import Any, Literal

from pydantic import Field

from heldout.stored.inside import EpochInside
from heldout.stored.results import Figure, FinalView
from heldout.views.base import NumberedPage, View, dump_json
from heldout.views.dataset import ImageView


class EpochView(View):
    """One epoch. Losses are mean cross-entropy in nats, without penalties; `fit_*` is what Keras' fit reports."""

    epoch: int = Field(description="Counts from 1.")
    train_loss: Figure = Field(description="null if `evaluation.train` is `final`.")
    train_accuracy: Figure = Field(description="null if `evaluation.train` is `final`.")
    validation_loss: Figure
    validation_accuracy: Figure
    validation_objective: Figure = Field(
        None, description="The job's `objective`; absent if that is accuracy, loss or none."
    )
    fit_loss: Figure
    fit_accuracy: Figure
    learning_rate: Figure
    seconds: Figure = Field(description="Seconds of training, without evaluation.")
    evaluation_seconds: Figure
    images_per_second: Figure
    test_loss: Figure = Field(None, description="Absent unless `evaluation.test` is `every_epoch`.")
    test_accuracy: Figure = Field(None, description="Absent unless `evaluation.test` is `every_epoch`.")
    inside: EpochInside | None = Field(
        None, description="What was seen inside the network; absent after epochs without a look."
    )

    @property
    def measures_training(self) -> bool:
        """Whether training was measured after this epoch, not only validation."""
        return self.train_accuracy is not None or self.validation_accuracy is None


class MetricsView(View):
    """All epochs so far and, once the job has succeeded, the figures of the kept weights."""

    object: Literal["metrics"]
    epochs: list[EpochView]
    final: FinalView | None

    def to_pandas(self) -> Any:
        """Make a pandas data frame with a row for each epoch, indexed by its number.

        Raises:
            ImportError: if pandas is not installed.
        """
        try:
            import pandas as pd
        except ImportError:
            raise ImportError("to_pandas needs pandas: pip install pandas.") from None
        return pd.DataFrame(
            [dump_json(epoch) for epoch in self.epochs],
            columns=[name for name in EpochView.model_fields if name != "inside"],
        ).set_index("epoch")


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


class Mistake(ImageView):
    """A wrong answer: the image, its label, the answer, and its probability."""

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


class MemorizedImageView(ImageView):
    """A training image and how hard it was to learn."""

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


class HeatmapView(View):
    """A heatmap that is not computed yet. Once it is, the answer is a PNG."""

    object: Literal["heatmap"]
    job_id: str
    index: int
    status: str = Field(description="`queued` or `running`.")


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
