"""Uploaded models that a request names."""

from heldout.errors import ModelNotFound, ModelUnavailable, SpecModelNotFound
from heldout.spec.model_facts import ModelFacts
from models.database import Session
from models.store import models
from models.tables_models import ModelRow


def usable_model(session: Session, owner: str, model_id: str, pointer: str = "/model") -> tuple[ModelRow, ModelFacts]:
    """The owner's model, and what its file says.

    Args:
        pointer: where the request names it.
    Raises:
        SpecModelNotFound, ModelUnavailable.
    """
    try:
        row = models.find(session, owner, model_id)
    except ModelNotFound:
        raise SpecModelNotFound(model_id, pointer) from None
    facts = models.facts_of(row)
    if facts is None:
        raise ModelUnavailable(model_id, row.status.value, pointer)
    return row, facts
