"""The report of a study: as JSON, as Markdown, or as a page to keep, to print and to send."""

from collections.abc import Sequence
from typing import Any

from fastapi import Response

from analysis.reports.contents import build_document
from analysis.reports.markdown import render_markdown
from analysis.reports.page import POLICY, render_page
from api.http.auth import CallerDep
from api.http.deps import AppContextDep, ReadSessionDep, StudyId
from api.http.problems import document_errors
from api.http.routing import make_router
from api.live.parameters import Accept
from heldout.errors import SpecUnreadable, StudyNotFound
from heldout.views.study_report import HTML, MARKDOWN, StudyReportView
from models.store import studies
from models.study_report import build_study_report
from models.views.study import build_study_view

router = make_router("/v1/studies", "studies")

_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "JSON, or what `Accept` names: `text/markdown`, or `text/html` for one page that needs nothing "
        "else.",
        "content": {MARKDOWN: {"schema": {"type": "string"}}, HTML: {"schema": {"type": "string"}}},
    },
    **document_errors(StudyNotFound, SpecUnreadable),
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
    report = build_study_report(session, app.blobs, row, build_study_view(row, dataset))
    wanted = choose_preferred(accept, ("application/json", MARKDOWN, HTML))
    if wanted == MARKDOWN:
        return Response(render_markdown(build_document(report)), media_type=MARKDOWN, headers=_VARY)
    if wanted == HTML:
        headers = {**_VARY, "Content-Security-Policy": POLICY, "X-Content-Type-Options": "nosniff"}
        return Response(render_page(build_document(report)), media_type=HTML, headers=headers)
    response.headers.update(_VARY)
    return report


_VARY = {"Vary": "Accept"}


def choose_preferred(accept: str, offered: Sequence[str]) -> str:
    """One of the offered types: the first of those that are wanted most; the first of all where none is wanted.

    Args:
        accept: the header; empty where there is none. What is malformed in it is ignored.
        offered: such as `text/html`, in the service's own order.
    """
    ranges = [found for part in accept.lower().split(",") if (found := _parse_range(part)) is not None]
    wanted = [_get_quality(media_type, ranges) for media_type in offered]
    best = max(wanted)
    return offered[wanted.index(best)] if best > 0 else offered[0]


def _parse_range(part: str) -> tuple[str, float] | None:
    """`text/*; q=0.5` as `text/*` and 0.5."""
    media_type, *parameters = (piece.strip() for piece in part.split(";"))
    quality = 1.0
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            try:
                quality = float(value)
            except ValueError:
                return None
    return (media_type, quality) if "/" in media_type and 0 <= quality <= 1 else None


def _get_quality(offered: str, ranges: Sequence[tuple[str, float]]) -> float:
    """That of the range that names it most exactly; 0 where none does."""
    for form in (offered, f"{offered.partition('/')[0]}/*", "*/*"):
        qualities = [quality for media_type, quality in ranges if media_type == form]
        if qualities:
            return max(qualities)
    return 0.0
