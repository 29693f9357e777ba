"""Usage as its view."""

from collections.abc import Sequence

from heldout.views.usage import Bucket, Group, QuotaView, UsageBucket, UsageView
from models.usage import QuotaState, Used


def usage_view(
    bucket: Bucket, group_by: Group | None, buckets: Sequence[Used], quotas: Sequence[QuotaState]
) -> UsageView:
    """What an owner sees of its own usage."""
    return UsageView(
        object="usage",
        bucket=bucket,
        group_by=group_by,
        data=[
            UsageBucket(
                start=one.start, key_id=one.key_id, kind=one.kind, jobs=one.jobs, slot_seconds=round(one.slot_s, 3)
            )
            for one in buckets
        ],
        quotas=[QuotaView(quota=one.quota, used=round(one.used, 3), allowed=one.allowed) for one in quotas],
    )
