"""Files of a job as they are handed out."""

from base64 import b64encode
from typing import Any

from starlette.responses import StreamingResponse

from heldout.errors import HeldoutError
from models.blobs import BlobMissing, Blobs

# A file in the OpenAPI document.
FILE: dict[str, Any] = {
    "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    "headers": {
        "Repr-Digest": {
            "description": "The file's SHA-256 (RFC 9530); absent where an earlier release has stored it.",
            "schema": {"type": "string"},
        }
    },
}


def download(
    blobs: Blobs, key: str, filename: str, lost: HeldoutError, *, size_bytes: int | None, sha256: str | None
) -> StreamingResponse:
    """A stored file, as an attachment.

    Args:
        lost: what is raised where the file is gone.
        size_bytes, sha256: as its row says; None where an earlier release has stored it.
    """
    try:
        size = blobs.size(key) if size_bytes is None else size_bytes
        chunks = blobs.chunks(key)
    except BlobMissing as error:
        raise lost from error
    headers = {"Content-Length": str(size), "Content-Disposition": f'attachment; filename="{filename}"'}
    if sha256 is not None:
        headers["ETag"] = f'"{sha256}"'
        headers["Repr-Digest"] = f"sha-256=:{b64encode(bytes.fromhex(sha256)).decode()}:"
    return StreamingResponse(chunks, headers=headers, media_type="application/octet-stream")
