"""An API key's row as its view."""

from heldout.views.key import KeyView, NewKeyView
from models.tables import KeyRow


def key_view(row: KeyRow) -> KeyView:
    """The key as its owner sees it."""
    return KeyView(
        id=row.id,
        object="key",
        scopes=row.scopes,
        made_by=row.made_by,
        created_at=row.created_at,
        expires_at=row.expires_at,
        last_used_at=row.last_used_at,
        revoked_at=row.revoked_at,
    )


def new_key_view(row: KeyRow, text: str) -> NewKeyView:
    """A key that was just made, with its text."""
    return NewKeyView(**key_view(row).model_dump(), key=text)
