"""Serves stored files as downloads."""

import re
import unicodedata
from base64 import b64encode
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray
from starlette.responses import StreamingResponse

from heldout.errors import HeldoutError
from models.blobs import Blobs, raise_if_missing
from models.digests import FileDigest

INDICES_AT_ONCE = 8192
MAX_NAME = 100
# Characters in a file name that some system or shell reads as something else.
UNSAFE = re.compile(r"[^\w.-]+")

# A file in the OpenAPI document.
FILE: dict[str, Any] = {
    "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    "headers": {
        "Repr-Digest": {
            "description": "The file's SHA-256 (RFC 9530). Absent if an earlier release stored the file.",
            "schema": {"type": "string"},
        }
    },
}


def attach(name: str, fallback: str, ending: str) -> str:
    """Build the `Content-Disposition` header of a file that is named after a job or a study (RFC 6266).

    Args:
        name: the name that people gave the job. It may hold any character.
        fallback: the job's id, used for programs that read only Latin letters if the name has none.
    """
    latin = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    plain, whole = (UNSAFE.sub("-", text).strip("-.")[:MAX_NAME] or fallback for text in (latin, name))
    other = "" if plain == whole else f"; filename*=UTF-8''{quote(whole + ending)}"
    return f'attachment; filename="{plain}{ending}"{other}'


def download(
    blobs: Blobs, key: str, disposition: str, lost: HeldoutError, *, expected: FileDigest | None
) -> StreamingResponse:
    """Serve a stored file as an attachment.

    Args:
        disposition: the header's value, from `attach`.
        lost: the error raised if the file is gone.
        expected: the digest in the file's row. None if an earlier release stored the file.
    Raises:
        ArtifactDamaged: before anything is sent.
    """
    with raise_if_missing(lost):
        blobs.require_whole(key, expected)
        size, chunks = blobs.size(key), blobs.chunks(key)
    headers = {"Content-Length": str(size), "Content-Disposition": disposition}
    if expected is not None:
        headers["ETag"] = f'"{expected.sha256}"'
        headers["Repr-Digest"] = f"sha-256=:{b64encode(bytes.fromhex(expected.sha256)).decode()}:"
    return StreamingResponse(chunks, headers=headers, media_type="application/octet-stream")


def make_indices_response(indices: Mapping[str, NDArray[np.int64]]) -> StreamingResponse:
    """Write an `IndicesView` while it is sent. As Python objects and text, it would need ten times the memory."""
    size = sum(map(len, _iterate_indices_json({name: rows[:0] for name, rows in indices.items()})))
    for rows in indices.values():
        digits = len(rows) + sum(int(np.count_nonzero(rows >= 10**power)) for power in range(1, 19))
        size += digits + max(0, len(rows) - 1)  # the commas
    return StreamingResponse(
        _iterate_indices_json(indices), headers={"Content-Length": str(size)}, media_type="application/json"
    )


def _iterate_indices_json(indices: Mapping[str, NDArray[np.int64]]) -> Iterator[bytes]:
    text = '{"object":"splits"'
    for name, rows in indices.items():
        text += f',"{name}":['
        for first in range(0, len(rows), INDICES_AT_ONCE):
            text += ",".join(map(str, rows[first : first + INDICES_AT_ONCE].tolist()))
            yield text.encode()
            text = "," if first + INDICES_AT_ONCE < len(rows) else ""
        text += "]"
    yield f"{text}}}".encode()
