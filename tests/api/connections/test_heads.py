"""Heads of requests are refused before anything parses them."""

import pytest

from api.connections.heads import MAX_HEAD_BYTES, MAX_HEADERS, MAX_TARGET_BYTES, find_refusal


def make_head(*lines: bytes, target: bytes = b"/v1/jobs", end: bytes = b"\r\n\r\n") -> bytes:
    return b"\r\n".join([b"POST " + target + b" HTTP/1.1", b"Host: x", *lines]) + end


def find_code(received: bytes) -> str | None:
    refusal = find_refusal(received)
    return None if refusal is None else refusal.code


@pytest.mark.parametrize(
    "received",
    [
        b"",
        b"PO",
        make_head(),
        make_head(b"Content-Length: 5", b"Authorization: Bearer x") + b"Content-Length: 7\r\nContent-Length: 7\r\n\r\n",
        make_head(b"Transfer-Encoding: chunked", b"Accept: a", b"Accept: b", b"Cookie: a=1", b"Cookie: b=2"),
        make_head(b"X-Authorization: a", b"Authorization: b", b"X-Content-Length: 3,4"),
        make_head(target=b"/" + b"p" * (MAX_TARGET_BYTES - 1)),
        make_head(*[b"X: y"] * (MAX_HEADERS - 1)),
        make_head(b"X: " + b"y" * 15_000),
    ],
)
def test_normal_heads_are_accepted_complete_or_not(received):
    assert find_refusal(received) is None


@pytest.mark.parametrize(
    "lines",
    [
        [b"Content-Length: 5", b"Transfer-Encoding: chunked"],
        [b"transfer-encoding: chunked", b"CONTENT-LENGTH: 0"],
        [b"Content-Length: 5", b"Content-Length: 5"],
        [b"Content-Length: 5", b"content-length: 6"],
        [b"Content-Length: 5, 5"],
        [b"Transfer-Encoding: chunked", b"Transfer-Encoding: identity"],
        [b"Authorization: Bearer a", b"authorization: Bearer b"],
        [b"Host: y"],
        [b"Idempotency-Key: x", b"Idempotency-Key: y"],
        [b"Content-Type: application/json", b"Content-Type: text/plain"],
        [b"Content-Length: 5", b"Content-Length : 5"],
        [b"X: y", b" Content-Length: 5"],
        [b"X: y", b"\tfolded"],
    ],
)
def test_heads_that_two_programs_could_read_differently_are_malformed(lines):
    assert find_code(make_head(*lines)) == "malformed_request"
    assert find_code(make_head(*lines).replace(b"\r\n", b"\n")) == "malformed_request"


@pytest.mark.parametrize("line", [b"POST /v1/jobs HTTP/1.1", b"Host: x", b"X: y", b"A: b"])
def test_a_line_that_ends_in_lf_alone_is_malformed(line):
    """A proxy may treat it as part of the previous line."""
    whole = make_head(b"X: y", b"A: b")
    assert find_code(whole) is None
    assert find_code(whole.replace(line + b"\r\n", line + b"\n")) == "malformed_request"


def test_http_1_0_does_not_allow_chunks():
    chunked = make_head(b"Transfer-Encoding: chunked")
    assert find_code(chunked) is None
    assert find_code(chunked.replace(b"HTTP/1.1", b"HTTP/1.0")) == "malformed_request"


def test_targets_and_heads_are_bounded_complete_or_not():
    long = b"/" + b"p" * MAX_TARGET_BYTES
    assert find_code(make_head(target=long)) == "target_too_long"
    assert find_code(b"GET " + long * 2) == "target_too_long"
    assert find_code(make_head(b"X: " + b"y" * MAX_HEAD_BYTES)) == "headers_too_large"
    assert find_code(make_head(b"X: " + b"y" * MAX_HEAD_BYTES, end=b"")) == "headers_too_large"
    assert find_code(make_head(*[b"X: y"] * MAX_HEADERS)) == "headers_too_large"
