"""The results of an ingest or a search for copies, and its messages, each a line of JSON.

The process reads hostile files, so its messages are never unpickled.
"""

import json
from dataclasses import dataclass
from typing import Any

from heldout.lifecycle.resources import RejectionCode
from heldout.stored.audit import AuditFinding
from worker.ingest.rejection import Rejection


@dataclass(frozen=True)
class IngestReport:
    """A dataset that was made from an upload.

    shape is (height, width, channels), and range the pixel values that the source can hold. splits has for train,
    validation and test `count`, `per_class` in the order of `classes`, and `sha256` of its images and labels. source
    describes format, members and the origin of the splits. size_bytes is the size of the four files of the internal
    format. different are positions of images that a user marked as different.
    """

    shape: tuple[int, int, int]
    dtype: str
    range: tuple[float, float]
    classes: tuple[str, ...]
    splits: dict[str, dict[str, Any]]
    sha256: str
    size_bytes: int
    source: dict[str, Any]
    findings: tuple[AuditFinding, ...]
    different: tuple[tuple[int, int], ...] = ()

    def as_json(self) -> dict[str, Any]:
        return {**vars(self), "findings": [finding.model_dump(mode="json") for finding in self.findings]}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "IngestReport":
        return cls(
            **{
                **data,
                "shape": tuple(data["shape"]),
                "range": tuple(data["range"]),
                "classes": tuple(data["classes"]),
                "findings": tuple(AuditFinding.model_validate(found) for found in data["findings"]),
                "different": tuple((int(first), int(second)) for first, second in data["different"]),
            }
        )


@dataclass(frozen=True)
class IngestProgress:
    """Progress of the ingest: `opening`, `decoding`, `auditing`, `finishing`; images done, and in total."""

    stage: str
    done: int
    of: int


@dataclass(frozen=True)
class Related:
    """The relations of a stored dataset are written. digests: of each split's images and labels."""

    digests: dict[str, str]


Message = IngestProgress | IngestReport | Related | Rejection


def encode(message: Message) -> dict[str, Any]:
    """As JSON has it."""
    if isinstance(message, IngestProgress):
        return {"progress": [message.stage, message.done, message.of]}
    if isinstance(message, IngestReport):
        return {"report": message.as_json()}
    if isinstance(message, Related):
        return {"related": message.digests}
    return {"rejection": message.as_json()}


def decode(line: bytes) -> Message:
    """The message of one line.

    Raises:
        ValueError: if it is not a message; the process may have been taken over by a file that it read.
    """
    try:
        [(kind, content)] = json.loads(line).items()
        if kind == "progress":
            stage, done, of = content
            return IngestProgress(str(stage), int(done), int(of))
        if kind == "report":
            return IngestReport.from_json(content)
        if kind == "related":
            return Related({str(split): str(digest) for split, digest in content.items()})
        if kind == "rejection":
            return Rejection(RejectionCode(content["code"]), content["detail"], content["member"])
    except (TypeError, KeyError, AttributeError, RecursionError) as error:
        raise ValueError("not a message of an ingest") from error
    raise ValueError("not a message of an ingest")
