"""An event's row as its views: in its subject's order, and in its owner's."""

from heldout.views.event import EventView, OwnerEventView, SubjectView
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


def owner_event_view(row: EventRow) -> OwnerEventView:
    """A numbered event as the owner's stream shows it."""
    assert row.owner_number is not None
    return OwnerEventView(
        id=row.owner_number,
        object="event",
        subject=SubjectView(object=row.subject_object, id=row.subject_id),
        type=row.type,
        level=row.level,
        message=row.message,
        data=row.data,
        created_at=row.created_at,
    )
