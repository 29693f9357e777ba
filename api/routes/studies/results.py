"""Results of a study: its report as JSON, Markdown or a self-contained HTML page, and its ensemble as one model."""

from typing import Annotated

from fastapi import Depends, Response
from starlette.responses import StreamingResponse

from analysis.reports.contents import build_document
from api.http.auth import CallerContext
from api.http.deps import ReadContext, StudyId
from api.http.forms import FORMS, IN_BLOCKS, answer_in_form, choose_preferred
from api.http.problems import EXPORT_PROBLEMS, raises
from api.http.routing import make_router
from api.live.streams import Accept
from api.routes import model_files
from api.routes.model_files import Asked, Format, Wait
from heldout.documents.blocks import Document
from heldout.documents.mistakes import build_mistakes
from heldout.errors import EnsembleNotReady, NoEnsemble, SpecUnreadable
from heldout.lifecycle.resources import StudyStatus
from heldout.stored.artifacts import ExportFormat
from heldout.views.study_report import HTML, StudyReportView
from models.database import Session
from models.dataset_map import find_maps
from models.model_exports import ModelSource
from models.store import studies
from models.study_report import build_study_report
from models.tables import JobRow
from models.views.study import build_study_view

router = make_router("/v1/studies/{study_id}", "studies")


@router.get("/report", response_model=StudyReportView, responses=IN_BLOCKS)
@raises(SpecUnreadable)
def get_study_report(
    study_id: StudyId,
    context: ReadContext,
    response: Response,
    accept: Accept = "",
) -> Response | StudyReportView:
    """Get a study's report in plain words: what helped, by how much, how sure that is, and what to do."""
    row, dataset = studies.find(context.session, context.owner, study_id)
    report = build_study_report(context.session, context.blobs, row, build_study_view(row, dataset))

    def lay_out() -> Document:
        document = build_document(report)
        # A map is drawn on pages only. In text it would be a heading without a picture.
        maps = find_maps(context.session, context.blobs, context.owner, report.study) if is_page else {}
        return Document(document.title, [*document.blocks, *build_mistakes(maps)])

    is_page = choose_preferred(accept, FORMS) == HTML
    return answer_in_form(accept, response, report, lay_out)


@raises(EnsembleNotReady, NoEnsemble)
async def _get_asked(study_id: StudyId, context: CallerContext) -> Asked:
    return Asked(study_id, context, lambda session: _get_ensemble_source(session, context.owner, study_id))


@router.get("/model", response_class=StreamingResponse, responses=model_files.MODEL)
@raises(*EXPORT_PROBLEMS)
async def get_ensemble(
    asked: Annotated[Asked, Depends(_get_asked)],
    format_: Format = ExportFormat.KERAS,
    wait: Wait = 0,
) -> Response:
    """Download the winner's networks of all seeds as one model, which returns the mean of their probabilities.

    The first request for a format orders its export. A worker writes the file, loads it in its own runtime, and
    compares its predictions with the mean of the jobs' predictions. Only a file that passes is served.
    """
    return await model_files.send_proven_file(asked, format_, wait_s=wait)


model_files.add_routes(
    router,
    _get_asked,
    noun="ensemble",
    about_report="Get the report that compares the ensemble's predictions with those of its members. The first request "
    "for a format orders its export.",
)


def _get_ensemble_source(session: Session, owner: str, study_id: str) -> ModelSource:
    """Find the job that measured the study's ensemble. Raises StudyNotFound, EnsembleNotReady, NoEnsemble."""
    study, dataset = studies.find(session, owner, study_id)
    job = None if study.evaluation is None else session.get(JobRow, study.evaluation)
    if job is not None and dataset is not None and study.found.get("ensemble") is not None:
        return ModelSource(study_id, study.name, job, dataset)
    raise EnsembleNotReady(study_id) if study.status is StudyStatus.RUNNING else NoEnsemble(study_id, study.status)
