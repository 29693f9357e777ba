"""An event's row as its views: in its subject's order, and in its owner's."""

from heldout.views.base import make_view
from heldout.views.event import EventView, OwnerEventView
from models.tables import EventRow


def build_event_view(row: EventRow) -> EventView:
    """The event as clients see it."""
    return make_view(EventView, row, object="event")


def build_owner_event_view(row: EventRow) -> OwnerEventView:
    """A numbered event as the owner's stream shows it."""
    assert row.owner_number is not None
    subject = {"object": row.subject_object, "id": row.subject_id}
    return make_view(OwnerEventView, row, object="event", id=row.owner_number, subject=subject)
