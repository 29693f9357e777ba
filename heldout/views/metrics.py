"""The figures of a job: epoch by epoch, and of the weights that are kept."""

from typing import Literal

from pydantic import Field

from heldout.views.base import Figure, View


class EpochView(View):
    """One epoch. Losses are mean cross-entropy in nats, without penalties; `fit_*` is what Keras' fit reports."""

    epoch: int = Field(description="Counts from 1.")
    train_loss: Figure
    train_accuracy: Figure
    validation_loss: Figure
    validation_accuracy: Figure
    fit_loss: Figure
    fit_accuracy: Figure
    learning_rate: Figure
    seconds: Figure = Field(description="Of training alone.")
    evaluation_seconds: Figure
    images_per_second: Figure
    test_loss: Figure = Field(None, description="Absent unless `evaluation.test` is `every_epoch`.")
    test_accuracy: Figure = Field(None, description="Absent unless `evaluation.test` is `every_epoch`.")


class SplitResult(View):
    """The kept weights on one split."""

    loss: Figure
    accuracy: float
    count: int
    interval: tuple[float, float] = Field(description="95 % Wilson interval of the accuracy, as fractions.")


class GapView(View):
    """Training against held-out figures; positive where held-out is worse."""

    accuracy: Figure
    loss: Figure


class GapsView(View):
    """The gap to each held-out split; `test` is null where the test split was not measured."""

    validation: GapView
    test: GapView | None


class FinalView(View):
    """The kept weights: of the best epoch with `restore_best`, else of the last one."""

    epoch: int
    train: SplitResult
    validation: SplitResult
    test: SplitResult | None
    gap: GapsView


class MetricsView(View):
    """All epochs so far, and once it has succeeded the figures of the kept weights."""

    object: Literal["metrics"]
    epochs: list[EpochView]
    final: FinalView | None
