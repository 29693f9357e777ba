"""A job's epochs and result as the view of its metrics."""

from collections.abc import Sequence

from heldout.stored.final import FinalView
from heldout.views.metrics import EpochView, MetricsView
from models.tables import EpochRow


def metrics_view(epochs: Sequence[EpochRow], final: FinalView | None, *, with_test: bool) -> MetricsView:
    """The figures as clients see them; those of the test split only where they were asked for after each epoch."""
    return MetricsView(
        object="metrics",
        epochs=[_epoch_view(row, with_test) for row in epochs],
        final=final,
    )


def _epoch_view(row: EpochRow, with_test: bool) -> EpochView:
    names = [name for name in EpochView.model_fields if with_test or not name.startswith("test_")]
    return EpochView(**{name: getattr(row, name) for name in names})
