"""Refuses requests whose head (the request line and headers) is too long or ambiguous. Works on bytes.

Request smuggling needs two programs that read the same bytes differently, such as a proxy and this service. h11
refuses malformed heads and conflicting lengths. This module also refuses what h11 would resolve silently.
"""

import re
from collections import Counter

from heldout.errors import HeadersTooLarge, HeldoutError, MalformedRequest, TargetTooLong

MAX_TARGET_BYTES = 8 * 1024
MAX_HEAD_BYTES = 16 * 1024
MAX_HEADERS = 100
# The extra bytes are for the method, the version and the spaces around the target.
MAX_REQUEST_LINE_BYTES = MAX_TARGET_BYTES + 64
SINGLE = (b"authorization", b"content-length", b"content-type", b"host", b"idempotency-key", b"transfer-encoding")

_END = re.compile(rb"\n\r?\n")


def find_refusal(received: bytes) -> HeldoutError | None:
    """Find the reason to refuse a request by its head, or None.

    Args:
        received: all bytes since the request's first one: part of a head, or a head and what follows it.
    """
    line_end = received.find(b"\n", 0, MAX_REQUEST_LINE_BYTES)
    if line_end < 0:
        return TargetTooLong(MAX_TARGET_BYTES) if len(received) >= MAX_REQUEST_LINE_BYTES else None
    target = received[:line_end].partition(b" ")[2].rpartition(b" ")[0]
    if len(target) > MAX_TARGET_BYTES:
        return TargetTooLong(MAX_TARGET_BYTES)
    if not received[:line_end].rstrip(b"\r").endswith((b" HTTP/1.1", b" HTTP/1.0")):
        return MalformedRequest("The first line is not a request line such as `GET /livez HTTP/1.1`.")
    end = _END.search(received, line_end, MAX_HEAD_BYTES)
    if end is None:
        return HeadersTooLarge(MAX_HEAD_BYTES, MAX_HEADERS) if len(received) >= MAX_HEAD_BYTES else None
    head = received[: end.end()]
    if head.count(b"\n") != head.count(b"\r\n"):
        return MalformedRequest("A line of the head ends in LF without CR. End each line in CR LF.")
    is_old = received[:line_end].endswith(b"1.0\r")
    return _find_header_refusal(received[line_end + 1 : end.start()].split(b"\n"), is_old=is_old)


def _find_header_refusal(lines: list[bytes], *, is_old: bool) -> HeldoutError | None:
    if len(lines) > MAX_HEADERS:
        return HeadersTooLarge(MAX_HEAD_BYTES, MAX_HEADERS)
    if any(line[:1] in (b" ", b"\t") for line in lines):
        return MalformedRequest("A header continues on the next line. Send each header on one line.")
    names = Counter(line.partition(b":")[0].strip().lower() for line in lines)
    for name in SINGLE:
        if names[name] > 1:
            return MalformedRequest(f"The header `{name.decode()}` occurs {names[name]} times. Send it once.")
    if names[b"content-length"] and names[b"transfer-encoding"]:
        return MalformedRequest("Received both `Content-Length` and `Transfer-Encoding`. Send only one of them.")
    if is_old and names[b"transfer-encoding"]:
        return MalformedRequest("HTTP/1.0 has no `Transfer-Encoding`. Send `Content-Length`, or use HTTP/1.1.")
    length = next((line for line in lines if line.lower().startswith(b"content-length")), b"")
    if b"," in length:
        return MalformedRequest("`Content-Length` has several values. Send one number.")
    return None
