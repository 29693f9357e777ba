"""Long polls for changes of one job, study or evaluation, and the ETags of versions."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

from fastapi import Depends, Header, Query, Response
from starlette.concurrency import run_in_threadpool

from api.http.deps import AppContextDep
from api.live.hub import Hub
from api.live.source import Channel, ChannelState
from heldout.errors import InvalidParameter
from heldout.views.job import JobView
from heldout.views.model import EvaluationView
from heldout.views.study import StudyView

MAX_WAIT_S = 60
_TAG = re.compile(r'(?:W/)?"([^"]*)"')
_LIST = re.compile(rf"\s*{_TAG.pattern}\s*(?:,\s*(?:{_TAG.pattern}\s*)?)*")

Subject = TypeVar("Subject", JobView, StudyView, EvaluationView)


def write_etag(version: int) -> str:
    """Format the strong ETag of a version."""
    return f'"{version}"'


def allows_change(if_match: str, version: int) -> bool:
    """Return whether If-Match (`*` or comma-separated tags) contains this version. Weak tags never match.

    Raises:
        InvalidParameter: if the header is malformed.
    """
    if if_match.strip() == "*":
        return True
    if not _LIST.fullmatch(if_match):
        raise InvalidParameter(
            f'`If-Match`: received {if_match[:100]!r}; expected `*` or quoted ETags, such as "{version}".'
        )
    return any(tag[0] == write_etag(version) for tag in _TAG.finditer(if_match))


def describe_not_changed(what: str) -> dict[int | str, dict[str, Any]]:
    """Document the 304 response. what: `job`, `study` or `evaluation`."""
    return {304: {"description": f"The {what} still has the version of `If-None-Match`."}}


@dataclass(frozen=True)
class LongPoll:
    """The version of a subject that a client knows, and how long it waits for a newer one."""

    hub: Hub
    response: Response
    wait_s: float
    if_none_match: str | None

    async def wait_for_latest(self, channel: Channel, find: Callable[[], Subject]) -> Response | Subject:
        """Answer with the subject and its ETag, or with 304 if it still has the version of `If-None-Match`.

        Waits up to `wait_s` for the version to change, or, without `If-None-Match`, for the subject to end.

        Args:
            find: reads the subject from the database. Runs in a thread and raises if the subject is missing.
        """
        view = await run_in_threadpool(find)
        version, waits_for_end = view.version, self.if_none_match is None

        def is_news(state: ChannelState) -> bool:
            # The hub may have seen the state before this request read a newer version.
            is_new = state.version > version and not self._knows(state.version)
            return state.has_ended if waits_for_end else is_new

        if self.wait_s and not (view.has_ended if waits_for_end else not self._knows(version)):
            await self.hub.wait(channel, is_news, self.wait_s)
            view = await run_in_threadpool(find)
        headers = {"ETag": write_etag(view.version)}
        if self._knows(view.version):
            return Response(status_code=304, headers=headers)
        self.response.headers.update(headers)
        return view

    def _knows(self, version: int) -> bool:
        """Return whether If-None-Match (comma-separated tags, which may be weak, or `*`) contains this version."""
        known = self.if_none_match
        return known is not None and (known.strip() == "*" or str(version) in _TAG.findall(known))


def make_long_poll(what: str) -> Any:
    """Make the dependency that reads `wait` and `If-None-Match`. what: `job`, `study` or `evaluation`."""
    text = f"Wait up to this many seconds: with `If-None-Match` for a new version, otherwise for the {what} to end."

    async def read(
        app: AppContextDep,
        response: Response,
        wait: Annotated[float, Query(ge=0, le=MAX_WAIT_S, description=text)] = 0,
        if_none_match: Annotated[str | None, Header(alias="If-None-Match")] = None,
    ) -> LongPoll:
        return LongPoll(app.hub, response, wait, if_none_match)

    return Depends(read)
