"""Diagnoses that owners keep: stored, found, listed and deleted. Only the newest of each owner stay."""

from collections.abc import Sequence

from sqlalchemy import delete, insert, select
from sqlalchemy.orm import Session

from heldout.errors import DiagnosisNotFound
from heldout.views.base import dump_json
from heldout.views.diagnosis import DiagnosisView, KeptDiagnosisView
from models.database import db_now
from models.ids import make_id
from models.store.statements import find_one, select_page
from models.tables import DiagnosisRow

MAX_KEPT = 200


def keep(session: Session, owner: str, diagnosis: DiagnosisView) -> KeptDiagnosisView:
    """Store a diagnosis, and drop the owner's oldest ones beyond the limit."""
    values = {"id": make_id("dgn"), "owner": owner, "diagnosis": dump_json(diagnosis), "created_at": db_now()}
    row = session.scalars(insert(DiagnosisRow).values(values).returning(DiagnosisRow)).one()
    newest = select(DiagnosisRow.id).where(DiagnosisRow.owner == owner).order_by(DiagnosisRow.id.desc()).limit(MAX_KEPT)
    session.execute(delete(DiagnosisRow).where(DiagnosisRow.owner == owner, DiagnosisRow.id.not_in(newest)))
    return _build_view(row)


def find(session: Session, owner: str, diagnosis_id: str) -> KeptDiagnosisView:
    """Return the owner's diagnosis. Raises DiagnosisNotFound."""
    query = select(DiagnosisRow).where(DiagnosisRow.id == diagnosis_id, DiagnosisRow.owner == owner)
    return _build_view(find_one(session, query, DiagnosisNotFound(diagnosis_id)))


def list_page(session: Session, owner: str, *, after: str | None, limit: int) -> Sequence[str]:
    """List the ids of the owner's diagnoses after the id `after`, newest first: `limit`, plus one if there are more."""
    query = select(DiagnosisRow.id).where(DiagnosisRow.owner == owner)
    return session.scalars(select_page(query, DiagnosisRow.id, after, limit)).all()


def get_listed(session: Session, ids: Sequence[str]) -> list[KeptDiagnosisView]:
    """Get the diagnoses with these ids, newest first."""
    rows = session.scalars(select(DiagnosisRow).where(DiagnosisRow.id.in_(ids)).order_by(DiagnosisRow.id.desc()))
    return [_build_view(row) for row in rows]


def remove(session: Session, owner: str, diagnosis_id: str) -> None:
    """Delete the owner's diagnosis. Raises DiagnosisNotFound."""
    find(session, owner, diagnosis_id)
    session.execute(delete(DiagnosisRow).where(DiagnosisRow.id == diagnosis_id))


def _build_view(row: DiagnosisRow) -> KeptDiagnosisView:
    return KeptDiagnosisView.model_validate({**row.diagnosis, "id": row.id, "created_at": row.created_at})
