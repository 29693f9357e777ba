"""Judges the head of a request, its request line and headers, as bytes: what is too long, and what is ambiguous.

Two programs that read the same bytes differently, a proxy and this service say, are what request smuggling needs. h11
refuses broken forms, and lengths that differ; here is refused what it would settle by itself.
"""

import re
from collections import Counter

from heldout.errors import HeadersTooLarge, HeldoutError, MalformedRequest, TargetTooLong

MAX_TARGET_BYTES = 8 * 1024
MAX_HEAD_BYTES = 16 * 1024
MAX_HEADERS = 100
# Method and version of a request line, with the spaces around the target.
MAX_REQUEST_LINE_BYTES = MAX_TARGET_BYTES + 64
SINGLE = (b"authorization", b"content-length", b"content-type", b"host", b"transfer-encoding")

_END = re.compile(rb"\n\r?\n")


def find_refusal(received: bytes) -> HeldoutError | None:
    """Why a request is refused by its head; None where nothing speaks against it.

    Args:
        received: what has been received since the request's first byte: part of a head, or a head and what follows.
    """
    line_end = received.find(b"\n", 0, MAX_REQUEST_LINE_BYTES)
    if line_end < 0:
        return TargetTooLong(MAX_TARGET_BYTES) if len(received) >= MAX_REQUEST_LINE_BYTES else None
    if len(_parse_target(received[:line_end])) > MAX_TARGET_BYTES:
        return TargetTooLong(MAX_TARGET_BYTES)
    if not received[:line_end].rstrip(b"\r").endswith((b" HTTP/1.1", b" HTTP/1.0")):
        return MalformedRequest("The first line is not that of a request in HTTP/1.1: `GET /livez HTTP/1.1`, say.")
    end = _END.search(received, line_end, MAX_HEAD_BYTES)
    if end is None:
        return HeadersTooLarge(MAX_HEAD_BYTES, MAX_HEADERS) if len(received) >= MAX_HEAD_BYTES else None
    head = received[: end.end()]
    if head.count(b"\n") != head.count(b"\r\n"):
        return MalformedRequest("A line of the head ends in LF alone. End each in CR LF.")
    is_old = received[:line_end].endswith(b"1.0\r")
    return _find_header_refusal(received[line_end + 1 : end.start()].split(b"\n"), is_old=is_old)


def _parse_target(request_line: bytes) -> bytes:
    return request_line.partition(b" ")[2].rpartition(b" ")[0]


def _find_header_refusal(lines: list[bytes], *, is_old: bool) -> HeldoutError | None:
    if len(lines) > MAX_HEADERS:
        return HeadersTooLarge(MAX_HEAD_BYTES, MAX_HEADERS)
    if any(line[:1] in (b" ", b"\t") for line in lines):
        return MalformedRequest("A header goes on in the line after it. Send each header in one line.")
    names = Counter(line.partition(b":")[0].strip().lower() for line in lines)
    for name in SINGLE:
        if names[name] > 1:
            return MalformedRequest(f"The header `{name.decode()}` comes {names[name]} times; send it once.")
    if names[b"content-length"] and names[b"transfer-encoding"]:
        return MalformedRequest("Received `Content-Length` and `Transfer-Encoding`; send one of them.")
    if is_old and names[b"transfer-encoding"]:
        return MalformedRequest("HTTP/1.0 has no `Transfer-Encoding`. Send `Content-Length`, or HTTP/1.1.")
    length = next((line for line in lines if line.lower().startswith(b"content-length")), b"")
    if b"," in length:
        return MalformedRequest("`Content-Length` holds several values; send one number.")
    return None
