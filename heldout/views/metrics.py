"""The figures of a job: epoch by epoch, and for the kept weights (heldout/stored/final.py)."""

from typing import Any, Literal

from pydantic import Field

from heldout.stored.final import Figure, FinalView
from heldout.views.base import View, dump_json


class EpochView(View):
    """One epoch. Losses are mean cross-entropy in nats, without penalties; `fit_*` is what Keras' fit reports."""

    epoch: int = Field(description="Counts from 1.")
    train_loss: Figure = Field(description="null if `evaluation.train` is `final`.")
    train_accuracy: Figure = Field(description="null if `evaluation.train` is `final`.")
    validation_loss: Figure
    validation_accuracy: Figure
    fit_loss: Figure
    fit_accuracy: Figure
    learning_rate: Figure
    seconds: Figure = Field(description="Seconds of training, without evaluation.")
    evaluation_seconds: Figure
    images_per_second: Figure
    test_loss: Figure = Field(None, description="Absent unless `evaluation.test` is `every_epoch`.")
    test_accuracy: Figure = Field(None, description="Absent unless `evaluation.test` is `every_epoch`.")

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
            [dump_json(epoch) for epoch in self.epochs], columns=list(EpochView.model_fields)
        ).set_index("epoch")
