"""An API key's row as its view."""

from heldout.views.key import KeyView, NewKeyView
from models.tables import KeyRow


def key_view(row: KeyRow) -> KeyView:
    """The key as its owner sees it."""
    return KeyView(id=row.id, object="key", created_at=row.created_at, revoked_at=row.revoked_at)


def new_key_view(row: KeyRow, text: str) -> NewKeyView:
    """A key that was just made, with its text."""
    return NewKeyView(**key_view(row).model_dump(), key=text)
