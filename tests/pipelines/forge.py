"""A forge that tests play: GitHub's and GitLab's API of one pull request, with rights of tokens, on a local port."""

import io
import json
import re
import secrets
import threading
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

OWN = "github-actions[bot]"
PAGE = 100


@dataclass
class Comment:
    """A comment, as GitHub has it; GitLab's has the same parts."""

    id: int
    author: str
    body: str


@dataclass
class Forge:
    """The state of one pull request, and who may do what.

    files: what it changes. requests: what was asked, with the token. blobs: archives by number.
    """

    name: str = "acme/pets"
    number: int = 7
    files: list[str] = field(default_factory=list)
    comments: list[Comment] = field(default_factory=list)
    blobs: dict[int, bytes] = field(default_factory=dict)
    rights: dict[str, Mapping[str, str]] = field(default_factory=dict)
    requests: list[tuple[str, str, str | None]] = field(default_factory=list)

    def __enter__(self) -> Self:
        forge = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_: Any) -> None:
                pass

            def _answer(self) -> None:
                size = int(self.headers.get("Content-Length") or 0)
                body = json.loads(self.rfile.read(size)) if size else None
                token = self.headers.get("Authorization", "").removeprefix("Bearer ")
                token = token or self.headers.get("PRIVATE-TOKEN") or ""
                forge.requests.append((self.command, self.path, token or None))
                status, content, place = forge.answer(self.command, self.path, token, body)
                self.send_response(status)
                if place:
                    self.send_header("Location", place)
                self.end_headers()
                self.wfile.write(content if isinstance(content, bytes) else json.dumps(content).encode())

            do_GET = do_POST = do_PATCH = do_PUT = _answer  # noqa: N815 - names of the library

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def issue_token(self, rights: Mapping[str, str]) -> str:
        token = f"token-{secrets.token_hex(12)}"
        self.rights[token] = rights
        return token

    def keep_artifact(self, name: str, content: bytes) -> None:
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(name, content)
        self.blobs[len(self.blobs) + 1] = packed.getvalue()

    def answer(self, method: str, path: str, token: str, body: Any) -> tuple[int, Any, str | None]:
        """Answer a request: status, body, and where else to look."""
        where = urlsplit(path)
        asked = {name: values[0] for name, values in parse_qs(where.query).items()}
        if blob := re.fullmatch(r"/blobs/(\d+)", where.path):
            return (200, self.blobs[int(blob[1])], None) if not token else (400, {}, None)
        rights = self.rights.get(token)
        if rights is None:
            return 401, {}, None
        for verb, pattern, right, do in self._list_routes(asked, body):
            found = re.fullmatch(pattern, where.path)
            if verb == method and found:
                if not any(rights.get(kind) in levels for kind, levels in right):
                    return 403, {}, None
                return do(*found.groups())
        return 404, {}, None

    def _list_routes(self, asked: Mapping[str, str], body: Any) -> list[Any]:
        github, gitlab = f"/repos/{self.name}", rf"/projects/31/merge_requests/{self.number}"
        reads = [("pull-requests", ("read", "write")), ("api", ("write",))]
        writes = [("pull-requests", ("write",)), ("api", ("write",))]
        actions = [("actions", ("read",))]
        page = int(asked.get("page", 1)) - 1

        def cut(entries: list[Any]) -> tuple[int, Any, None]:
            return 200, entries[page * PAGE : (page + 1) * PAGE], None

        def list_comments() -> tuple[int, Any, None]:
            return cut(
                [
                    {
                        "id": comment.id,
                        "body": comment.body,
                        "user": {"login": comment.author},
                        "author": {"id": comment.author},
                    }
                    for comment in self.comments
                ]
            )

        def create() -> tuple[int, Any, None]:
            self.comments.append(Comment(len(self.comments) + 1, OWN, body["body"]))
            return 201, {}, None

        def change(number: str) -> tuple[int, Any, None]:
            self.comments[int(number) - 1].body = body["body"]
            return 200, {}, None

        def list_artifacts() -> tuple[int, Any, None]:
            assert asked["name"] == "heldout-judge"
            return 200, {"artifacts": [{"id": number} for number in self.blobs]}, None

        return [
            ("GET", f"{github}/actions/runs/99/artifacts", actions, list_artifacts),
            (
                "GET",
                rf"{github}/actions/artifacts/(\d+)/zip",
                actions,
                lambda n: (302, {}, f"{self.url}/blobs/{n}"),
            ),
            (
                "GET",
                f"{github}/pulls/{self.number}/files",
                reads,
                lambda: cut([{"filename": file} for file in self.files]),
            ),
            ("GET", f"{github}/issues/{self.number}/comments", reads, list_comments),
            ("POST", f"{github}/issues/{self.number}/comments", writes, create),
            ("PATCH", rf"{github}/issues/comments/(\d+)", writes, change),
            ("GET", "/user", reads, lambda: (200, {"id": OWN}, None)),
            (
                "GET",
                f"{gitlab}/diffs",
                reads,
                lambda: cut([{"new_path": file, "old_path": file} for file in self.files]),
            ),
            ("GET", f"{gitlab}/notes", reads, list_comments),
            ("POST", f"{gitlab}/notes", writes, create),
            ("PUT", rf"{gitlab}/notes/(\d+)", writes, change),
        ]
