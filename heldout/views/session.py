"""Who is logged in."""

from typing import Literal

from pydantic import Field

from heldout.views.base import Time, View


class SessionView(View):
    """The owner whose jobs a browser, or the bearer of a key, sees."""

    object: Literal["session"]
    owner: str
    key_id: str = Field(description="The key that it stands for: it ends when that is revoked.")
    expires_at: Time | None = Field(description="Null where the request bears the key itself.")
