"""What follows the end of a check of a model that has found no facts."""

from typing import Any

from sqlalchemy import update
from sqlalchemy.orm import Session

from heldout.model_lifecycle import ModelRejectionCode, ModelStatus
from models.store import events
from models.tables_models import ModelRow


def reject_checked(session: Session, model_id: str, error: dict[str, Any] | None) -> None:
    """Reject a model whose check ended without facts; nothing if it is not `checking` any more."""
    why = error or {"code": ModelRejectionCode.CANCELLED.value, "detail": "The check was cancelled."}
    said = {"code": why["code"], "detail": why["detail"]}
    rejected = session.scalar(
        update(ModelRow)
        .where(ModelRow.id == model_id, ModelRow.status == ModelStatus.CHECKING)
        .values(status=ModelStatus.REJECTED, error=said)
        .returning(ModelRow.id)
        .execution_options(synchronize_session=False)
    )
    if rejected is not None:
        events.add(session, model_id, "model.rejected", said["detail"], level="error", data={"error": said})
