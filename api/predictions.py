"""Forwards requests for predictions to the processes that answer them (`predict/`).

docs/decisions/0015 explains why the client is aiohttp.
"""

import asyncio
from collections.abc import AsyncIterator
from functools import cached_property
from typing import Any

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response, StreamingResponse
from structlog.contextvars import get_contextvars

from api.disconnects import DisconnectWatcher
from api.http.auth import SESSION_COOKIE
from api.http.context import get_current_context
from api.turns import Turns
from heldout.errors import PredictionsUnavailable
from models.store import keys

# On its first request, a model is exported and loaded within this time.
TIMEOUT_S = 90.0
CONNECT_TIMEOUT_S = 5.0
TURN_TIMEOUT_S = 30.0
# `OTHER_OPEN_FILES` of `api/connections/server.py` includes them.
MAX_CONNECTIONS = 256
# Connections for one owner at the same time, whatever the number of keys.
MAX_EACH = 32
# Bodies up to this size are received completely before they take a connection, so that slow clients hold none.
SMALL_BODY_BYTES = 64 * 1024
# Larger answers are forwarded in pieces as the client reads them. A client at the minimum rate reads a piece within
# half a minute; after that, the process would close the connection.
LARGE_ANSWER_BYTES, READ_BYTES = 64 * 1024, 16 * 1024
# Less than the five seconds after which uvicorn closes an idle connection.
KEEP_ALIVE_S = 4.0
BODY_HEADERS = frozenset({b"content-length", b"content-type", b"inference-header-content-length"})
RETURNED_HEADERS = BODY_HEADERS | {b"allow", b"ratelimit", b"ratelimit-policy", b"retry-after"}
NO_PROCESS = (
    "No process answers predictions. `heldout up` starts one. Otherwise the operator runs `python -m predict` and "
    "sets HELDOUT_PREDICT_URL."
)


class PredictProxy:
    """Connects one API process to the processes that answer predictions."""

    is_here = False

    def __init__(self, url: str | None) -> None:
        """url: the address of the prediction processes, or None without any."""
        self._url = url
        self._turns = Turns(MAX_CONNECTIONS, per_group=MAX_EACH)

    async def predict(self, request: Request, *_: object) -> Response:
        return await self.pass_on(request)

    async def pass_on(self, request: Request) -> Response:
        """Forward the request to a process, which checks the key again and counts the request.

        Raises: PredictionsUnavailable, ClientDisconnect.
        """
        if self._url is None:
            raise PredictionsUnavailable(NO_PROCESS)
        # Imported here to save memory, because most services never answer predictions.
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
            raise PredictionsUnavailable("Too many predictions are requested at once.") from None
        context.held.callback(turn.end)
        path, query = request.scope["raw_path"].decode("ascii"), request.scope["query_string"].decode("ascii")
        url = yarl.URL(f"{self._url}{path}{'?' if query else ''}{query}", encoded=True)
        limit = asyncio.timeout(None)
        client = DisconnectWatcher(request.receive, lambda: limit.reschedule(0))

        async def body() -> AsyncIterator[bytes]:
            yield bytes(beginning)
            async for chunk in chunks:
                yield chunk
            client.begin()

        if is_whole:
            client.begin()
        try:
            async with limit:
                answer = await self._session.request(
                    request.method,
                    url,
                    headers=_build_headers(request),
                    data=bytes(beginning) if is_whole else body(),
                    # A request refused by its head is refused before its body is sent.
                    expect100=not is_whole,
                    allow_redirects=False,
                )
                context.held.callback(answer.close)
                is_large = (answer.content_length or 0) > LARGE_ANSWER_BYTES
                content = b"" if is_large else await answer.read()
        except aiohttp.SocketTimeoutError:
            raise PredictionsUnavailable(
                f"The process that answers predictions took more than {TIMEOUT_S:g} s."
            ) from None
        except (aiohttp.ClientError, TimeoutError):
            if client.has_left or await request.is_disconnected():
                raise ClientDisconnect from None
            raise PredictionsUnavailable(NO_PROCESS) from None
        finally:
            client.end()
        raw = ((name.lower(), value) for name, value in answer.raw_headers)
        kept = {name.decode(): value.decode("latin-1") for name, value in raw if name in RETURNED_HEADERS}
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
    """Select the headers to forward. A browser's session is sent as if from a page of the process itself."""
    names = {b"accept", *(BODY_HEADERS if request.method != "GET" else ())}
    # aiohttp writes UTF-8.
    headers = {name.decode(): value.decode(errors="replace") for name, value in request.headers.raw if name in names}
    headers["X-Request-ID"] = str(get_contextvars().get("request_id", ""))
    key = get_current_context().key
    if not key or keys.is_well_formed(key):
        return headers | {"Authorization": f"Bearer {key}"}
    return headers | {"Host": "predict", "Origin": "http://predict", "Cookie": f"{SESSION_COOKIE}http={key}"}
