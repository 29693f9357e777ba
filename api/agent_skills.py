"""Serves the skill for coding assistants below `/.well-known/agent-skills`: an index, an archive, and each file.

The index follows version 0.2.0 of Agent Skills Discovery, in which a skill of several files is an archive. Clients of
version 0.1.0 fetch each of `files`, a field that others ignore.

Source: Agent Skills Discovery via Well-Known URIs (github.com/cloudflare/agent-skills-discovery-rfc, 0.2.0), and
agentskills.io, "Well-Known URI".
"""

import gzip
import hashlib
import io
import json
import re
import tarfile
from collections.abc import Mapping
from functools import cache

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response

from api.static_files import REVALIDATE, StaticFile, build_policy, make_static_file
from heldout.errors import RouteNotFound
from heldout.skill import read_skill

ADDRESS = "/.well-known/agent-skills"
SCHEMA = "https://schemas.agentskills.io/discovery/0.2.0/schema.json"
TYPES = {".json": "application/json", ".gz": "application/gzip", ".md": "text/markdown; charset=utf-8"}


def build_files(skill: Mapping[str, bytes]) -> dict[str, bytes]:
    """Return everything that is served, by its path below the address."""
    front_matter = skill["SKILL.md"].decode().split("---\n")[1]
    about = dict(re.findall(r"^(\w+): (.+)$", front_matter, re.MULTILINE))
    name, archive = about["name"], _pack(skill)
    entry = {
        "name": name,
        "type": "archive",
        "description": about["description"],
        "url": f"{name}.tar.gz",
        "digest": f"sha256:{hashlib.sha256(archive).hexdigest()}",
        "files": list(skill),
    }
    index = json.dumps({"$schema": SCHEMA, "skills": [entry]}, indent=2)
    files = {f"{name}/{path}": content for path, content in skill.items()}
    return {"index.json": index.encode(), f"{name}.tar.gz": archive, **files}


def _pack(skill: Mapping[str, bytes]) -> bytes:
    """Pack the files without times and users, so that every machine packs the same bytes."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for path, content in skill.items():
            member = tarfile.TarInfo(path)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return gzip.compress(packed.getvalue(), mtime=0)


def install(app: FastAPI) -> None:
    """Serve the index and what it names."""

    @cache
    def make_files() -> dict[str, StaticFile]:
        return {
            path: make_static_file(
                content, TYPES[f".{path.rpartition('.')[2]}"], caching=REVALIDATE, policy=build_policy("")
            )
            for path, content in build_files(read_skill()).items()
        }

    def serve(request: Request) -> Response:
        file = make_files().get(request.path_params["path"])
        if file is None:
            raise RouteNotFound(request.url.path)
        return file.answer(request)

    app.router.add_route(f"{ADDRESS}/{{path:path}}", serve, include_in_schema=False)
