"""A study's ensemble as one model, in several formats."""

from typing import Annotated

from fastapi import Depends, Response
from starlette.responses import StreamingResponse

from api.http.auth import CallerDep
from api.http.deps import AppContextDep, StudyId
from api.http.routing import make_router
from api.routes import model_files
from api.routes.model_files import Asked, Format, Wait
from heldout.errors import EnsembleNotReady, NoEnsemble, StudyNotFound
from heldout.lifecycle.resources import StudyStatus
from heldout.stored.artifacts import ExportFormat
from models.database import Session
from models.ordered_exports import ModelSource
from models.store import studies
from models.store.keys import Caller
from models.tables import JobRow

router = make_router("/v1/studies/{study_id}", "studies")

_NO_MODEL = (StudyNotFound, EnsembleNotReady, NoEnsemble)


async def _get_asked(study_id: StudyId, caller: CallerDep) -> Asked:
    return Asked(study_id, caller, lambda session: _get_ensemble_source(session, caller, study_id))


@router.get("/model", response_class=StreamingResponse, responses=model_files.describe_model_responses(*_NO_MODEL))
async def get_ensemble(
    asked: Annotated[Asked, Depends(_get_asked)],
    app: AppContextDep,
    format_: Format = ExportFormat.KERAS,
    wait: Wait = 0,
) -> Response:
    """Download the winner's networks of all seeds as one model, which returns the mean of their probabilities.

    The first request for a format orders its export. A worker writes the file, loads it in its own runtime, and
    compares its predictions with the mean of the jobs' predictions. Only a file that passes is served.
    """
    return await model_files.send_proven_file(asked, app, format_, wait_s=wait)


model_files.add_routes(
    router,
    _get_asked,
    _NO_MODEL,
    noun="ensemble",
    about_report="Get the report that compares the ensemble's predictions with those of its members. The first request "
    "for a format orders its export.",
)


def _get_ensemble_source(session: Session, caller: Caller, study_id: str) -> ModelSource:
    """Find the job that measured the study's ensemble. Raises StudyNotFound, EnsembleNotReady, NoEnsemble."""
    study, dataset = studies.find(session, caller.owner, study_id)
    job = None if study.evaluation is None else session.get(JobRow, study.evaluation)
    if job is not None and dataset is not None and study.found.get("ensemble") is not None:
        return ModelSource(study_id, study.name, job, dataset)
    raise EnsembleNotReady(study_id) if study.status is StudyStatus.RUNNING else NoEnsemble(study_id, study.status)
