"""Passes requests for predictions on to the processes that answer them (`predict/`), and their answers back.

The client is aiohttp: docs/decisions/0015 says why.
"""

import asyncio
from collections.abc import AsyncIterator
from functools import cached_property
from typing import Any

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response, StreamingResponse
from structlog.contextvars import get_contextvars

from api.departure import DisconnectWatcher
from api.http.browser import SESSION_COOKIE
from api.http.context import get_current_context
from api.turns import Turns
from heldout.errors import PredictionsUnavailable
from models.store import keys

# A model that nobody has asked for yet is exported and loaded meanwhile.
TIMEOUT_S = 90.0
CONNECT_TIMEOUT_S = 5.0
TURN_TIMEOUT_S = 30.0
# `OTHER_OPEN_FILES` of `api/connections/server.py` has room for them.
MAX_CONNECTIONS = 256
# Of those, at the same time, for one owner: nobody takes all, with however many keys.
MAX_EACH = 32
# A body that is not larger is received whole before it takes a connection: a slow client then holds none.
SMALL_BODY_BYTES = 64 * 1024
# A larger answer is passed on as its client takes it, so much at a time: a client at the least rate takes that within
# half a minute, after which the process would cut us off.
LARGE_ANSWER_BYTES, READ_BYTES = 64 * 1024, 16 * 1024
# Below the five seconds after which uvicorn closes a connection that rests.
KEEP_ALIVE_S = 4.0
OF_BODIES = frozenset({b"content-length", b"content-type", b"inference-header-content-length"})
GIVEN_BACK = OF_BODIES | {b"allow", b"ratelimit", b"ratelimit-policy", b"retry-after"}
NOBODY = (
    "No process for predictions answers. `heldout up` starts one; elsewhere the operator runs `python -m predict` and "
    "sets HELDOUT_PREDICT_URL."
)


class PredictProxy:
    """The connections of one API process."""

    is_here = False

    def __init__(self, url: str | None) -> None:
        """url: where the processes listen; None where there are none."""
        self._url = url
        self._turns = Turns(MAX_CONNECTIONS, per_group=MAX_EACH)

    async def predict(self, request: Request, *_: object) -> Response:
        return await self.pass_on(request)

    async def pass_on(self, request: Request) -> Response:
        """What a process says to the request. It checks the key again, and counts the request.

        Raises: PredictionsUnavailable, ClientDisconnect.
        """
        if self._url is None:
            raise PredictionsUnavailable(NOBODY)
        # Most services are never asked, and need not have it in memory.
        import aiohttp
        import yarl

        context, chunks, beginning, is_whole = get_current_context(), request.stream(), bytearray(), True
        if request.method != "GET":
            async for chunk in chunks:
                beginning += chunk
                if len(beginning) > SMALL_BODY_BYTES:
                    is_whole = False
                    break
        try:
            async with asyncio.timeout(TURN_TIMEOUT_S):
                turn = await self._turns.take(context.caller.owner if context.key else "")
        except TimeoutError:
            raise PredictionsUnavailable("Too many predictions are asked for at once.") from None
        context.held.callback(turn.end)
        path, query = request.scope["raw_path"].decode("ascii"), request.scope["query_string"].decode("ascii")
        url = yarl.URL(f"{self._url}{path}{'?' if query else ''}{query}", encoded=True)
        limit = asyncio.timeout(None)
        departure = DisconnectWatcher(request.receive, lambda: limit.reschedule(0))

        async def body() -> AsyncIterator[bytes]:
            yield bytes(beginning)
            async for chunk in chunks:
                yield chunk
            departure.begin()

        if is_whole:
            departure.begin()
        try:
            async with limit:
                answer = await self._session.request(
                    request.method,
                    url,
                    headers=_build_headers(request),
                    data=bytes(beginning) if is_whole else body(),
                    # What is refused by its head is refused before its body is sent.
                    expect100=not is_whole,
                    allow_redirects=False,
                )
                context.held.callback(answer.close)
                is_large = (answer.content_length or 0) > LARGE_ANSWER_BYTES
                content = b"" if is_large else await answer.read()
        except aiohttp.SocketTimeoutError:
            raise PredictionsUnavailable(f"The process for predictions took more than {TIMEOUT_S:g} s.") from None
        except (aiohttp.ClientError, TimeoutError):
            if departure.has_left or await request.is_disconnected():
                raise ClientDisconnect from None
            raise PredictionsUnavailable(NOBODY) from None
        finally:
            departure.end()
        raw = ((name.lower(), value) for name, value in answer.raw_headers)
        kept = {name.decode(): value.decode("latin-1") for name, value in raw if name in GIVEN_BACK}
        if is_large:
            return StreamingResponse(answer.content.iter_chunked(READ_BYTES), answer.status, kept)
        return Response(content, answer.status, kept)

    async def close(self) -> None:
        if "_session" in self.__dict__:
            await self._session.close()

    @cached_property
    def _session(self) -> Any:
        import aiohttp

        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=KEEP_ALIVE_S),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT_S, sock_read=TIMEOUT_S),
            skip_auto_headers=("Accept", "Accept-Encoding", "Content-Type", "User-Agent"),
            cookie_jar=aiohttp.DummyCookieJar(),
            read_bufsize=READ_BYTES,
        )


def _build_headers(request: Request) -> dict[str, str]:
    """What is passed on of the head. A browser's session goes on as if a page of the process itself had sent it."""
    names = {b"accept", *(OF_BODIES if request.method != "GET" else ())}
    # aiohttp writes UTF-8.
    headers = {name.decode(): value.decode(errors="replace") for name, value in request.headers.raw if name in names}
    headers["X-Request-ID"] = str(get_contextvars().get("request_id", ""))
    key = get_current_context().key
    if not key or keys.is_well_formed(key):
        return headers | {"Authorization": f"Bearer {key}"}
    return headers | {"Host": "predict", "Origin": "http://predict", "Cookie": f"{SESSION_COOKIE}http={key}"}
