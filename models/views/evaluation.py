"""Rows of uploaded models and of their evaluations as views."""

from heldout.lifecycle.job import shown_status
from heldout.spec.model_facts import ModelFacts
from heldout.stored.measurement import Measurement
from heldout.views.base import view_of
from heldout.views.evaluation import EvaluationView
from heldout.views.model import ModelView
from heldout.words.data_and_models import describe_evaluation
from models.tables import DatasetRow, JobRow
from models.tables_models import ModelRow
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


# What the file says: null until it was read.
_OF_FILE = {*ModelFacts.model_fields, "gives", "classes"} & ModelView.model_fields.keys()


def model_view(row: ModelRow, *, with_layers: bool = True) -> ModelView:
    """The model as clients see it."""
    facts = None if row.facts is None else ModelFacts.from_columns(row.facts, row.layers if with_layers else None)
    of_file = {name: getattr(facts, name, None) for name in _OF_FILE}
    if not with_layers:
        of_file["layers"] = None
    return view_of(ModelView, row, object="model", **of_file)
