"""What an owner has used of the service, and what it may take; and whether the service is well."""

from typing import Literal

from pydantic import Field

from heldout.access.quotas import Quota
from heldout.views.base import Time, View
from heldout.work.kinds import JobKind

Bucket = Literal["hour", "day"]
Group = Literal["key", "kind"]


class UsageBucket(View):
    """What jobs have used in an hour or a day."""

    start: Time
    key_id: str | None = Field(description="Of the key that asked for them; null where not grouped by it, or unknown.")
    kind: JobKind | None = Field(description="What they do; null where not grouped by it.")
    jobs: int = Field(description="How many have run, each counted once, when its first attempt ends.")
    slot_seconds: float = Field(description="A job for several GPUs takes as many slots.")


class QuotaView(View):
    """How much the owner has of something, and how much it may have."""

    quota: Quota
    used: float
    allowed: int | None = Field(description="Null where there is no bound.")


class UsageView(View):
    """Buckets in which something was used, oldest first, and the quotas as they are now."""

    object: Literal["usage"]
    bucket: Bucket
    group_by: Group | None
    data: list[UsageBucket]
    quotas: list[QuotaView]


class HealthView(View):
    """The service answers."""

    status: Literal["ok"]
