"""The dashboard's files at `/`, built from `web/` by `make web`; the pages ask the API for everything else.

They are read once and kept in memory, packed too: together they are small, and a new build comes with a new start.
"""

import gzip
import hashlib
from dataclasses import dataclass
from mimetypes import guess_type
from pathlib import Path

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response

from heldout.errors import RouteNotFound

BUILT = Path(__file__).parent / "static"
# Addresses of pages; the script in the browser decides what each of them shows.
PAGES = ("/", "/login", "/new", "/compare", "/jobs", "/datasets", "/studies")
PAGES_BELOW = ("/jobs/{rest:path}", "/datasets/{rest:path}", "/studies/{rest:path}")
# No script, style or connection but from here, nothing inline, and in nobody's frame.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {"Referrer-Policy": "same-origin"}
# Files in assets/ have a digest of their content in their names.
ASSETS = "assets/"
FOR_EVER, ASK_AGAIN = "public, max-age=31536000, immutable", "no-cache"
NOT_BUILT = b"""<!doctype html><html lang="en"><meta charset="utf-8"><title>Heldout</title>
<h1>Heldout is running</h1>
<p>Its dashboard is not built. <code>make web</code> builds it; then start the service again.</p>
<p>The API is documented at <a href="docs">/docs</a>.</p></html>"""


@dataclass(frozen=True)
class _File:
    content: bytes
    packed: bytes | None
    media_type: str
    caching: str
    etag: str

    def answer(self, request: Request) -> Response:
        headers = {**HEADERS, "Cache-Control": self.caching, "ETag": self.etag, "Content-Security-Policy": POLICY}
        if self.packed is not None:
            headers["Vary"] = "Accept-Encoding"
        if self.etag in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=headers)
        if self.packed is not None and "gzip" in request.headers.get("accept-encoding", ""):
            headers["Content-Encoding"] = "gzip"
            return Response(self.packed, headers=headers, media_type=self.media_type)
        return Response(self.content, headers=headers, media_type=self.media_type)


def is_built() -> bool:
    """Whether there is a dashboard to serve."""
    return (BUILT / "index.html").is_file()


def install(app: FastAPI, built: Path = BUILT) -> None:
    """Serve the pages and their files; where nothing is built, a page that says how to."""
    files = {str(path.relative_to(built)): _read(path, built) for path in built.rglob("*") if path.is_file()}
    page = files.pop("index.html", None) or _file(NOT_BUILT, "text/html; charset=utf-8", ASK_AGAIN)

    async def serve_page(request: Request) -> Response:
        return page.answer(request)

    async def serve_asset(request: Request) -> Response:
        file = files.get(request.url.path.removeprefix("/"))
        if file is None:
            raise RouteNotFound(request.url.path)
        return file.answer(request)

    for path in PAGES + PAGES_BELOW:
        app.router.add_route(path, serve_page, include_in_schema=False)
    for path in (f"/{ASSETS}{{name}}", *(f"/{name}" for name in files if not name.startswith(ASSETS))):
        app.router.add_route(path, serve_asset, include_in_schema=False)


def _read(path: Path, built: Path) -> _File:
    name = str(path.relative_to(built))
    media_type = guess_type(name)[0] or "application/octet-stream"
    if media_type.startswith("text/"):
        media_type += "; charset=utf-8"
    return _file(path.read_bytes(), media_type, FOR_EVER if name.startswith(ASSETS) else ASK_AGAIN)


def _file(content: bytes, media_type: str, caching: str) -> _File:
    packed = gzip.compress(content, mtime=0)
    return _File(
        content=content,
        packed=packed if len(packed) < len(content) else None,
        media_type=media_type,
        caching=caching,
        etag=f'"{hashlib.sha256(content).hexdigest()[:32]}"',
    )
