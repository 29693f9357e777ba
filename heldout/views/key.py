"""API keys."""

from typing import Literal

from pydantic import Field

from heldout.views.base import Time, View


class KeyView(View):
    """A key without its secret, which is not kept."""

    id: str
    object: Literal["key"]
    created_at: Time
    revoked_at: Time | None


class NewKeyView(KeyView):
    """A key that was just made; `key` is shown this once."""

    key: str = Field(description="`ho_<id>_<secret>`, for the Authorization header.")
