"""An evaluation of an uploaded model as its view."""

from typing import Any, cast

from heldout.headlines.evaluations import describe_evaluation
from heldout.lifecycle import shown_status
from heldout.stored.measurement import Measurement
from heldout.views.evaluation import EvaluationView, ModelReference
from heldout.views.job import JobErrorView
from models.tables import DatasetRow, JobRow
from models.views.job import dataset_reference


def evaluation_view(row: JobRow, dataset: DatasetRow, measured: Measurement | None) -> EvaluationView:
    """The evaluation as clients see it."""
    headline, summary = describe_evaluation(row.status, measured)
    return EvaluationView(
        id=row.id,
        object="evaluation",
        status=cast(Any, shown_status(row.status, row.request)),
        model=ModelReference(id=row.spec["model"], name=row.spec["model_name"]),
        dataset=dataset_reference(dataset),
        headline=headline,
        summary=summary,
        metrics=None if measured is None else measured.metrics,
        preprocessing=None if measured is None else measured.preprocessing,
        as_given=None if measured is None else measured.as_given,
        attempt=row.attempt,
        error=JobErrorView.model_validate(row.error) if row.error else None,
        version=row.version,
        created_at=row.created_at,
        started_at=row.started_at,
        finished_at=row.finished_at,
    )
