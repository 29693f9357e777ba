"""Serves the dashboard's files at `/`, built from `web/` by `make web`. The pages get everything else from the API.

The files are read once and kept in memory, also compressed: they are small, and a new build needs a restart anyway.
"""

import json
from pathlib import Path

from fastapi import FastAPI
from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import Response

from api import manual, static_files
from api.http.problems import make_problem_response
from api.static_files import FOREVER, REVALIDATE
from heldout.errors import RouteNotFound

BUILT = Path(__file__).parent / "static"
# The build copies the pages' addresses from web/src/pages.json. The script decides what each page shows.
PAGES = "pages.json"
# Scripts, styles and connections only from this service, nothing inline, and no embedding in frames.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
# The names of files in assets/ contain a digest of their content.
ASSETS = "assets/"
# Tells the script that there is a manual to link to.
MANUAL = f'<link rel="help" href="{manual.ROOT}/"></head>'
NOT_BUILT = b"""<!doctype html><html lang="en"><meta charset="utf-8"><title>Heldout</title>
<h1>Heldout is running</h1>
<p>Its dashboard has not been built. Run <code>make web</code>, then restart the service.</p>
<p>The API is documented at <a href="docs">/docs</a>.</p></html>"""


def is_built() -> bool:
    """Return whether the dashboard has been built."""
    return (BUILT / "index.html").is_file()


def install(app: FastAPI, built: Path = BUILT, *, has_manual: bool | None = None) -> None:
    """Serve the pages and their files, or a page that says how to build them.

    Args:
        has_manual: whether the pages link to the manual; by default, whether it has been built.
    """
    paths = {str(path.relative_to(built)): path for path in built.rglob("*") if path.is_file()}
    files = {
        name: static_files.read(path, caching=FOREVER if name.startswith(ASSETS) else REVALIDATE, policy=POLICY)
        for name, path in paths.items()
        if name not in ("index.html", PAGES)
    }
    page = static_files.make_static_file(
        _build_shell(built, manual.is_built() if has_manual is None else has_manual),
        static_files.HTML,
        caching=REVALIDATE,
        policy=POLICY,
    )

    async def serve_page(request: Request) -> Response:
        return page.answer(request)

    async def serve_asset(request: Request) -> Response:
        file = files.get(request.url.path.removeprefix("/"))
        if file is None:
            raise RouteNotFound(request.url.path)
        return file.answer(request)

    @app.exception_handler(404)
    @app.exception_handler(RouteNotFound)
    async def answer_unknown(request: Request, error: Exception) -> Response:
        if _asks_for_a_page(request):
            return page.answer(request, 404)
        path = request.scope["path"]
        return make_problem_response(RouteNotFound(path), path)

    for path in _list_addresses(built):
        app.router.add_route(path, serve_page, include_in_schema=False)
    for path in (f"/{ASSETS}{{name}}", *(f"/{name}" for name in files if not name.startswith(ASSETS))):
        app.router.add_route(path, serve_asset, include_in_schema=False)


def _asks_for_a_page(request: Request) -> bool:
    """Return whether a browser opened an address that the API does not have."""
    room = _get_room(request.scope["path"])
    of_api = {_get_room(route.path) for route in request.app.router.routes if isinstance(route, APIRoute)}
    return "text/html" in request.headers.get("accept", "") and room not in of_api


def _get_room(path: str) -> str:
    """Return the first part of a path, such as `v1`."""
    return path.removeprefix("/").partition("/")[0]  # `OPTIONS *` has no slash


def _list_addresses(built: Path) -> list[str]:
    """List the path patterns of all pages in Starlette's notation; only `/` if nothing is built."""
    try:
        pages = json.loads((built / PAGES).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return ["/"]
    return [str(page["path"]).replace(":id", "{id:path}") for page in pages]


def _build_shell(built: Path, has_manual: bool) -> bytes:
    """Build the HTML that every address serves."""
    try:
        shell = (built / "index.html").read_text(encoding="utf-8")
    except FileNotFoundError:
        return NOT_BUILT
    return (shell.replace("</head>", MANUAL, 1) if has_manual else shell).encode()
