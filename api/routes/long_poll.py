"""The long poll of one job, study or evaluation: its body now, or once it is news."""

from collections.abc import Callable
from typing import Annotated, TypeVar

from fastapi import Header, Response
from starlette.concurrency import run_in_threadpool

from api.http import etag
from api.live.hub import ChannelState, Hub
from api.live.recent_events import Channel
from heldout.views.evaluation import EvaluationView
from heldout.views.job import JobView
from heldout.views.study import StudyView

MAX_WAIT_S = 60

Subject = TypeVar("Subject", JobView, StudyView, EvaluationView)
IfNoneMatch = Annotated[str | None, Header(alias="If-None-Match")]


def wait_text(what: str) -> str:
    """The description of `wait` in the OpenAPI document. what: `job`, `study` or `evaluation`."""
    return (
        f"Wait up to this many seconds: with `If-None-Match` until the version differs, without it until the {what} "
        "has ended."
    )


async def latest(
    hub: Hub,
    channel: Channel,
    find: Callable[[], Subject],
    response: Response,
    *,
    wait_s: float,
    if_none_match: str | None,
) -> Response | Subject:
    """The subject with its ETag; 304 where it still has the version of `If-None-Match`.

    Args:
        find: reads it from the database, in a thread; raises what the route answers where it is not there.
        wait_s: how long to wait until it is news: until its version differs, or without `if_none_match` until it ends.
    """

    def is_news(state: ChannelState) -> bool:
        return state.has_ended if if_none_match is None else not etag.matches(if_none_match, state.version)

    view = await run_in_threadpool(find)
    if wait_s and not is_news(ChannelState(view.version, has_ended=view.has_ended, last_event=0)):
        await hub.wait(channel, is_news, wait_s)
        view = await run_in_threadpool(find)
    headers = {"ETag": etag.etag_of(view.version)}
    if if_none_match is not None and etag.matches(if_none_match, view.version):
        return Response(status_code=304, headers=headers)
    response.headers.update(headers)
    return view
