"""Serves built files from memory, compressed, with an ETag and a Content-Security-Policy."""

import gzip
import hashlib
import re
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from mimetypes import guess_type
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response

FOREVER, REVALIDATE = "public, max-age=31536000, immutable", "no-cache"
HTML = "text/html; charset=utf-8"
_HEADERS = {"Referrer-Policy": "same-origin"}


@dataclass(frozen=True)
class StaticFile:
    content: bytes
    compressed: bytes | None
    media_type: str
    headers: Mapping[str, str]

    def answer(self, request: Request, status: int = 200) -> Response:
        """Answer with the file, compressed if the client accepts that, or with 304 if it has the file already."""
        headers = dict(self.headers)
        if status == 200 and headers["ETag"] in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=headers)
        content = self.content
        if self.compressed is not None and "gzip" in request.headers.get("accept-encoding", ""):
            headers["Content-Encoding"] = "gzip"
            content = self.compressed
        return Response(content, status, headers, self.media_type)


def read(path: Path, *, caching: str, policy: str) -> StaticFile:
    """Read a file, whose name determines its media type. policy: a Content-Security-Policy."""
    media_type = guess_type(path.name)[0] or "application/octet-stream"
    if media_type.startswith("text/"):
        media_type += "; charset=utf-8"
    return make_static_file(path.read_bytes(), media_type, caching=caching, policy=policy)


def make_static_file(content: bytes, media_type: str, *, caching: str, policy: str) -> StaticFile:
    compressed = gzip.compress(content, mtime=0)
    headers = {
        **_HEADERS,
        "Cache-Control": caching,
        "ETag": f'"{hashlib.sha256(content).hexdigest()[:32]}"',
        "Content-Security-Policy": policy,
    }
    if len(compressed) >= len(content):
        return StaticFile(content, None, media_type, headers)
    return StaticFile(content, compressed, media_type, {**headers, "Vary": "Accept-Encoding"})


_SCRIPT = re.compile(r"<script>(.*?)</script>", re.DOTALL)


def build_policy(page: str, *, more: str = "") -> str:
    """Build a policy that allows this service's own files, the page's inline scripts, and inline styles.

    Args:
        page: HTML.
        more: further directives.
    """
    digests = " ".join(
        f"'sha256-{b64encode(sha256(script.encode()).digest()).decode()}'" for script in _SCRIPT.findall(page)
    )
    return (
        f"default-src 'none'; script-src 'self' {digests}; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
        f"connect-src 'self'; {more}base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
