"""Serves the manual at `/manual`, built from `docs/` by `make docs`, or a page that says how to build it.

Files are listed once, and each is read on first use, so that they do not delay the start.
"""

from functools import cache
from pathlib import Path

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from api import static_files
from api.static_files import REVALIDATE, StaticFile, build_policy
from heldout.errors import RouteNotFound

BUILT = Path(__file__).parent / "static_manual"
ROOT = "/manual"
# The manual's search runs in a web worker.
WORKERS = "worker-src 'self'; "
NOT_BUILT = """<!doctype html><html lang="en"><meta charset="utf-8"><title>Heldout: manual</title>
<h1>The manual has not been built</h1>
<p>Run <code>make docs</code>, then restart the service.</p>
<p>The API is documented at <a href="docs">/docs</a>.</p></html>"""


def is_built(built: Path = BUILT) -> bool:
    """Return whether the manual has been built."""
    return (built / "index.html").is_file()


def install(app: FastAPI, built: Path = BUILT) -> None:
    """Serve the pages and their files below `/manual`."""
    paths = {str(path.relative_to(built)): path for path in built.rglob("*") if path.is_file()}
    is_there = is_built(built)

    @cache
    def make_file(name: str) -> StaticFile:
        path = paths[name]
        policy = build_policy(path.read_text(encoding="utf-8") if path.suffix == ".html" else "", more=WORKERS)
        return static_files.read(path, caching=REVALIDATE, policy=policy)

    def serve_root(request: Request) -> Response:
        if is_there:
            return RedirectResponse("manual/")  # relative, so that it works behind a proxy that adds a prefix
        page = static_files.make_static_file(
            NOT_BUILT.encode(), static_files.HTML, caching=REVALIDATE, policy=build_policy(NOT_BUILT)
        )
        return page.answer(request)

    def serve_file(request: Request) -> Response:
        name = request.path_params["name"] or "index.html"
        if not is_there and name == "index.html":
            return RedirectResponse("../manual")
        if name not in paths:
            raise RouteNotFound(request.url.path)
        return make_file(name).answer(request)

    app.router.add_route(ROOT, serve_root, include_in_schema=False)
    app.router.add_route(f"{ROOT}/{{name:path}}", serve_file, include_in_schema=False)
