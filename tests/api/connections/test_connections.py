"""Real sockets to a real server with short deadlines and few places: which connections are refused."""

import select
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import httpx2
import pytest
from fastapi import FastAPI

from api.app import create_app
from api.connections import places, protocol
from heldout.service.settings import Settings
from tests.api.support import bearer, key_for, serving, sqlite_only, submitted, wait_until

pytestmark = sqlite_only

Door = tuple[str, int]
Serve = Callable[..., Any]


@pytest.fixture
def serve(settings: Settings, app: FastAPI) -> Serve:
    """A server with these settings changed; gives its URL and its port."""

    @contextmanager
    def served(**changes: Any) -> Iterator[Door]:
        with serving(create_app(settings.model_copy(update=changes))) as (url, _):
            yield url, int(url.rpartition(":")[2])

    return served


def connect(port: int, sent: bytes = b"", address: str = "127.0.0.1") -> socket.socket:
    connection = socket.socket()
    connection.settimeout(10)
    connection.bind((address, 0))
    connection.connect(("127.0.0.1", port))
    connection.sendall(sent)
    return connection


def received(connection: socket.socket) -> bytes:
    """All until the other side closes."""
    found = b""
    try:
        while chunk := connection.recv(65_536):
            found += chunk
    except ConnectionResetError:
        pass
    return found


def asked(url: str, path: str = "/livez", **headers: str) -> int:
    return httpx2.get(f"{url}{path}", headers=headers, timeout=60).status_code


HALF = b"GET /livez HTTP/1.1\r\nHost: x\r\nX: "


# --- deadlines ------------------------------------------------------------------------------------


def test_headers_must_come_in_time_however_they_drip(serve):
    with serve(head_timeout_s=1) as (url, port), ExitStack() as open_connections:
        began = time.monotonic()
        mute, half = (open_connections.enter_context(connect(port, sent)) for sent in (b"", HALF))
        later = open_connections.enter_context(connect(port, b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"))
        assert later.recv(65_536).startswith(b"HTTP/1.1 200 ")
        later.sendall(HALF)
        half.sendall(b"y" * 10)
        assert received(mute) == b"", "who has asked nothing gets no answer"
        for one in (half, later):
            answer = received(one)
            assert b"HTTP/1.1 408 Request Timeout\r\n" in answer
            assert b'"code":"request_timeout"' in answer
            assert b"connection: close" in answer.lower()
        assert 1 <= time.monotonic() - began < 20
        assert asked(url) == 200


def test_a_body_has_a_least_rate_and_no_deadline(serve, key, monkeypatch):
    monkeypatch.setattr(protocol, "ReceivePace", partial(protocol.ReceivePace, patience_s=1.5))
    head = (
        f"POST /v1/jobs HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\nContent-Type: application/json\r\n"
        "Content-Length: 5000\r\n\r\n"
    ).encode()
    with serve(min_body_rate=200) as (_, port), connect(port, head) as steady, connect(port, head) as slow:
        began = time.monotonic()
        for number in range(50):
            steady.sendall(b"[" * 100)
            if number == 0:
                slow.sendall(b"[")
            time.sleep(0.1)  # the pace is what is tested
        assert steady.recv(65_536).startswith(b"HTTP/1.1 400 "), "judged once it was whole"
        answer = slow.recv(65_536)
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert time.monotonic() - began > 4


def test_who_takes_nothing_of_an_answer_is_cut(serve, monkeypatch):
    monkeypatch.setattr(protocol, "PATIENCE_S", 1.0)
    with serve() as (url, port), socket.socket() as deaf:
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        deaf.connect(("127.0.0.1", port))
        deaf.sendall(b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n" * 50)
        end = select.poll()
        end.register(deaf, select.POLLHUP | select.POLLERR)
        assert end.poll(25_000), "the connection is still open"
        assert asked(url) == 200


# --- places ---------------------------------------------------------------------------------------


def test_who_opens_many_drives_out_their_own_and_no_one_else(serve):
    with serve(max_connections_per_address=5) as (_, port), ExitStack() as open_connections:
        other = open_connections.enter_context(connect(port, HALF, address="127.0.0.2"))
        many = [open_connections.enter_context(connect(port, HALF)) for _ in range(12)]
        assert [received(one) for one in many[:7]] == [b""] * 7
        for one in (other, *many[7:]):
            one.sendall(b"y\r\n\r\n")
            assert one.recv(65_536).startswith(b"HTTP/1.1 200 ")


def test_probes_are_answered_where_every_place_is_busy_and_others_are_refused(serve, database, spec, monkeypatch):
    monkeypatch.setattr(places, "PLACES_FOR_PROBES", 4)
    key = key_for(database, "busy")
    with serve(max_connections=10, reconcile_s=3600) as (url, port), ExitStack() as open_connections:
        with httpx2.Client(base_url=url, headers=bearer(key)) as client:
            job = submitted(client, spec)["id"]
        stream = (
            f"GET /v1/jobs/{job}/events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\n"
            "Accept: text/event-stream\r\n\r\n"
        ).encode()
        streams = [open_connections.enter_context(connect(port, stream)) for _ in range(10)]
        for one in streams:
            assert one.recv(65_536).startswith(b"HTTP/1.1 200 ")
        for _ in range(10):
            assert asked(url) == 200
            assert asked(url, "/readyz") == 200
        refused = httpx2.get(f"{url}/v1/jobs", headers=bearer(key))
        assert (refused.status_code, refused.json()["code"]) == (503, "too_many_connections")
        assert refused.headers["retry-after"] == "2"
        streams[0].close()
        wait_until(
            lambda: httpx2.get(f"{url}/v1/jobs", headers=bearer(key)).status_code == 200, "a place of an ended stream"
        )


# --- framing --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sent", "status", "code"),
    [
        (b"POST /v1/jobs HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n", 400, None),
        (b"GET /livez HTTP/1.1\r\nHost: x\r\nAuthorization: a\r\nAuthorization: b\r\n\r\n", 400, None),
        (b"POST /v1/jobs HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nContent-Length: 4\r\n\r\n", 400, None),
        (b"GET /livez HTTP/1.1\r\nHost: x\r\nBad Name: a\r\n\r\n", 400, None),
        (b"GET /livez HTTP/1.1\r\nHost: x\r\n\xd0\xb0: a\r\n\r\n", 400, None),
        (b"POST /v1/jobs HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\n", 400, None),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400, None),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 200 + b"\r\n\r\n", 400, None),
        (b"GET /" + b"p" * 60_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 414, "target_too_long"),
        (b"GET / HTTP/1.1\r\nHost: x\r\n" + b"X: y\r\n" * 200 + b"\r\n", 431, "headers_too_large"),
    ],
)
def test_what_is_no_request_or_an_ambiguous_one_is_a_problem_and_the_end(service, sent, status, code):
    with connect(service.base_url.port, sent + b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n") as one:
        answer = received(one)
    assert answer.startswith(f"HTTP/1.1 {status} ".encode())
    assert f'"code":"{code or "malformed_request"}"'.encode() in answer
    assert b"bytearray" not in answer
    assert answer.count(b"HTTP/1.1 ") == 1, "what came behind it is not read"
    for header in (b"application/problem+json", b"connection: close", b"x-content-type-options: nosniff", b"req_"):
        assert header in answer.lower()


def test_an_answer_s_body_never_waits_for_the_acknowledgement_of_its_head(app):
    listener = socket.socket()  # as `heldout up` hands one over: of such asyncio leaves the wait on
    listener.bind(("127.0.0.1", 0))
    with serving(app, listener) as (url, server), httpx2.Client(base_url=url) as client:
        client.get("/livez")
        [connection] = server.server_state.connections
        accepted = connection.transport.get_extra_info("socket")
        assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1


def test_requests_on_one_connection_are_still_answered_in_turn(service):
    ask = b"GET /livez HTTP/1.1\r\nHost: x\r\n"
    with connect(service.base_url.port, (ask + b"\r\n") * 3 + ask + b"Connection: close\r\n\r\n") as one:
        assert received(one).count(b"HTTP/1.1 200 ") == 4


def test_an_offer_to_speak_another_protocol_is_not_taken_up(service):
    offer = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Key": "a" * 24}
    assert service.get("/livez", headers={**offer, "Sec-WebSocket-Version": "13"}).status_code == 200


def test_a_chunk_that_is_none_ends_the_connection_and_nothing_else(service, key):
    head = f"POST /v1/jobs HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\nContent-Type: application/json\r\n"
    sent = f"{head}Transfer-Encoding: chunked\r\n\r\nzz\r\n".encode()
    with connect(service.base_url.port, sent) as one:
        assert received(one).startswith(b"HTTP/1.1 400 ")
    assert service.get("/livez").status_code == 200


# --- proxies --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("proxies", "secure"), [((), False), (("127.0.0.0/8",), True), (("10.0.0.0/8",), False)])
def test_only_a_proxy_that_is_named_is_believed(serve, key, proxies, secure):
    with serve(trusted_proxies=proxies) as (url, _):
        answer = httpx2.post(f"{url}/v1/session", json={"key": key}, headers={"X-Forwarded-Proto": "https"})
        assert answer.status_code == 201
        assert ("Secure" in answer.headers["set-cookie"]) is secure
