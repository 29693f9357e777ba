"""Parameters of requests for events, as a list or a stream."""

from typing import Annotated

from fastapi import Header, Query

from heldout.errors import InvalidCursor

MAX_DIGITS = 16
MAX_SHOWN = 40
# Given instead of a number: the newest event.
LATEST = "latest"

After = Annotated[
    str,
    Query(
        description="Return only events after this number. `latest` stands for the newest event: a stream then "
        "begins with the next event, and a list is empty, with that number as its `next`.",
        json_schema_extra={"pattern": f"^([0-9]{{1,9}}|{LATEST})$"},
    ),
]
Limit = Annotated[int, Query(ge=1, le=200, description="Maximum number of events in a list. A stream ignores it.")]
LastEventId = Annotated[
    str,
    Header(
        alias="Last-Event-ID",
        description="The same as `after`. If both are sent, this header takes precedence.",
        json_schema_extra={"pattern": "^[0-9]{0,9}$"},
    ),
]
Accept = Annotated[str, Header(include_in_schema=False)]


def parse_cursor(after: str, last_event_id: str, max_number: int) -> int | None:
    """Get the number of the last event that the client knows. None stands for the newest. Raises InvalidCursor."""
    cursor = None if after == LATEST else _parse_number(after, max_number)
    if not last_event_id:
        return cursor
    if not _is_number(last_event_id, max_number):
        raise InvalidCursor(
            f"The header `Last-Event-ID` is {last_event_id[:MAX_SHOWN]!r}, which is not the number of an event. Send "
            "the `id` of the last event that you received, or omit the header."
        )
    return int(last_event_id)


def _parse_number(text: str, max_number: int) -> int:
    if not _is_number(text, max_number):
        raise InvalidCursor
    return int(text)


def _is_number(text: str, max_number: int) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= MAX_DIGITS and int(text) <= max_number
