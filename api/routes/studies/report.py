"""The report of a study, as JSON, Markdown, or a self-contained HTML page."""

from collections.abc import Sequence
from typing import Any

from fastapi import Response

from analysis.reports.contents import build_document
from analysis.reports.document import POLICY, render_markdown, render_page
from api.http.auth import CallerDep
from api.http.deps import AppContextDep, ReadSessionDep, StudyId
from api.http.problems import document_errors
from api.http.routing import make_router
from api.live.streams import Accept
from heldout.errors import SpecUnreadable, StudyNotFound
from heldout.views.study_report import HTML, MARKDOWN, StudyReportView
from models.store import studies
from models.study_report import build_study_report
from models.views.study import build_study_view

router = make_router("/v1/studies", "studies")

_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "JSON by default. `Accept` chooses `text/markdown`, or `text/html` for a self-contained page.",
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
    """Get a study's report in plain words: what helped, by how much, how sure that is, and what to do."""
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
    """Choose the offered type with the highest quality, or the first type if the client wants none of them.

    Args:
        accept: the header, which may be empty. Malformed parts are ignored.
        offered: types such as `text/html`, in the service's order of preference.
    """
    ranges = [found for part in accept.lower().split(",") if (found := _parse_range(part)) is not None]
    wanted = [_get_quality(media_type, ranges) for media_type in offered]
    best = max(wanted)
    return offered[wanted.index(best)] if best > 0 else offered[0]


def _parse_range(part: str) -> tuple[str, float] | None:
    """Parse a part such as `text/*; q=0.5` into `text/*` and 0.5."""
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
    """Get the quality of the most specific range that includes the type, or 0."""
    for form in (offered, f"{offered.partition('/')[0]}/*", "*/*"):
        qualities = [quality for media_type, quality in ranges if media_type == form]
        if qualities:
            return max(qualities)
    return 0.0
