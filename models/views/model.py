"""A model's row as its view."""

from heldout.model_facts import ModelFacts
from heldout.views.model import ModelErrorView, ModelLayerView, ModelView
from models.tables_models import ModelRow


def model_view(row: ModelRow, *, with_layers: bool = True) -> ModelView:
    """The model as clients see it."""
    facts = None if row.facts is None else ModelFacts.from_columns(row.facts, row.layers if with_layers else None)
    layers = None
    if facts is not None and with_layers:
        layers = [
            ModelLayerView(name=one.name, type=one.type, weights=[list(shape) for shape in one.weights])
            for one in facts.layers
        ]
    return ModelView(
        id=row.id,
        object="model",
        name=row.name,
        status=row.status,
        format=None if facts is None else facts.format,
        input_shape=None if facts is None else list(facts.input_shape),
        output_shape=None if facts is None else list(facts.output_shape),
        gives=None if facts is None else facts.gives,
        classes=None if facts is None else facts.classes,
        parameters=None if facts is None else facts.parameters,
        trainable_parameters=None if facts is None else facts.trainable_parameters,
        layers=layers,
        made_by=None if facts is None else facts.made_by,
        size_bytes=row.size_bytes,
        sha256=row.sha256,
        error=None if row.error is None else ModelErrorView.model_validate(row.error),
        created_at=row.created_at,
    )
