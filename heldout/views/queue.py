"""A job's place in the queue."""

from typing import Literal

from pydantic import Field

from heldout.views.base import View


class QueueView(View):
    """Where the job waits; all null when it is not queued."""

    object: Literal["queue"]
    position: int | None = Field(description="Counts from 1.")
    ahead: int | None
    waiting_for: Literal["worker", "gpu", "backoff"] | None
    estimated_start_s: float | None = Field(
        description="Estimated from the running jobs and the jobs ahead of this one; null where no estimate exists."
    )
