"""The report of a study: as JSON, as Markdown, or as a page to keep, to print and to send."""

from typing import Any

from fastapi import Response

from analysis.reports.contents import document_of
from analysis.reports.markdown import as_markdown
from analysis.reports.page import POLICY, as_page
from api.http.accept import preferred
from api.http.auth import CallerDep
from api.http.deps import AppContextDep, ReadSessionDep, StudyId
from api.http.problems import problems
from api.http.routing import resource
from api.live.parameters import Accept
from heldout.errors import SpecUnreadable, StudyNotFound
from heldout.views.study_report import HTML, MARKDOWN, StudyReportView
from models.store import studies
from models.study_report import study_report
from models.views.study import study_view

router = resource("/v1/studies", "studies")

_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "JSON, or what `Accept` names: `text/markdown`, or `text/html` for one page that needs nothing "
        "else.",
        "content": {MARKDOWN: {"schema": {"type": "string"}}, HTML: {"schema": {"type": "string"}}},
    },
    **problems(StudyNotFound, SpecUnreadable),
}


@router.get("/{study_id}/report", response_model=StudyReportView, responses=_RESPONSES)
def get_study_report(
    study_id: StudyId,
    caller: CallerDep,
    session: ReadSessionDep,
    app: AppContextDep,
    response: Response,
    accept: Accept = "",
) -> Response | StudyReportView:
    """A study in plain words: what helped, by how much, whether that is sure, what to do; while it runs too."""
    row, dataset = studies.find(session, caller.owner, study_id)
    report = study_report(session, app.blobs, row, study_view(row, dataset))
    wanted = preferred(accept, ("application/json", MARKDOWN, HTML))
    if wanted == MARKDOWN:
        return Response(as_markdown(document_of(report)), media_type=MARKDOWN, headers=_VARY)
    if wanted == HTML:
        headers = {**_VARY, "Content-Security-Policy": POLICY, "X-Content-Type-Options": "nosniff"}
        return Response(as_page(document_of(report)), media_type=HTML, headers=headers)
    response.headers.update(_VARY)
    return report


_VARY = {"Vary": "Accept"}
