"""Diagnoses of trainings elsewhere that their owner keeps, each under an address of its own."""

import json
from typing import Annotated, Any

from fastapi import Depends, Path
from pydantic import ConfigDict, ValidationError, model_validator

from api.http.auth import CallerDep
from api.http.deps import ReadSessionDep, SessionDep
from api.http.parameters import AskedPage, make_page_dependency
from api.http.problems import JSON_BODY, document_errors
from api.http.routing import make_router
from heldout.errors import DiagnosisNotFound, InvalidCursor
from heldout.views.diagnosis import DiagnosisPage, DiagnosisView, KeptDiagnosisView
from models.ids import is_id
from models.store import diagnoses

router = make_router("/v1/diagnoses", "diagnoses")


async def _check_diagnosis_id(diagnosis_id: Annotated[str, Path(description="The id of one, `dgn_…`.")]) -> str:
    """Refuse anything that does not have the form of an id, without a look-up."""
    if not is_id("dgn", diagnosis_id):
        raise DiagnosisNotFound(diagnosis_id)
    return diagnosis_id


DiagnosisId = Annotated[str, Depends(_check_diagnosis_id)]


class GivenDiagnosis(DiagnosisView):
    """A diagnosis as the service answers it."""

    model_config = ConfigDict(defer_build=False, extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def refuse_other_types(cls, value: Any) -> Any:
        """Refuse values that a view would convert, such as `false` for a number, anywhere inside."""
        if not isinstance(value, dict):
            return value
        try:
            DiagnosisView.model_validate_json(json.dumps(value), strict=True)
        except ValidationError as error:
            first = error.errors()[0]
            raise ValueError(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from None
        return value


@router.post("/kept", status_code=201, responses=document_errors(*JSON_BODY), response_description="Kept.")
def keep_diagnosis(diagnosis: GivenDiagnosis, caller: CallerDep, session: SessionDep) -> KeptDiagnosisView:
    """Keep a diagnosis that this service or `heldout.keras` has made, to show it at `/diagnoses/{id}`.

    The newest 200 of each owner are kept.
    """
    return diagnoses.keep(session, caller.owner, diagnosis)


@router.get("", responses=document_errors(InvalidCursor))
def list_kept_diagnoses(
    caller: CallerDep, session: ReadSessionDep, asked: Annotated[AskedPage, make_page_dependency("dgn")]
) -> DiagnosisPage:
    """List the diagnoses that you keep, newest first."""
    ids = diagnoses.list_page(session, caller.owner, after=asked.after, limit=asked.limit)
    return asked.fill(DiagnosisPage, ids, lambda block: diagnoses.get_listed(session, block))


@router.get("/{diagnosis_id}", responses=document_errors(DiagnosisNotFound))
def get_kept_diagnosis(diagnosis_id: DiagnosisId, caller: CallerDep, session: ReadSessionDep) -> KeptDiagnosisView:
    """Get a diagnosis that was kept."""
    return diagnoses.find(session, caller.owner, diagnosis_id)


@router.delete("/{diagnosis_id}", status_code=204, responses=document_errors(DiagnosisNotFound))
def delete_kept_diagnosis(diagnosis_id: DiagnosisId, caller: CallerDep, session: SessionDep) -> None:
    """Delete a diagnosis that was kept."""
    diagnoses.remove(session, caller.owner, diagnosis_id)
