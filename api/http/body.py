"""JSON bodies: received up to a limit in the event loop, then parsed strictly and validated in a worker thread."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from email.message import Message
from typing import Any

from anyio import CapacityLimiter, to_thread
from pydantic import BaseModel, ConfigDict
from starlette.requests import Request

from heldout.errors import BodyTooLarge, FieldError, HeldoutError, InvalidJson, InvalidSpec, UnsupportedMediaType
from heldout.spec.documents import make_pointer

MAX_DEPTH = 64
# This much of a too-large body is received and dropped, so that clients that send before they read get their answer.
MAX_DISCARDED_BYTES = 32 * 1024 * 1024
MAX_DISCARD_S = 5.0
# The same for the body of a request that is refused before it is read.
MAX_REFUSED_BYTES = 64 * 1024
MAX_REFUSED_S = 1.0
# For routes without a key: a log-in is small.
MAX_OPEN_BODY_BYTES = 4 * 1024
# Larger bodies need a place (`places.py`).
LARGE_BODY_BYTES = 64 * 1024
# Returns the validated value. Raises InvalidSpec.
Validate = Callable[[Any], Any]
# Given to FastAPI as the content of a refused body. No model accepts it.
REFUSED = object()


class Body(BaseModel):
    """A JSON body whose fields are all known, with values of exactly their types."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class JsonRequest(Request):
    """A request whose JSON body is parsed and validated in a worker thread, before FastAPI sees it.

    FastAPI does both in the event loop, and its parser accepts NaN, repeated names and any depth. Its size limit
    answers in plain text and takes precedence over every other answer, even a 401.
    """

    def __init__(
        self,
        request: Request,
        validate: Validate,
        *,
        may_be_absent: bool,
        received: Callable[[Request], AbstractAsyncContextManager[bytes]],
        parser_of: Callable[[bytes], CapacityLimiter | None],
    ) -> None:
        """
        Args:
            may_be_absent: whether the route accepts a request without a body.
            received: yields the whole body, and keeps its place while the block runs.
            parser_of: the limiter that a body waits for before it is parsed and validated.
        """
        super().__init__(request.scope, request.receive)
        self._may_be_absent = may_be_absent
        self._received = received
        self._parser_of = parser_of
        self._validate = validate
        self._validated: Any = REFUSED

    async def body(self) -> bytes:
        has_body = self.headers.get("content-length", "0") != "0" or "transfer-encoding" in self.headers
        if self._may_be_absent and not has_body:
            return b""  # FastAPI then uses the parameter's default
        try:
            async with self._received(self) as raw:
                parser = self._parser_of(raw)
                self._validated = await to_thread.run_sync(lambda: self._validate(parse_json(raw)), limiter=parser)
        except HeldoutError as refusal:
            # Its traceback refers to the body and to this request, which refers to the refusal. This cycle would stay
            # in memory until the garbage collector runs.
            refusal.__traceback__ = refusal.__context__ = None
            self.state.body_refusal = refusal
        return b"received"  # not empty, so that FastAPI calls json() next

    async def json(self) -> Any:
        return self._validated


async def receive_json(request: Request, limit_bytes: int, take_place: Callable[[], Awaitable[None]]) -> bytes:
    """Receive a whole body whose media type is JSON, without parsing it.

    Args:
        take_place: waits for a place if the body may be larger than LARGE_BODY_BYTES.
    Raises:
        UnsupportedMediaType: if the media type is not JSON.
        BodyTooLarge: if Content-Length or the bytes received exceed `limit_bytes`.
        Also everything that `take_place` raises.
    """
    require_json(request.headers.get("content-type", ""))
    await require_length(request, limit_bytes)
    # Take the place first: waiting requests would keep received bytes in memory. A chunked body may have any size.
    if int(request.headers.get("content-length", limit_bytes)) > LARGE_BODY_BYTES:
        await take_place()
    received = bytearray()
    async for chunk in request.stream():
        received += chunk
        if len(received) > limit_bytes:
            await discard_body(request, MAX_DISCARDED_BYTES - len(received), MAX_DISCARD_S)
            raise BodyTooLarge(limit_bytes)
    return bytes(received)


def require_json(content_type: str) -> None:
    """Raise UnsupportedMediaType unless it is `application/json` or `application/…+json`, in UTF-8."""
    message = Message()
    message["content-type"] = content_type
    subtype = message.get_content_subtype()
    is_json = message.get_content_maintype() == "application" and (subtype == "json" or subtype.endswith("+json"))
    charset = message.get_content_charset("utf-8")
    if not content_type or not is_json or charset not in {"utf-8", "utf8", "us-ascii"}:
        raise UnsupportedMediaType(content_type[:100], "application/json")


def parse_json(raw: bytes) -> Any:
    """Parse JSON strictly (RFC 8259): UTF-8, no NaN or Infinity, no repeated names, at most 64 levels deep.

    Raises:
        InvalidJson: if it is not such JSON.
        InvalidSpec: if a text contains NUL or half a surrogate pair, which databases cannot store. Says where.
    """
    try:
        value = json.loads(raw.decode("utf-8"), parse_constant=_refuse_constant, object_pairs_hook=_refuse_repeats)
    except UnicodeDecodeError as error:
        raise InvalidJson(f"The body is not UTF-8: byte {error.start} is 0x{raw[error.start]:02x}.") from None
    except json.JSONDecodeError as error:
        raise InvalidJson(f"{error.msg.removesuffix(' at')} at line {error.lineno}, column {error.colno}.") from None
    except RecursionError:
        raise _make_too_deep() from None
    except ValueError:
        # Python refuses integers of more than 4,300 digits.
        raise InvalidJson("The body contains a number with too many digits.") from None
    # Each level needs a bracket, and only an escape can produce unstorable text, so most bodies skip both checks.
    if raw.count(b"{") + raw.count(b"[") > MAX_DEPTH and _is_too_deep(value):
        raise _make_too_deep()
    if b"\\u" in raw and (bad := list(_find_bad_texts(value))):
        errors = [FieldError(pointer, "Texts must not contain NUL or half a surrogate pair.") for pointer in bad[:20]]
        raise InvalidSpec(f"{errors[0].pointer}: {errors[0].detail}", errors=errors)
    return value


async def require_length(request: Request, limit_bytes: int) -> None:
    """Raise BodyTooLarge if the request declares a larger body."""
    declared = request.headers.get("content-length", "")
    if declared.isascii() and declared.isdigit() and int(declared[:18]) > limit_bytes:
        # A client that sent `Expect: 100-continue` sends no body after this answer.
        if "expect" not in request.headers:
            await discard_body(request, MAX_DISCARDED_BYTES, MAX_DISCARD_S)
        raise BodyTooLarge(limit_bytes)


@asynccontextmanager
async def deliver_refusal(request: Request, *refusals: type[HeldoutError]) -> AsyncIterator[None]:
    """Deliver these refusals of the block also to clients that send before they read, if their body is small."""
    try:
        yield
    except refusals as error:
        # A client that sent `Expect: 100-continue` sends no body after this answer.
        asked_first = "expect" in request.headers
        if asked_first or not await discard_body(request, MAX_REFUSED_BYTES, MAX_REFUSED_S):
            error.headers["Connection"] = "close"
        raise


async def discard_body(request: Request, max_bytes: int, max_seconds: float) -> bool:
    """Receive and drop the rest of a body, within these bounds. Returns whether its end was reached."""
    received = 0
    with suppress(TimeoutError):
        async with asyncio.timeout(max_seconds):
            while received <= max_bytes:
                message = await request.receive()
                received += len(message.get("body", b""))
                if not message.get("more_body", False):
                    return True
    return False


def _refuse_constant(name: str) -> Any:
    raise InvalidJson(f"{name} is not JSON; use a finite number or null.")


def _refuse_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        seen: set[str] = set()
        for name, _ in pairs:
            if name in seen:
                raise InvalidJson(f"The name {name[:64]!r} occurs twice in one object.")
            seen.add(name)
    return found


def _is_too_deep(value: Any) -> bool:
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [
            inner
            for item in level
            if isinstance(item, dict | list)
            for inner in (item.values() if isinstance(item, dict) else item)
        ]
    return any(isinstance(item, dict | list) for item in level)


def _find_bad_texts(value: Any) -> Iterator[str]:
    """Yield pointers to the names and texts that cannot be stored."""
    waiting: list[tuple[Any, tuple[str | int, ...]]] = [(value, ())]
    while waiting:
        item, path = waiting.pop()
        if isinstance(item, str) and not _is_storable(item):
            yield make_pointer(path)
        elif isinstance(item, dict):
            for name in item:
                if not _is_storable(name):
                    yield make_pointer((*path, name))
            waiting += [(inner, (*path, name)) for name, inner in item.items()]
        elif isinstance(item, list):
            waiting += [(inner, (*path, index)) for index, inner in enumerate(item)]


def _is_storable(text: str) -> bool:
    try:
        return b"\0" not in text.encode("utf-8")
    except UnicodeEncodeError:
        return False


def _make_too_deep() -> InvalidJson:
    return InvalidJson(f"The body is nested more than {MAX_DEPTH} levels deep.")
