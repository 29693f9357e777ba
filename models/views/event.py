"""An event's row as its view."""

from heldout.views.event import EventView
from models.tables import EventRow


def event_view(row: EventRow) -> EventView:
    """The event as clients see it."""
    return EventView(
        id=row.id,
        object="event",
        type=row.type,
        level=row.level,
        message=row.message,
        data=row.data,
        created_at=row.created_at,
    )
