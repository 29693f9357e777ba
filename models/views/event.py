"""Builds the views of an event, numbered within its subject or within its owner's stream."""

from heldout.views.account import EventView, OwnerEventView
from heldout.views.base import make_view
from models.tables import EventRow


def build_event_view(row: EventRow) -> EventView:
    """Build the view of an event numbered within its subject."""
    return make_view(EventView, row, object="event")


def build_owner_event_view(row: EventRow) -> OwnerEventView:
    """Build the view of an event numbered within the owner's stream."""
    assert row.owner_number is not None
    subject = {"object": row.subject_object, "id": row.subject_id}
    return make_view(OwnerEventView, row, object="event", id=row.owner_number, subject=subject)
