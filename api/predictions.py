"""Passes requests for predictions on to the processes that answer them (`predict/`), and their answers back.

`api/passed_on.py` decides which requests these are. The client is aiohttp: docs/decisions/0015 says why.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from weakref import WeakValueDictionary

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from api.departure import Departure
from heldout.errors import InvalidForm, PredictionsUnavailable

if TYPE_CHECKING:
    import aiohttp

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
# A larger answer is passed on as its client takes it.
LARGE_ANSWER_BYTES = 64 * 1024
# So much of it is read at a time: a client at the least rate takes that within half a minute, after which the process
# would cut us off.
READ_BYTES = 16 * 1024
# Below the five seconds after which uvicorn closes a connection that rests.
KEEP_ALIVE_S = 4.0
PASSED_ON = frozenset({b"accept", b"content-type", b"inference-header-content-length"})
GIVEN_BACK = frozenset(
    {
        *(b"allow", b"content-type", b"inference-header-content-length", b"ratelimit", b"ratelimit-policy"),
        *(b"retry-after", b"www-authenticate"),
    }
)
NOBODY = (
    "No process for predictions answers. `heldout up` starts one; elsewhere the operator runs `python -m predict` and "
    "sets HELDOUT_PREDICT_URL."
)
TOO_MANY = "Too many predictions are asked for at once."
CUT = "The connection ended in the middle of the body."


class Body:
    """The body of a request: the small ones whole, of the others their beginning and what comes after it.

    has_ended: whether all of it has come. is_cut: whether it has ended too early.
    """

    def __init__(self, request: Request) -> None:
        self._stream = request.stream()
        self._length = request.headers.get("content-length")
        self._beginning = bytearray()
        self.is_whole = True
        self.can_repeat = True
        self.has_ended = request.method == "GET"
        self.is_cut = False

    @classmethod
    async def of(cls, request: Request) -> "Body":
        """The body, as soon as all of it or more than a small one is there; none of a GET. Raises InvalidForm."""
        body = cls(request)
        if request.method != "GET":
            async for chunk in body._taken():
                body._beginning += chunk
                if len(body._beginning) > SMALL_BODY_BYTES:
                    body.is_whole = False
                    break
        return body

    @property
    def length(self) -> str | None:
        """How many bytes it says that it has, where it is not whole yet."""
        return None if self.is_whole else self._length

    def content(self, on_end: Callable[[], None]) -> bytes | AsyncIterator[bytes]:
        """What is sent of it; on_end is called once it is whole."""
        if self.is_whole:
            on_end()
            return bytes(self._beginning)
        return self._chunks(on_end)

    async def _chunks(self, on_end: Callable[[], None]) -> AsyncIterator[bytes]:
        self.can_repeat = False
        yield bytes(self._beginning)
        async for chunk in self._taken():
            yield chunk
        on_end()

    async def _taken(self) -> AsyncIterator[bytes]:
        try:
            async for chunk in self._stream:
                if chunk:
                    yield chunk
            self.has_ended = True
        except ClientDisconnect:
            self.is_cut = True
            raise InvalidForm(CUT) from None


class Predictions:
    """The connections of one API process."""

    def __init__(self, url: str | None) -> None:
        """url: where the processes listen; None where there are none."""
        self._url = None if url is None else urlsplit(url)
        self._session: aiohttp.ClientSession | None = None
        self._turns: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()
        self._places = asyncio.Semaphore(MAX_CONNECTIONS)

    @property
    def has_processes(self) -> bool:
        return self._url is not None

    async def answer(self, request: Request, body: Body, *, credential: str, owner: str, request_id: str) -> Response:
        """What a process for predictions says to the request. It checks the key and counts the request.

        Args:
            credential: the key or the session that the request bears.
            owner: whose that is; for one only so many requests are passed on at once. Empty for requests without a key.
        Raises: PredictionsUnavailable, InvalidForm, ClientLeft.
        """
        if self._url is None:
            raise PredictionsUnavailable(NOBODY)
        headers = [(name.decode(), _text(value)) for name, value in request.headers.raw if name in PASSED_ON]
        headers += [("Host", self._url.netloc), ("X-Request-ID", request_id)]
        if credential:
            headers.append(("Authorization", f"Bearer {credential}"))
        if body.length is not None:
            headers.append(("Content-Length", body.length))
        turn = self._turns.setdefault(owner, asyncio.Semaphore(MAX_EACH))
        async with AsyncExitStack() as held:
            for places in (turn, self._places):
                await _take(places)
                held.callback(places.release)
            answer = await self._sent(request, headers, body, held)
            if isinstance(answer, _Streamed):
                answer.held = held.pop_all()
            return answer

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    async def _sent(
        self, request: Request, headers: list[tuple[str, str]], body: Body, held: AsyncExitStack
    ) -> Response:
        import aiohttp

        for is_last in (False, True):
            try:
                return await self._asked(request, headers, body, held)
            except aiohttp.SocketTimeoutError:
                raise PredictionsUnavailable(f"The process for predictions took more than {TIMEOUT_S:g} s.") from None
            except aiohttp.ConnectionTimeoutError:
                raise PredictionsUnavailable(NOBODY) from None
            except aiohttp.ClientError:
                if body.is_cut:
                    raise InvalidForm(CUT) from None
                # A process that ends closes connections that rest: the next one answers.
                if is_last or not body.can_repeat:
                    raise PredictionsUnavailable(NOBODY) from None
        raise AssertionError("the last round answers or raises")

    async def _asked(
        self, request: Request, headers: list[tuple[str, str]], body: Body, held: AsyncExitStack
    ) -> Response:
        """held: what a large answer keeps until all of it is sent."""
        import yarl

        assert self._url is not None
        query: bytes = request.scope["query_string"]
        url = yarl.URL.build(
            scheme="http",
            host=self._url.hostname or "",
            port=self._url.port or 80,
            path=request.scope["raw_path"].decode("ascii"),
            query_string=query.decode("ascii"),
            encoded=True,
        )
        limit = asyncio.timeout(None)
        departure = Departure(request.receive, lambda: limit.reschedule(asyncio.get_running_loop().time()))
        try:
            async with limit:
                answer = await held.enter_async_context(
                    self._opened().request(
                        request.method,
                        url,
                        headers=headers,
                        data=body.content(departure.begin),
                        # What is refused by its head is refused before its body is sent.
                        expect100=not body.is_whole,
                        allow_redirects=False,
                    )
                )
                is_large = (answer.content_length or 0) > LARGE_ANSWER_BYTES
                content = b"" if is_large else await answer.read()
        except TimeoutError:
            departure.require_client()
            raise
        finally:
            departure.end()
        kept = {
            name.decode("ascii"): value.decode("latin-1")
            for name, value in answer.raw_headers
            if name.lower() in GIVEN_BACK
        }
        if is_large:
            kept["Content-Length"] = str(answer.content_length)
            return _Streamed(answer.content.iter_chunked(READ_BYTES), answer.status, headers=kept)
        return Response(content, answer.status, headers=kept)

    def _opened(self) -> "aiohttp.ClientSession":
        if self._session is None:
            # Most services are never asked, and need not have it in memory.
            import aiohttp

            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=KEEP_ALIVE_S),
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT_S, sock_read=TIMEOUT_S),
                skip_auto_headers=("Accept", "Accept-Encoding", "Content-Type", "User-Agent"),
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                read_bufsize=READ_BYTES,
            )
        return self._session


class _Streamed(StreamingResponse):
    """A large answer, passed on as its client takes it. It keeps its place and its connection until then."""

    held: AsyncExitStack

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with self.held:
            await super().__call__(scope, receive, send)


async def _take(turns: asyncio.Semaphore) -> None:
    """Raises PredictionsUnavailable: it was nobody's turn to go for too long."""
    if not turns.locked():
        await turns.acquire()
        return
    try:
        async with asyncio.timeout(TURN_TIMEOUT_S):
            await turns.acquire()
    except TimeoutError:
        raise PredictionsUnavailable(TOO_MANY) from None


def _text(value: bytes) -> str:
    """A header's value so that UTF-8, which is what aiohttp writes, gives its bytes again; else as Latin 1."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")
