"""An evaluation of an uploaded model as its view."""

from heldout.lifecycle.job import shown_status
from heldout.stored.measurement import Measurement
from heldout.views.base import view_of
from heldout.views.evaluation import EvaluationView
from heldout.words.evaluations import describe_evaluation
from models.tables import DatasetRow, JobRow
from models.views.job import dataset_reference


def evaluation_view(row: JobRow, dataset: DatasetRow, measured: Measurement | None) -> EvaluationView:
    """The evaluation as clients see it."""
    headline, summary = describe_evaluation(row.status, measured)
    return view_of(
        EvaluationView,
        row,
        object="evaluation",
        status=shown_status(row.status, row.request),
        model={"id": row.spec["model"], "name": row.spec["model_name"]},
        dataset=dataset_reference(dataset),
        headline=headline,
        summary=summary,
        metrics=None if measured is None else measured.metrics,
        preprocessing=None if measured is None else measured.preprocessing,
        as_given=None if measured is None else measured.as_given,
        error=row.error or None,
    )
