"""API keys."""

from typing import Literal

from pydantic import Field

from heldout.views.base import Time, View
from heldout.views.page import Page


class KeyView(View):
    """A key without its secret, which is not kept."""

    id: str
    object: Literal["key"]
    created_at: Time
    revoked_at: Time | None


class NewKeyView(KeyView):
    """A key that was just made; `key` is shown this once."""

    key: str = Field(description="`ho_<id>_<secret>`, for the Authorization header.")


class KeyPage(Page[KeyView]):
    """Part of the owner's keys, oldest first; `next` is the `after` of the following part."""
