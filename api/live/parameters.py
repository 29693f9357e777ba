"""Parameters of a request for events, as a list or as a stream."""

from typing import Annotated

from fastapi import Header, Query

from heldout.errors import InvalidCursor

MAX_DIGITS = 16

After = Annotated[
    str, Query(description="Number of the last event that is known.", json_schema_extra={"pattern": "^[0-9]{1,9}$"})
]
Limit = Annotated[int, Query(ge=1, le=200, description="Most events in one list; a stream ignores it.")]
LastEventId = Annotated[
    str,
    Header(
        alias="Last-Event-ID",
        description="The same as `after`; if both are sent, this header counts.",
        json_schema_extra={"pattern": "^[0-9]{0,9}$"},
    ),
]
Accept = Annotated[str, Header(include_in_schema=False)]


def cursor_of(after: str, last_event_id: str, max_number: int) -> int:
    """The number of the last event that the client knows. Raises InvalidCursor."""
    cursor = _number(after, max_number)
    return _number(last_event_id, max_number) if last_event_id else cursor


def _number(text: str, max_number: int) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= MAX_DIGITS and int(text) <= max_number):
        raise InvalidCursor
    return int(text)
