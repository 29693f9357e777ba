"""The HTTP connection of a client. It repeats requests that are safe to repeat, and raises one of two exceptions.

It is written once, as coroutines. The wire below them (`heldout/client/wires.py`) blocks or awaits.
"""

import base64
import hashlib
import json
import os
import time
import uuid
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import urlsplit

import httpx2

from heldout import __version__
from heldout.client.failures import ApiProblem, NoService, make_problem
from heldout.client.locate import is_loopback
from heldout.client.wires import Wire
from heldout.errors import FieldError

TIMEOUT_S = 30.0
CONNECT_TIMEOUT_S = 5.0
# A service that has never answered is probably not running; one that has answered may be restarting.
FIRST_RETRY_FOR_S = 1.0
FIRST_PAUSE_S = 0.2
LONGEST_PAUSE_S = 5.0
UPLOAD_TIMEOUT_S = 600.0
# An idle stream of events sends a comment every 15 seconds.
STREAM_TIMEOUT_S = 45.0
EVENT_STREAM = "text/event-stream"
CHUNK_BYTES = 1024 * 1024
# Extensions of a request: its body can be sent only once; the request may be repeated.
ONE_TIME_BODY = "heldout.one_time_body"
REPEATABLE = "heldout.repeatable"


def _is_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


class Connection:
    """One service and one key, over HTTP. Threads may share it.

    Args:
        url, api_key, patience_s: as for `heldout.client.client.Client`.
        is_blocking: whether its coroutines run to the end in one step, or wait for an event loop.
        transport: how requests travel; for tests.
    Raises:
        NoService: if the address or the key is malformed.
    """

    def __init__(self, url: str, api_key: str, patience_s: float, *, is_blocking: bool, transport: Any = None) -> None:
        if not _is_address(url):
            raise NoService(f"Received the address {url!r}; expected one such as http://127.0.0.1:8000.")
        if not (api_key.isascii() and api_key.isprintable()):
            raise NoService(
                "The API key contains characters that no key has. Copy it again: it looks like `ho_<id>_<secret>`."
            )
        self.url = url.rstrip("/")
        self._patience_s = patience_s
        self._answered = False
        secure = url.startswith("https://")
        self._wire = Wire(
            is_blocking=is_blocking,
            base_url=self.url,
            headers={"Authorization": f"Bearer {api_key}", "User-Agent": f"heldout/{__version__}"},
            timeout=httpx2.Timeout(TIMEOUT_S, connect=CONNECT_TIMEOUT_S),
            transport=transport,
            # Certificates take a while to load. Requests to this machine never go through a proxy.
            verify=secure,
            trust_env=secure or not is_loopback(url),
        )

    async def pause(self, seconds: float) -> None:
        await self._wire.pause(seconds)

    async def close(self) -> None:
        await self._wire.close()

    async def send(self, method: str, path: str, **options: Any) -> httpx2.Response:
        """Send a request and return its complete answer. Options: those of `_request`.

        GET requests and `repeatable` ones are sent again after any failure of the connection. Others are sent again
        only if the service has received nothing or changed nothing.
        """
        return await self._answer(self._request(method, path, **options), whole=True)

    async def follow(self, path: str, *, after: int | None) -> AsyncGenerator[str]:
        """Yield the data of each server-sent event at a path, starting after the event `after`, or with the next one.

        When the stream breaks off, the client connects again and continues after the last event, until the service
        says that there will be no more events.
        """
        params = {"after": "latest" if after is None else after}
        headers = {"Accept": EVENT_STREAM}
        while True:
            request = self._request("GET", path, params=params, headers=headers, timeout_s=STREAM_TIMEOUT_S)
            response = await self._answer(request, whole=False)
            try:
                if response.status_code == 204:
                    return
                if not response.headers.get("Content-Type", "").startswith(EVENT_STREAM):
                    raise NoService(f"The server at {self.url} sends no events. Is it a Heldout service?")
                async for event in self._wire.iterate_events(response):
                    if event.id:
                        headers["Last-Event-ID"] = event.id
                    if event.data:
                        yield event.data
            except (httpx2.TransportError, httpx2.DecodingError):
                pass  # the next request shows whether the service still answers
            finally:
                await self._wire.release(response)
            await self._wire.pause(FIRST_PAUSE_S)

    async def download(self, path: str, to: Path) -> int:
        """Write the content of a path to a file, whole or not at all; returns its size in bytes."""
        response = await self._answer(self._request("GET", path), whole=False)
        size = 0
        try:
            with _write_atomically(to) as file:
                async for chunk in self._wire.iterate_chunks(response):
                    size += file.write(chunk)
            return size
        except (httpx2.TransportError, httpx2.DecodingError) as error:
            raise self._make_no_service(error) from None
        finally:
            await self._wire.release(response)

    async def upload(
        self,
        path: str,
        content: Path | str | bytes | Iterable[bytes],
        wrap_chunks: Callable[[Iterable[bytes]], Iterable[bytes]],
        *,
        method: str = "PUT",
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> httpx2.Response:
        """Send a file with its SHA-256, again from the beginning if the connection fails; or send chunks, once."""

        async def send(chunks: Iterable[bytes], more: Mapping[str, str]) -> httpx2.Response:
            request = self._wire.build_request(
                method,
                path,
                params=params,
                content=wrap_chunks(chunks),
                headers={"Content-Type": "application/octet-stream", **(headers or {}), **more},
                # The service answers after it has stored everything.
                timeout=httpx2.Timeout(UPLOAD_TIMEOUT_S, connect=CONNECT_TIMEOUT_S),
                extensions={REPEATABLE: False, ONE_TIME_BODY: True},
            )
            return await self._answer(request, whole=True)

        if not isinstance(content, Path | str):
            return await send([content] if isinstance(content, bytes) else content, {})
        file = Path(content)
        with file.open("rb") as opened:
            digest = base64.b64encode(hashlib.file_digest(opened, "sha256").digest()).decode()
        about = {"Content-Length": str(file.stat().st_size), "Content-Digest": f"sha-256=:{digest}:"}
        started = time.monotonic()
        while True:
            try:
                return await send(_read_chunks(file), about)
            except NoService:
                if not self._answered or time.monotonic() - started > self._patience_s:
                    raise
                await self._wire.pause(FIRST_PAUSE_S)

    def _request(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, Any] | None = None,
        body: Mapping[str, Any] | None = None,
        form: Mapping[str, str | tuple[str, bytes] | list[tuple[str, bytes]]] | None = None,
        headers: Mapping[str, str] | None = None,
        timeout_s: float = TIMEOUT_S,
        repeatable: bool = False,
    ) -> httpx2.Request:
        """Build a request.

        Args:
            params: those that are None are left out, and lists repeat theirs. The service may take `wait` seconds more.
            form: texts, and files as (name, content) or a list of these.
            repeatable: whether the request may be sent again after any failure of the connection.
        """
        everything = dict(headers or {})
        given = {name: value for name, value in (params or {}).items() if value is not None}
        if body is not None:
            everything["Content-Type"] = "application/json"
        return self._wire.build_request(
            method,
            path,
            params=given or None,  # an empty mapping would remove those of the path
            headers=everything,
            content=None if body is None else json.dumps(body).encode(),
            # A text is a part without a file name; as `data`, a form without files would be sent in another format.
            files=[
                (name, (None, item) if isinstance(item, str) else item)
                for name, part in (form or {}).items()
                for item in (part if isinstance(part, list) else [part])
            ],
            timeout=httpx2.Timeout(timeout_s + given.get("wait", 0), connect=CONNECT_TIMEOUT_S),
            extensions={REPEATABLE: repeatable or method == "GET"},
        )

    async def _answer(self, request: httpx2.Request, *, whole: bool) -> httpx2.Response:
        """Send a request, repeat it as long as that is safe and patience lasts, and return the answer.

        Args:
            whole: read the body, too.
        """
        started, pause_s = time.monotonic(), FIRST_PAUSE_S
        while True:
            failure: Exception
            try:
                response = await self._wire.send(request)
                is_of_proxy = response.status_code in {502, 504}  # the service behind it does not answer
                self._answered = self._answered or not is_of_proxy
                if whole or response.status_code >= 400:
                    await self._wire.read(response)
                if response.status_code < 400:
                    return response
                failure, wait_s = _build_problem(response), _get_retry_after(response)
                if ONE_TIME_BODY in request.extensions:
                    raise failure
                if is_of_proxy and request.extensions[REPEATABLE]:
                    wait_s, pause_s = pause_s, min(2 * pause_s, LONGEST_PAUSE_S)
            except (httpx2.TransportError, httpx2.DecodingError) as error:
                failure, wait_s = self._make_no_service(error), None
                if ONE_TIME_BODY not in request.extensions and (
                    request.extensions[REPEATABLE] or isinstance(error, httpx2.ConnectError | httpx2.ConnectTimeout)
                ):
                    wait_s, pause_s = pause_s, min(2 * pause_s, LONGEST_PAUSE_S)
            patience_s = self._patience_s if self._answered else min(self._patience_s, FIRST_RETRY_FOR_S)
            if wait_s is None or time.monotonic() + wait_s - started > patience_s:
                raise failure
            await self._wire.pause(wait_s)

    def _make_no_service(self, error: Exception) -> NoService:
        why = "it took too long" if isinstance(error, httpx2.TimeoutException) else str(error) or type(error).__name__
        return NoService(f"No Heldout service answers at {self.url} ({why}).")


def _read_chunks(file: Path) -> Iterator[bytes]:
    with file.open("rb") as opened:
        while chunk := opened.read(CHUNK_BYTES):
            yield chunk


def _build_problem(response: httpx2.Response) -> ApiProblem:
    """Read the problem of an answer; make one if a proxy or another program has answered."""
    document: Any = None
    with suppress(ValueError):
        document = response.json()
    if not isinstance(document, dict) or "code" not in document:
        title = f"HTTP {response.status_code} {response.reason_phrase}".strip()
        return ApiProblem("unexpected_answer", response.status_code, title, f"{title} from {response.url}.")
    return make_problem(
        code=str(document["code"]),
        status=response.status_code,
        title=str(document.get("title", "")),
        detail=str(document.get("detail", "")),
        errors=[
            FieldError(str(error.get("pointer", "")), str(error.get("detail", "")))
            for error in document.get("errors") or ()
        ],
        document=document,
    )


def _get_retry_after(response: httpx2.Response) -> float | None:
    """Return after how many seconds the request may be sent again, if the service says so; it changed nothing then."""
    if response.status_code not in {409, 429, 503}:
        return None
    try:
        return max(0.1, float(response.headers.get("Retry-After", "")))
    except ValueError:
        return None


@contextmanager
def _write_atomically(to: Path) -> Iterator[BinaryIO]:
    """Open a temporary file that replaces `to` if the block succeeds, and is deleted otherwise."""
    if to.exists() and not to.is_file():  # a pipe or a device is written to and not replaced
        with to.open("wb") as file:
            yield file
        return
    to = Path(os.path.realpath(to))
    beside = to.with_name(f".{to.name}.{uuid.uuid4().hex[:8]}")
    try:
        with beside.open("xb") as whole:
            yield whole
            whole.flush()
            os.fsync(whole.fileno())
        beside.replace(to)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
