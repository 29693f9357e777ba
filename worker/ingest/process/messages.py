"""Messages of a process that ingests or searches for copies, each a line of JSON.

It reads hostile files, so its messages are never unpickled.
"""

import json
from dataclasses import dataclass
from typing import Any

from heldout.lifecycle.resources import RejectionCode
from worker.ingest.rejection import Rejection
from worker.ingest.report import IngestReport


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
