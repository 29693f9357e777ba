"""The results of an ingest or a search for copies, as a line of JSON.

The process reads hostile files, so its answer is never unpickled.
"""

import json
from typing import Any

from pydantic import BaseModel

from heldout.lifecycle.resources import RejectionCode
from heldout.stored.audit import AuditFinding
from worker.ingest.rejection import Rejection


class IngestReport(BaseModel, frozen=True):
    """A dataset that was made from an upload.

    shape is (height, width, channels), and value_range the pixel values that the source can hold. splits has for train,
    validation and test `count`, `per_class` in the order of `classes`, and `sha256` of its images and labels. source
    describes format, members and the origin of the splits. size_bytes is the size of the four files of the internal
    format. different are positions of images that a user marked as different.
    """

    shape: tuple[int, int, int]
    dtype: str
    value_range: tuple[float, float]
    classes: tuple[str, ...]
    splits: dict[str, dict[str, Any]]
    sha256: str
    size_bytes: int
    source: dict[str, Any]
    findings: tuple[AuditFinding, ...]
    different: tuple[tuple[int, int], ...] = ()


class Related(BaseModel, frozen=True):
    """The relations of a stored dataset are written. digests: of each split's images and labels."""

    digests: dict[str, str]


Message = IngestReport | Related | Rejection


def encode(message: Message) -> dict[str, Any]:
    """As JSON has it."""
    if isinstance(message, Rejection):
        return {"rejection": message.as_json()}
    return {"report" if isinstance(message, IngestReport) else "related": message.model_dump(mode="json")}


def decode(line: bytes) -> Message:
    """The message of one line.

    Raises:
        ValueError: if it is not a message; the process may have been taken over by a file that it read.
    """
    try:
        match json.loads(line):
            case {"report": report}:
                return IngestReport.model_validate(report)
            case {"related": related}:
                return Related.model_validate(related)
            case {"rejection": {"code": code, "detail": str(detail), "member": str() | None as member}}:
                return Rejection(RejectionCode(code), detail, member)
    except RecursionError as error:
        raise ValueError("not a message of an ingest") from error
    raise ValueError("not a message of an ingest")
