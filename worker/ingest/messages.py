"""The results of an ingest or a search for copies, as a line of JSON.

The process reads hostile files, so its answer is never unpickled.
"""

import json
from dataclasses import asdict, dataclass
from typing import Any

from pydantic import TypeAdapter

from heldout.lifecycle.resources import RejectionCode
from heldout.stored.audit import IngestedContent
from worker.ingest.rejection import Rejection


@dataclass(frozen=True)
class Related:
    """The relations of a stored dataset are written. digests: of each split's images and labels."""

    digests: dict[str, str]


Message = IngestedContent | Related | Rejection


def encode(message: Message) -> dict[str, Any]:
    """As JSON has it."""
    if isinstance(message, Rejection):
        return {"rejection": message.as_json()}
    return {"ingested" if isinstance(message, IngestedContent) else "related": asdict(message)}


def decode(line: bytes) -> Message:
    """The message of one line.

    Raises:
        ValueError: if it is not a message; the process may have been taken over by a file that it read.
    """
    try:
        match json.loads(line):
            case {"ingested": content}:
                return TypeAdapter(IngestedContent).validate_python(content)
            case {"related": content}:
                return TypeAdapter(Related).validate_python(content)
            case {"rejection": {"code": code, "detail": str(detail), "member": str() | None as member}}:
                return Rejection(RejectionCode(code), detail, member)
    except RecursionError as error:
        raise ValueError("not a message of an ingest") from error
    raise ValueError("not a message of an ingest")
