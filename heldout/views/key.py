"""API keys."""

from typing import Literal

from pydantic import Field

from heldout.access.scopes import Scope
from heldout.views.base import Time, View
from heldout.views.page import Page


class KeyView(View):
    """A key without its secret, which is not kept."""

    id: str
    object: Literal["key"]
    scopes: list[Scope] = Field(description="`read`, `write`: to change, `admin`: for keys and the audit log.")
    made_by: str | None = Field(description="The id of the key by which it was made; null: by the operator.")
    created_at: Time
    expires_at: Time | None = Field(description="From then on it is refused; null: it has no end.")
    last_used_at: Time | None = Field(description="Known some seconds later; null: never.")
    revoked_at: Time | None


class NewKeyView(KeyView):
    """A key that was just made; `key` is shown this once."""

    key: str = Field(description="`ho_<id>_<secret>`, for the Authorization header.")


class KeyPage(Page[KeyView]):
    """Part of the owner's keys, oldest first; `next` is the `after` of the following part."""
