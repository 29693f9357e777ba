"""Serves the Python client of this release at `/client/`: the wheel, and a page that says how to install it.

The wheel is built from the package that the service runs from, so both always have the same release. Its members are
neither compressed nor dated, so that every machine builds the same bytes.
"""

import base64
import hashlib
import html
import io
import tomllib
import zipfile
from functools import cache
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

import heldout
from api import static_files
from api.static_files import REVALIDATE, StaticFile, build_policy
from heldout.errors import RouteNotFound
from heldout.skill import FOLDER, read_skill

PACKAGE = Path(heldout.__file__).parent
ROOT = PACKAGE.parent
ADDRESS = "/client"
NAME = f"heldout-{heldout.__version__}-py3-none-any.whl"
DIST_INFO = f"heldout-{heldout.__version__}.dist-info"
# The settings and start of the server. Only these need pydantic-settings.
SERVER_PARTS = ("heldout/service/",)
STYLE = """:root { color-scheme: light dark } body { font: 16px/1.5 sans-serif; max-width: 46rem; margin: 2rem auto }
body { padding: 0 1rem } pre { white-space: pre-wrap; overflow-wrap: anywhere }"""
HEAD = f"""<!doctype html><html lang="en"><meta charset="utf-8"><title>Heldout: Python client</title>
<meta name="viewport" content="width=device-width"><style>{STYLE}</style>"""
PAGE = """<h1>Install the Python client</h1>
<p>This service offers the client of its own release.</p>
<pre><code>pip install {url}</code></pre>
<p>It needs Python 3.11 to 3.13, and neither TensorFlow nor a database. The file is
<a href="{name}">{name}</a>. The client is not in any public package index.</p></html>"""


@cache
def build_wheel() -> bytes:
    """Build the wheel of the client."""
    members = {
        path.relative_to(ROOT).as_posix(): path.read_bytes()
        for path in PACKAGE.rglob("*")
        if path.suffix in {".py", ".typed", ".txt", ".css"}
    }
    members |= {f"heldout/{FOLDER.name}/{name}": content for name, content in read_skill().items()}
    members = {name: members[name] for name in sorted(members) if not name.startswith(SERVER_PARTS)}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    scripts = "".join(f"{name} = {target}\n" for name, target in project["scripts"].items())
    members |= {
        f"{DIST_INFO}/licenses/LICENSE": (ROOT / "LICENSE").read_bytes(),
        f"{DIST_INFO}/METADATA": _describe(project).encode(),
        f"{DIST_INFO}/WHEEL": b"Wheel-Version: 1.0\nGenerator: heldout\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{DIST_INFO}/entry_points.txt": f"[console_scripts]\n{scripts}".encode(),
    }
    record = "".join(f"{name},sha256={_digest(content)},{len(content)}\n" for name, content in members.items())
    members[f"{DIST_INFO}/RECORD"] = f"{record}{DIST_INFO}/RECORD,,\n".encode()
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in members.items():
            member = zipfile.ZipInfo(name)  # dated 1980
            member.external_attr = 0o100644 << 16
            archive.writestr(member, content)
    return file.getvalue()


def _describe(project: dict[str, Any]) -> str:
    """Write the core metadata: the requirements, and what pip shows."""
    lines = [
        "Metadata-Version: 2.4",
        f"Name: {project['name']}",
        f"Version: {heldout.__version__}",
        f"Summary: {project['description']}",
        f"License-Expression: {project['license']}",
        "License-File: LICENSE",
        f"Requires-Python: {project['requires-python']}",
        *(f"Requires-Dist: {requirement}" for requirement in project["dependencies"]),
    ]
    for extra, requirements in project["optional-dependencies"].items():
        lines.append(f"Provides-Extra: {extra}")
        lines += [f'Requires-Dist: {requirement}; extra == "{extra}"' for requirement in requirements]
    return "\n".join([*lines, ""])


def _digest(content: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()


@cache
def _make_file() -> StaticFile:
    return static_files.make_static_file(build_wheel(), "application/zip", caching=REVALIDATE, policy=build_policy(""))


def install(app: FastAPI) -> None:
    """Serve the page and the wheel."""

    def serve_page(request: Request) -> Response:
        url = html.escape(f"{request.base_url}client/{NAME}")
        page = HEAD + PAGE.format(url=url, name=NAME)
        return Response(
            page,
            media_type=static_files.HTML,
            headers={"Cache-Control": REVALIDATE, "Content-Security-Policy": build_policy(page)},
        )

    def serve_wheel(request: Request) -> Response:
        if request.path_params["name"] != NAME:
            raise RouteNotFound(request.url.path)
        return _make_file().answer(request)

    # Relative, so that it works behind a proxy that adds a prefix.
    app.router.add_route(ADDRESS, lambda request: RedirectResponse("client/"), include_in_schema=False)
    app.router.add_route(f"{ADDRESS}/", serve_page, include_in_schema=False)
    app.router.add_route(f"{ADDRESS}/{{name}}", serve_wheel, include_in_schema=False)
