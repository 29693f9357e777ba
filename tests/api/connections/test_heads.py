"""Heads of requests that are refused before anything reads them."""

import pytest

from api.connections.heads import MAX_HEAD_BYTES, MAX_HEADERS, MAX_TARGET_BYTES, find_refusal


def head(*lines: bytes, target: bytes = b"/v1/jobs", end: bytes = b"\r\n\r\n") -> bytes:
    return b"\r\n".join([b"POST " + target + b" HTTP/1.1", b"Host: x", *lines]) + end


def code(received: bytes) -> str | None:
    refusal = find_refusal(received)
    return None if refusal is None else refusal.code


@pytest.mark.parametrize(
    "received",
    [
        b"",
        b"PO",
        head(),
        head(b"Content-Length: 5", b"Authorization: Bearer x") + b"Content-Length: 7\r\nContent-Length: 7\r\n\r\n",
        head(b"Transfer-Encoding: chunked", b"Accept: a", b"Accept: b", b"Cookie: a=1", b"Cookie: b=2"),
        head(b"X-Authorization: a", b"Authorization: b", b"X-Content-Length: 3,4"),
        head(target=b"/" + b"p" * (MAX_TARGET_BYTES - 1)),
        head(*[b"X: y"] * (MAX_HEADERS - 1)),
        head(b"X: " + b"y" * 15_000),
    ],
)
def test_usual_heads_and_beginnings_of_them_are_let_through(received):
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
        [b"Content-Type: application/json", b"Content-Type: text/plain"],
        [b"Content-Length: 5", b"Content-Length : 5"],
        [b"X: y", b" Content-Length: 5"],
        [b"X: y", b"\tfolded"],
    ],
)
def test_what_two_programs_could_read_differently_is_malformed(lines):
    assert code(head(*lines)) == "malformed_request"
    assert code(head(*lines).replace(b"\r\n", b"\n")) == "malformed_request"


@pytest.mark.parametrize("line", [b"POST /v1/jobs HTTP/1.1", b"Host: x", b"X: y", b"A: b"])
def test_a_line_that_ends_in_lf_alone_is_malformed(line):
    """A proxy may take it for a part of the line before."""
    whole = head(b"X: y", b"A: b")
    assert code(whole) is None
    assert code(whole.replace(line + b"\r\n", line + b"\n")) == "malformed_request"


def test_http_1_0_knows_no_chunks():
    chunked = head(b"Transfer-Encoding: chunked")
    assert code(chunked) is None
    assert code(chunked.replace(b"HTTP/1.1", b"HTTP/1.0")) == "malformed_request"


def test_targets_and_heads_are_bounded_whether_they_come_whole_or_not():
    long = b"/" + b"p" * MAX_TARGET_BYTES
    assert code(head(target=long)) == "target_too_long"
    assert code(b"GET " + long * 2) == "target_too_long"
    assert code(head(b"X: " + b"y" * MAX_HEAD_BYTES)) == "headers_too_large"
    assert code(head(b"X: " + b"y" * MAX_HEAD_BYTES, end=b"")) == "headers_too_large"
    assert code(head(*[b"X: y"] * MAX_HEADERS)) == "headers_too_large"
