"""What an owner has used, the owner's quotas, and the health of the service."""

from typing import Literal

from pydantic import Field

from heldout.access.quotas import Quota
from heldout.views.base import Time, View
from heldout.work.kinds import JobKind

Bucket = Literal["hour", "day"]
Group = Literal["key", "kind"]


class UsageBucket(View):
    """What jobs used in one hour or day."""

    start: Time
    key_id: str | None = Field(description="Id of the key that ordered them; null if not grouped by it, or unknown.")
    kind: JobKind | None = Field(description="Kind of work; null if not grouped by it.")
    jobs: int = Field(description="Jobs that ran; each counts once, when its first attempt ends.")
    slot_seconds: float = Field(description="Seconds times slots; a job for several GPUs takes that many slots.")


class QuotaView(View):
    """How much of a quota the owner has used, and how much is allowed."""

    quota: Quota
    used: float
    allowed: int | None = Field(description="Null if there is no limit.")


class UsageView(View):
    """Buckets with usage, oldest first, and the current quotas."""

    object: Literal["usage"]
    bucket: Bucket
    group_by: Group | None
    data: list[UsageBucket]
    quotas: list[QuotaView]


class HealthView(View):
    """The service is running."""

    status: Literal["ok"]
