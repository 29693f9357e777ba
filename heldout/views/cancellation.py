"""What cancelling many jobs at once has done."""

from typing import Literal

from pydantic import Field

from heldout.views.base import View

MAX_CANCELLED_AT_ONCE = 1000
MAX_NAMED_AT_ONCE = 200  # as many as a page of the list


class NamedCancellationView(View):
    """What has become of one of the jobs that the request names."""

    id: str
    status: Literal["cancelled", "cancelling"] | None = Field(description="null where it cannot be cancelled.")
    code: str | None = Field(description="Why not: `job_not_found`, `job_finished`.")


class CancellationView(View):
    """How many jobs one request has reached."""

    object: Literal["cancellation"]
    cancelled: int = Field(description="Were waiting, and are cancelled.")
    cancelling: int = Field(description="Are running; their workers were asked to cancel them.")
    has_more: bool = Field(description=f"One request reaches {MAX_CANCELLED_AT_ONCE} jobs; repeat it for the others.")
    jobs: list[NamedCancellationView] = Field(
        [], description="Each of the `ids` of the request, in their order; absent without them."
    )
