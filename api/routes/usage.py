"""Usage, quotas and the activity log of the caller's owner: who did what to what, from where."""

from datetime import UTC, datetime, timedelta
from typing import Annotated

from fastapi import Query

from api.http.deps import ReadContext
from api.http.parameters import AskedPage, Moment, make_page, make_page_dependency
from api.http.routing import make_router
from heldout.errors import InvalidParameter
from heldout.views.account import ActivityPage, ActivityView, Bucket, Group, UsageView
from heldout.views.base import make_view
from models.store import activity, owners

router = make_router("/v1/usage", "usage")

# The longest period of one answer and its default, in days.
MOST_DAYS = {"hour": 31, "day": 366}
USUAL_DAYS = {"hour": 1, "day": 30}
# Limit for one answer. A month has this many buckets by key if a dozen keys are used every hour.
MOST_BUCKETS = 10_000
YEARS = 1970, 9000


@router.get("")
def get_usage(
    context: ReadContext,
    from_: Annotated[
        Moment | None,
        Query(alias="from", description="A time in the first hour or day of the period. Without a time zone: UTC."),
    ] = None,
    to: Annotated[Moment | None, Query(description="The exclusive end of the period. Default: now.")] = None,
    bucket: Annotated[Bucket, Query(description="The length of each bucket. Days are in UTC.")] = "hour",
    group_by: Annotated[Group | None, Query(description="Split each bucket by key or by kind of work.")] = None,
) -> UsageView:
    """Get the number of jobs run and the slot-seconds used, by hour or day, and your quotas."""
    end = datetime.now(UTC) if to is None else _convert_to_utc(to)
    begin = end - timedelta(days=USUAL_DAYS[bucket]) if from_ is None else _convert_to_utc(from_)
    if begin >= end:
        raise InvalidParameter(f"`from` is {begin.isoformat()} and `to` is {end.isoformat()}. Send an earlier `from`.")
    if end - begin > timedelta(days=MOST_DAYS[bucket]):
        raise InvalidParameter(
            f"`from` and `to` are {(end - begin).days} days apart; expected at most {MOST_DAYS[bucket]} with "
            f"`bucket={bucket}`."
        )
    buckets = owners.list_buckets(context.session, context.owner, begin, end, bucket=bucket, group_by=group_by)
    if len(buckets) > MOST_BUCKETS:
        raise InvalidParameter(
            f"The period has {len(buckets):,} buckets; expected at most {MOST_BUCKETS:,}. Request fewer days, use "
            "`bucket=day`, or omit `group_by`."
        )
    return UsageView(
        object="usage",
        bucket=bucket,
        group_by=group_by,
        data=list(buckets),
        quotas=owners.list_quotas(context.session, context.owner),
    )


def _convert_to_utc(moment: datetime) -> datetime:
    if not YEARS[0] <= moment.year <= YEARS[1]:
        raise InvalidParameter(
            f"Received {moment.isoformat()}. Send a time between the years {YEARS[0]} and {YEARS[1]}."
        )
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


activity_router = make_router("/v1/activity", "activity", scope="admin")

Page = Annotated[AskedPage, make_page_dependency("aud")]
Action = Annotated[str | None, Query(max_length=160, description="Only this action, such as `submit_job`.")]
Key = Annotated[str | None, Query(max_length=160, description="Only changes made with the key of this id.")]
Subject = Annotated[str | None, Query(max_length=160, description="Only changes of this id or name.")]


@activity_router.get("")
def list_activity(
    context: ReadContext,
    asked: Page,
    action: Action = None,
    key: Key = None,
    subject: Subject = None,
) -> ActivityPage:
    """List who changed what, newest first. Requests that only read or were refused are not listed."""
    rows, more = activity.list_page(
        context.session, context.owner, after=asked.after, limit=asked.limit, action=action, key_id=key, subject=subject
    )
    data = [make_view(ActivityView, row, object="activity_entry") for row in rows]
    return make_page(ActivityPage, data, has_more=more)
