"""`metrics.final`: how the kept weights did. The worker builds it, a job's result keeps it, the API answers it."""

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
    """Training against held-out figures; positive where held-out is worse."""

    accuracy: Figure
    loss: Figure


class GapsView(StoredPart):
    """The gap to each held-out split; null where that was not measured."""

    validation: GapView | None
    test: GapView | None


class FinalView(StoredPart):
    """The kept weights: of the best epoch with `restore_best`, else of the last one.

    validation: null where the job trained on the validation images; test: where it was not measured.
    """

    epoch: int
    train: SplitResult
    validation: SplitResult | None
    test: SplitResult | None
    gap: GapsView
