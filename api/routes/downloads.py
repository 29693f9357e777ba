"""Files of a job as they are handed out, and why one is not there."""

from base64 import b64encode
from typing import Any

from starlette.responses import StreamingResponse

from heldout.errors import HeldoutError, NoModel, NotReady
from heldout.lifecycle import TERMINAL, shown_status
from models.blobs import BlobMissing, Blobs
from models.tables import JobRow

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


def not_there(job: JobRow, what: str) -> NotReady | NoModel:
    """Why a job does not have what it leaves behind: it has not ended, or it has ended without."""
    status = shown_status(job.status, job.request)
    return NoModel(job.id, what, status) if job.status in TERMINAL else NotReady(job.id, what, status)


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
