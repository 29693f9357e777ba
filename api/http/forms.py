"""One answer in several forms: JSON, or a document as blocks, Markdown or HTML, as the Accept header prefers."""

from collections.abc import Callable, Sequence
from typing import Any, Final, TypeVar

from pydantic import TypeAdapter
from starlette.responses import Response

from heldout.documents.blocks import Document
from heldout.documents.html import POLICY, render_page
from heldout.documents.markdown import render_markdown
from heldout.views.base import View
from heldout.views.study_report import HTML, MARKDOWN

JSON: Final = "application/json"
# A media type of its own, so that `application/json` means a single type for generated clients.
BLOCKS: Final = "application/vnd.heldout.document+json"
DOCUMENT: TypeAdapter[Document] = TypeAdapter(Document)

_TEXT = {MARKDOWN: {"schema": {"type": "string"}}, HTML: {"schema": {"type": "string"}}}
IN_BLOCKS: dict[int | str, dict[str, Any]] = {
    200: {
        "description": f"JSON by default. `Accept` chooses `{BLOCKS}` for the same laid out in blocks, as the "
        "dashboard shows it; `text/markdown`; or `text/html` for a self-contained page.",
        "content": {BLOCKS: {"schema": {"$ref": "#/components/schemas/Document"}}, **_TEXT},
    },
}
CARD_FORMS: dict[int | str, dict[str, Any]] = {
    200: {
        "description": f"Markdown by default. `Accept` chooses `{BLOCKS}` or `text/html`.",
        "content": IN_BLOCKS[200]["content"],
    },
}
# In the service's order of preference.
FORMS: Final = (JSON, BLOCKS, MARKDOWN, HTML)
_VARY = {"Vary": "Accept"}
_View = TypeVar("_View", bound=View)


def answer_in_form(
    accept: str,
    response: Response,
    view: _View,
    lay_out: Callable[[], Document],
) -> Response | _View:
    """Answer the view itself, or its document in the form that the client prefers."""
    wanted = choose_preferred(accept, FORMS)
    if wanted == JSON:
        response.headers.update(_VARY)
        return view
    return answer_document(lay_out(), wanted)


def answer_document(document: Document, wanted: str) -> Response:
    """Answer a document in one of its forms."""
    if wanted == HTML:
        headers = {**_VARY, "Content-Security-Policy": POLICY, "X-Content-Type-Options": "nosniff"}
        return Response(render_page(document), media_type=HTML, headers=headers)
    if wanted == BLOCKS:
        return Response(DOCUMENT.dump_json(document), media_type=BLOCKS, headers=_VARY)
    return Response(render_markdown(document), media_type=MARKDOWN, headers=_VARY)


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
