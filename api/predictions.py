"""Passes requests for predictions on to the processes that answer them (`predict/`), and their answers back."""

from collections.abc import AsyncIterator, Mapping
from urllib.parse import urlsplit

import httpcore2
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from heldout.errors import InvalidForm, PredictionsUnavailable

# A model that nobody has asked for yet is exported and loaded meanwhile.
TIMEOUT_S = 90.0
CONNECT_TIMEOUT_S = 5.0
MAX_CONNECTIONS = 100
# Below the five seconds after which uvicorn closes a connection that rests.
KEEP_ALIVE_S = 4.0
PASSED_ON = ("accept", "content-length", "content-type", "inference-header-content-length")
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


class Predictions:
    """The connections of one API process."""

    def __init__(self, url: str | None) -> None:
        """url: where the processes listen; None where there are none."""
        self._url = None if url is None else urlsplit(url)
        self._pool = httpcore2.AsyncConnectionPool(
            max_connections=MAX_CONNECTIONS, keepalive_expiry=KEEP_ALIVE_S, retries=1
        )

    async def answer(self, request: Request, credential: str, request_id: str) -> Response:
        """What a process for predictions says to the request. It checks the key and counts the request.

        Args: credential is the key or the session that the request bears.
        Raises: PredictionsUnavailable, InvalidForm.
        """
        if self._url is None:
            raise PredictionsUnavailable(NOBODY)
        query: bytes = request.scope["query_string"]
        target = request.scope["raw_path"] + (b"?" + query if query else b"")
        url = httpcore2.URL(scheme="http", host=self._url.hostname or "", port=self._url.port or 80, target=target)
        headers = {name: request.headers[name] for name in PASSED_ON if name in request.headers}
        headers |= {"Host": self._url.netloc, "X-Request-ID": request_id}
        if credential:
            headers["Authorization"] = f"Bearer {credential}"
        if "transfer-encoding" in request.headers:
            headers["Transfer-Encoding"] = "chunked"
        has_body = "content-length" in headers or "transfer-encoding" in request.headers
        body = _Body(request)
        for is_last in (False, True):
            try:
                return await self._sent(request.method, url, headers, body if has_body else None)
            except ClientDisconnect:
                raise InvalidForm("The connection ended in the middle of the body.") from None
            except httpcore2.TimeoutException:
                raise PredictionsUnavailable(f"The process for predictions took more than {TIMEOUT_S:g} s.") from None
            except (httpcore2.NetworkError, httpcore2.ProtocolError):
                # A process that ends closes connections that rest: if nothing was sent yet, the next one answers.
                if is_last or (body.has_begun and has_body):
                    raise PredictionsUnavailable(NOBODY) from None
        raise AssertionError("the last round answers or raises")

    async def close(self) -> None:
        await self._pool.aclose()

    async def _sent(
        self, method: str, url: httpcore2.URL, headers: Mapping[str, str], body: AsyncIterator[bytes] | None
    ) -> Response:
        timeout = dict.fromkeys(("read", "write", "pool"), TIMEOUT_S) | {"connect": CONNECT_TIMEOUT_S}
        answer = await self._pool.request(
            method, url, headers=list(headers.items()), content=body, extensions={"timeout": timeout}
        )
        kept = {
            name.decode("ascii"): value.decode("latin-1")
            for name, value in answer.headers
            if name.decode("ascii").lower() in GIVEN_BACK
        }
        return Response(answer.content, answer.status, headers=kept)


class _Body:
    """The body of a request as it comes. has_begun: whether some of it was taken."""

    def __init__(self, request: Request) -> None:
        self._stream = request.stream()
        self.has_begun = False

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        chunk = await anext(self._stream)
        self.has_begun = True
        return chunk
