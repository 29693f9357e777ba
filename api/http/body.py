"""Reading JSON bodies: bounded while they stream in, strict about what JSON is, before any model sees them."""

import asyncio
import json
from collections.abc import Iterator
from contextlib import suppress
from email.message import Message
from typing import Any

from starlette.requests import Request

from heldout.errors import (
    BodyTooLarge,
    FieldError,
    HeldoutError,
    InvalidJson,
    InvalidSpec,
    UnsupportedMediaType,
)
from heldout.json_pointer import pointer_to

MAX_DEPTH = 64
# A body that is too large is read on to here, so that a client which sends before it reads gets its answer.
DRAIN_BYTES = 32 * 1024 * 1024
DRAIN_S = 5.0


class JsonRequest(Request):
    """A request whose body is read by `read_json` instead of the framework's reader.

    FastAPI's own limit answers 413 in plain text, and its reader lets NaN, repeated names and any depth through.
    """

    async def body(self) -> bytes:
        try:
            self._content = await read_json(self, self.app.state.services.settings.max_body_bytes)
        except HeldoutError as error:
            self._content, self.state.unreadable = None, error
        return b"read"  # not empty, so that the framework goes on to json() where the media type says so

    async def json(self) -> Any:
        return self._content


def require_readable(request: Request) -> None:
    """Raises what was wrong with the body, if it was read."""
    error: HeldoutError | None = getattr(request.state, "unreadable", None)
    if error is not None:
        raise error


async def read_json(request: Request, limit_bytes: int) -> Any:
    """The body as Python values.

    Raises:
        UnsupportedMediaType: it is not said to be JSON.
        BodyTooLarge: more than `limit_bytes`, said by Content-Length or found on the way.
        InvalidJson, InvalidSpec: see `parse_json`.
    """
    require_json(request.headers.get("content-type", ""))
    return parse_json(await _read(request, limit_bytes))


def require_json(content_type: str) -> None:
    """Raises UnsupportedMediaType unless it is `application/json` or `application/…+json`, in UTF-8."""
    message = Message()
    message["content-type"] = content_type
    subtype = message.get_content_subtype()
    is_json = message.get_content_maintype() == "application" and (subtype == "json" or subtype.endswith("+json"))
    charset = message.get_content_charset("utf-8")
    if not content_type or not is_json or charset not in {"utf-8", "utf8", "us-ascii"}:
        raise UnsupportedMediaType(content_type[:100], "application/json")


def parse_json(raw: bytes) -> Any:
    """JSON as RFC 8259 has it: UTF-8, no NaN or Infinity, no name twice in an object, at most 64 levels deep.

    Raises:
        InvalidJson: it is not that.
        InvalidSpec: a text holds what no database keeps (NUL, half a surrogate pair); says where.
    """
    try:
        value = json.loads(raw.decode("utf-8"), parse_constant=_no_constant, object_pairs_hook=_without_repeats)
    except UnicodeDecodeError as error:
        raise InvalidJson(f"The body is not UTF-8: byte {error.start} is 0x{raw[error.start]:02x}.") from None
    except json.JSONDecodeError as error:
        raise InvalidJson(f"{error.msg} at line {error.lineno}, column {error.colno}.") from None
    except RecursionError:
        raise _too_deep() from None
    except ValueError:
        # Python reads no whole number of more than 4,300 digits.
        raise InvalidJson("The body holds a number with too many digits.") from None
    # Only an escape brings in what cannot be stored, and only a bracket for each level depth: most bodies need no walk.
    if b"\\u" not in raw and raw.count(b"{") + raw.count(b"[") <= MAX_DEPTH:
        return value
    bad = [FieldError(pointer, "Texts must not hold NUL or half a surrogate pair.") for pointer in _bad_texts(value)]
    if bad:
        raise InvalidSpec(f"{bad[0].pointer}: {bad[0].detail}", errors=bad[:20])
    return value


async def _read(request: Request, limit_bytes: int) -> bytes:
    await require_length(request, limit_bytes)
    received = bytearray()
    async for chunk in request.stream():
        received += chunk
        if len(received) > limit_bytes:
            await drain(request, len(received))
            raise BodyTooLarge(limit_bytes)
    return bytes(received)


async def require_length(request: Request, limit_bytes: int) -> None:
    """Raises BodyTooLarge if the request says that its body is larger."""
    declared = request.headers.get("content-length", "")
    if declared.isascii() and declared.isdigit() and int(declared[:18]) > limit_bytes:
        # A client that asked first (Expect: 100-continue) sends nothing once it has the answer.
        if "expect" not in request.headers:
            await drain(request, 0)
        raise BodyTooLarge(limit_bytes)


async def drain(request: Request, received: int) -> None:
    """Read on and keep nothing, within bounds; a client that sends nothing is not waited for longer."""
    with suppress(TimeoutError):
        async with asyncio.timeout(DRAIN_S):
            more = True
            while more and received <= DRAIN_BYTES:
                message = await request.receive()
                more = message.get("more_body", False)
                received += len(message.get("body", b""))


def _no_constant(name: str) -> Any:
    raise InvalidJson(f"{name} is not JSON; use a finite number or null.")


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        seen: set[str] = set()
        for name, _ in pairs:
            if name in seen:
                raise InvalidJson(f"The name {name[:64]!r} comes twice in one object.")
            seen.add(name)
    return found


def _bad_texts(value: Any) -> Iterator[str]:
    """Pointers to names and texts that cannot be stored. Raises InvalidJson beyond MAX_DEPTH."""
    waiting: list[tuple[Any, tuple[str | int, ...]]] = [(value, ())]
    while waiting:
        one, path = waiting.pop()
        if isinstance(one, str) and not _storable(one):
            yield pointer_to(path)
        elif isinstance(one, dict | list) and len(path) >= MAX_DEPTH:
            raise _too_deep()
        elif isinstance(one, dict):
            for name in one:
                if not _storable(name):
                    yield pointer_to((*path, name))
            waiting += [(inner, (*path, name)) for name, inner in one.items()]
        elif isinstance(one, list):
            waiting += [(inner, (*path, index)) for index, inner in enumerate(one)]


def _storable(text: str) -> bool:
    try:
        return b"\0" not in text.encode("utf-8")
    except UnicodeEncodeError:
        return False


def _too_deep() -> InvalidJson:
    return InvalidJson(f"The body is nested more than {MAX_DEPTH} levels deep.")
