"""A model's row as its view."""

from heldout.spec.model_facts import ModelFacts
from heldout.views.base import view_of
from heldout.views.model import ModelView
from models.tables_models import ModelRow

# What the file says: null until it was read.
_OF_FILE = {*ModelFacts.model_fields, "gives", "classes"} & ModelView.model_fields.keys()


def model_view(row: ModelRow, *, with_layers: bool = True) -> ModelView:
    """The model as clients see it."""
    facts = None if row.facts is None else ModelFacts.from_columns(row.facts, row.layers if with_layers else None)
    of_file = {name: getattr(facts, name, None) for name in _OF_FILE}
    if not with_layers:
        of_file["layers"] = None
    return view_of(ModelView, row, object="model", **of_file)
