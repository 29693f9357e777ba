"""`metrics.final`: the results of the kept weights, built by the worker, stored in the job's row, served by the API."""

import math
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from heldout.stored.file import StoredPart


def _drop_not_finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


# A figure that is not finite is null: JSON has no NaN.
Figure = Annotated[float | None, BeforeValidator(_drop_not_finite)]


class SplitResult(StoredPart):
    """The kept weights on one split."""

    loss: Figure
    accuracy: float
    count: int
    interval: tuple[float, float] = Field(description="95% Wilson interval of the accuracy, as fractions.")


class GapView(StoredPart):
    """The gap between training and held-out figures; positive if held-out is worse."""

    accuracy: Figure
    loss: Figure


class GapsView(StoredPart):
    """The gap to each held-out split; null if not measured."""

    validation: GapView | None
    test: GapView | None


class FinalView(StoredPart):
    """Results of the kept weights: those of the best epoch with `restore_best`, otherwise of the last epoch.

    validation: null if the job trained on the validation images. test: null if it was not measured.
    """

    epoch: int
    train: SplitResult
    validation: SplitResult | None
    test: SplitResult | None
    gap: GapsView
