"""A job's place in the queue."""

from typing import Literal

from pydantic import Field

from heldout.views.base import View

WaitsFor = Literal["worker", "gpu", "memory", "backoff"]


class QueueView(View):
    """Where the job waits; all null when it is not queued."""

    object: Literal["queue"]
    position: int | None = Field(description="Among the jobs of the same owner, from 1.")
    ahead: int | None = Field(
        description="Jobs of the same owner that start before it; between owners the fair share decides."
    )
    waiting_for: WaitsFor | None = Field(
        description="`memory`: the workers have too little of it left, whether or not they have a free slot. `worker`: "
        "a free slot, or a worker of a release that can read the job's spec. `backoff`: a moment, after a failure."
    )
    estimated_start_s: float | None = Field(
        description="Estimated from the jobs that run, those that start before it, also of others, and the owner's "
        "quotas; null where no estimate exists."
    )
