"""Passes requests for predictions on to the processes that answer them (`predict/`), and their answers back."""

import asyncio
from collections.abc import AsyncIterator
from urllib.parse import urlsplit
from weakref import WeakValueDictionary

import httpcore2
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from heldout.errors import InvalidForm, PredictionsUnavailable

# A model that nobody has asked for yet is exported and loaded meanwhile.
TIMEOUT_S = 90.0
CONNECT_TIMEOUT_S = 5.0
TURN_TIMEOUT_S = 30.0
# `OTHER_OPEN_FILES` of `api/connections/server.py` has room for them.
MAX_CONNECTIONS = 256
# Of those, at the same time, for one key or one owner: nobody takes all.
MAX_EACH = 32
# A body that is not larger is received whole before it takes a connection: a slow client then holds none.
SMALL_BODY_BYTES = 64 * 1024
# Below the five seconds after which uvicorn closes a connection that rests.
KEEP_ALIVE_S = 4.0
PASSED_ON = frozenset({b"accept", b"content-type", b"inference-header-content-length"})
GIVEN_BACK = frozenset(
    {
        *("allow", "content-type", "inference-header-content-length", "ratelimit", "ratelimit-policy"),
        *("retry-after", "www-authenticate"),
    }
)
NOBODY = (
    "No process for predictions answers. `heldout up` starts one; elsewhere the operator runs `python -m predict` and "
    "sets HELDOUT_PREDICT_URL."
)
TOO_MANY = "Too many predictions are asked for at once."


class Body:
    """The body of a request: the small ones whole, of the others their beginning and what comes after it."""

    def __init__(self, request: Request) -> None:
        self._stream = request.stream()
        self._length = request.headers.get("content-length")
        self._beginning = bytearray()
        self.is_whole = True
        self.can_repeat = True

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
    def framing(self) -> tuple[bytes, bytes]:
        """The header that says where the body ends."""
        if self.is_whole:
            return b"Content-Length", str(len(self._beginning)).encode()
        if self._length is None:
            return b"Transfer-Encoding", b"chunked"
        return b"Content-Length", self._length.encode()

    def content(self) -> bytes | AsyncIterator[bytes]:
        return bytes(self._beginning) if self.is_whole else self._chunks()

    async def _chunks(self) -> AsyncIterator[bytes]:
        self.can_repeat = False
        yield bytes(self._beginning)
        async for chunk in self._taken():
            yield chunk

    async def _taken(self) -> AsyncIterator[bytes]:
        try:
            async for chunk in self._stream:
                if chunk:
                    yield chunk
        except ClientDisconnect:
            raise InvalidForm("The connection ended in the middle of the body.") from None


class Predictions:
    """The connections of one API process."""

    def __init__(self, url: str | None) -> None:
        """url: where the processes listen; None where there are none."""
        self._url = None if url is None else urlsplit(url)
        self._pool = httpcore2.AsyncConnectionPool(
            max_connections=MAX_CONNECTIONS, keepalive_expiry=KEEP_ALIVE_S, retries=1
        )
        self._turns: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()

    async def answer(self, request: Request, body: Body, *, credential: str, who: str, request_id: str) -> Response:
        """What a process for predictions says to the request. It checks the key and counts the request.

        Args:
            credential: the key or the session that the request bears.
            who: the key or the owner, for whom only so many requests are passed on at once.
        Raises: PredictionsUnavailable, InvalidForm.
        """
        if self._url is None:
            raise PredictionsUnavailable(NOBODY)
        query: bytes = request.scope["query_string"]
        target = request.scope["raw_path"] + (b"?" + query if query else b"")
        url = httpcore2.URL(scheme="http", host=self._url.hostname or "", port=self._url.port or 80, target=target)
        headers = [(name, value) for name, value in request.headers.raw if name in PASSED_ON]
        headers += [(b"Host", self._url.netloc.encode()), (b"X-Request-ID", request_id.encode()), body.framing]
        if credential:
            headers.append((b"Authorization", f"Bearer {credential}".encode()))
        turn = self._turns.setdefault(who, asyncio.Semaphore(MAX_EACH))
        try:
            await asyncio.wait_for(turn.acquire(), TURN_TIMEOUT_S)
        except TimeoutError:
            raise PredictionsUnavailable(TOO_MANY) from None
        try:
            return await self._sent(request.method, url, headers, body)
        finally:
            turn.release()

    async def close(self) -> None:
        await self._pool.aclose()

    async def _sent(self, method: str, url: httpcore2.URL, headers: list[tuple[bytes, bytes]], body: Body) -> Response:
        for is_last in (False, True):
            try:
                return await self._asked(method, url, headers, body)
            except httpcore2.PoolTimeout:
                raise PredictionsUnavailable(TOO_MANY) from None
            except httpcore2.ConnectTimeout:
                raise PredictionsUnavailable(NOBODY) from None
            except httpcore2.TimeoutException:
                raise PredictionsUnavailable(f"The process for predictions took more than {TIMEOUT_S:g} s.") from None
            except (httpcore2.NetworkError, httpcore2.ProtocolError):
                # A process that ends closes connections that rest: the next one answers.
                if is_last or not body.can_repeat:
                    raise PredictionsUnavailable(NOBODY) from None
        raise AssertionError("the last round answers or raises")

    async def _asked(self, method: str, url: httpcore2.URL, headers: list[tuple[bytes, bytes]], body: Body) -> Response:
        timeout = {"read": TIMEOUT_S, "write": TIMEOUT_S, "pool": TURN_TIMEOUT_S, "connect": CONNECT_TIMEOUT_S}
        answer = await self._pool.request(
            method, url, headers=headers, content=body.content(), extensions={"timeout": timeout}
        )
        kept = {
            name.decode("ascii"): value.decode("latin-1")
            for name, value in answer.headers
            if name.decode("ascii").lower() in GIVEN_BACK
        }
        return Response(answer.content, answer.status, headers=kept)
