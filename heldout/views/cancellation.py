"""What cancelling many jobs at once has done."""

from typing import Literal

from pydantic import Field

from heldout.views.base import View

MAX_CANCELLED_AT_ONCE = 1000


class CancellationView(View):
    """How many jobs one request has reached."""

    object: Literal["cancellation"]
    cancelled: int = Field(description="Were waiting, and are cancelled.")
    cancelling: int = Field(description="Are running; their workers were asked to cancel them.")
    has_more: bool = Field(description=f"One request reaches {MAX_CANCELLED_AT_ONCE} jobs; repeat it for the others.")
