"""The ensemble of a study as one model, for several runtimes."""

from typing import Annotated

from fastapi import Depends, Response
from starlette.responses import StreamingResponse

from api.http.auth import CallerDep
from api.http.deps import AppContextDep, StudyId
from api.http.routing import make_router
from api.routes import model_files
from api.routes.model_files import Asked, Format, Wait
from heldout.errors import EnsembleNotReady, NoEnsemble, StudyNotFound
from heldout.lifecycle.study import StudyStatus
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
    """The winner's networks, of all seeds, as one model that gives the mean of their probabilities.

    The first request for a format orders it. A worker writes the file, loads it again in its own runtime, and compares
    its answers with the mean of the predictions of these jobs; only a file that passes is handed out.
    """
    return await model_files.send_proven_file(asked, app, format_, wait_s=wait)


model_files.add_routes(
    router,
    _get_asked,
    _NO_MODEL,
    noun="ensemble",
    about_report="How the ensemble's file answered the study's own images; the first request for a format orders its "
    "export.",
)


def _get_ensemble_source(session: Session, caller: Caller, study_id: str) -> ModelSource:
    """The job that has measured the study's ensemble. Raises StudyNotFound, EnsembleNotReady, NoEnsemble."""
    study, dataset = studies.find(session, caller.owner, study_id)
    job = None if study.evaluation is None else session.get(JobRow, study.evaluation)
    if job is not None and study.found.get("ensemble") is not None:
        return ModelSource(study_id, study.name, job, dataset)
    raise EnsembleNotReady(study_id) if study.status is StudyStatus.RUNNING else NoEnsemble(study_id, study.status)
