"""Builds the views of uploaded models and their evaluations."""

from heldout.lifecycle.job import get_shown_status
from heldout.spec.model_facts import ModelFacts
from heldout.stored.results import Measurement
from heldout.views.base import make_view
from heldout.views.model import EvaluationView, ModelView
from heldout.words.data_and_models import describe_evaluation
from models.tables import DatasetRow, JobRow
from models.tables_models import ModelRow
from models.views.job import build_dataset_reference


def build_evaluation_view(row: JobRow, dataset: DatasetRow, measured: Measurement | None) -> EvaluationView:
    headline, summary = describe_evaluation(row.status, measured)
    return make_view(
        EvaluationView,
        row,
        object="evaluation",
        status=get_shown_status(row.status, row.request),
        model={"id": row.spec["model"], "name": row.spec["model_name"]},
        dataset=build_dataset_reference(dataset),
        headline=headline,
        summary=summary,
        metrics=None if measured is None else measured.metrics,
        preprocessing=None if measured is None else measured.preprocessing,
        as_given=None if measured is None else measured.as_given,
        error=row.error or None,
    )


# Facts from the model's file, which are null until it was read.
_OF_FILE = {*ModelFacts.model_fields, "gives", "classes"} & ModelView.model_fields.keys()


def build_model_view(row: ModelRow, *, with_layers: bool = True) -> ModelView:
    facts = None if row.facts is None else ModelFacts.from_columns(row.facts, row.layers if with_layers else None)
    of_file = {name: getattr(facts, name, None) for name in _OF_FILE}
    if not with_layers:
        of_file["layers"] = None
    return make_view(ModelView, row, object="model", shared=row.owner is None, **of_file)
