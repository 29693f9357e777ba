"""Real sockets connect to a real server with short deadlines and few places, and some are refused."""

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
from tests.api.support import bearer, make_key, run_server, sqlite_only, submit, wait_until

pytestmark = sqlite_only

Address = tuple[str, int]
Serve = Callable[..., Any]


@pytest.fixture
def serve(settings: Settings, app: FastAPI) -> Serve:
    """Return what runs a server with changed settings and yields its URL and its port."""

    @contextmanager
    def served(**changes: Any) -> Iterator[Address]:
        with run_server(create_app(settings.model_copy(update=changes))) as (url, _):
            yield url, int(url.rpartition(":")[2])

    return served


def connect(port: int, sent: bytes = b"", address: str = "127.0.0.1") -> socket.socket:
    connection = socket.socket()
    connection.settimeout(240)
    connection.bind((address, 0))
    connection.connect(("127.0.0.1", port))
    connection.sendall(sent)
    return connection


def receive_all(connection: socket.socket) -> bytes:
    """Receive everything until the other side closes."""
    found = b""
    try:
        while chunk := connection.recv(65_536):
            found += chunk
    except ConnectionResetError:
        pass
    return found


def get_status(url: str, path: str = "/livez", **headers: str) -> int:
    return httpx2.get(f"{url}{path}", headers=headers, timeout=60).status_code


HALF_A_REQUEST = b"GET /livez HTTP/1.1\r\nHost: x\r\nX: "


# --- deadlines ------------------------------------------------------------------------------------


def test_headers_must_arrive_in_time_even_if_they_trickle(serve):
    with serve(head_timeout_s=1) as (url, port), ExitStack() as open_connections:
        began = time.monotonic()
        mute, half = (open_connections.enter_context(connect(port, sent)) for sent in (b"", HALF_A_REQUEST))
        later = open_connections.enter_context(connect(port, b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"))
        assert later.recv(65_536).startswith(b"HTTP/1.1 200 ")
        later.sendall(HALF_A_REQUEST)
        half.sendall(b"y" * 10)
        assert receive_all(mute) == b"", "a client that sent nothing gets no response"
        for connection in (half, later):
            answer = receive_all(connection)
            assert b"HTTP/1.1 408 Request Timeout\r\n" in answer
            assert b'"code":"request_timeout"' in answer
            assert b"connection: close" in answer.lower()
        assert 1 <= time.monotonic() - began < 20
        assert get_status(url) == 200


def test_a_body_has_a_minimum_rate_but_no_deadline(serve, key, monkeypatch):
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
            time.sleep(0.1)  # this test is about the pace
        assert steady.recv(65_536).startswith(b"HTTP/1.1 400 "), "parsed only once it was complete"
        answer = slow.recv(65_536)
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert time.monotonic() - began > 4


def test_a_client_that_reads_nothing_of_a_response_is_disconnected(serve, monkeypatch):
    monkeypatch.setattr(protocol, "PATIENCE_S", 1.0)
    with serve() as (url, port), socket.socket() as deaf:
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        deaf.connect(("127.0.0.1", port))
        deaf.sendall(b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n" * 50)
        end = select.poll()
        end.register(deaf, select.POLLHUP | select.POLLERR)
        assert end.poll(240_000), "the connection is still open"
        assert get_status(url) == 200


# --- places ---------------------------------------------------------------------------------------


def test_a_client_that_opens_too_many_connections_loses_only_its_own(serve):
    with serve(max_connections_per_address=5) as (_, port), ExitStack() as open_connections:
        other = open_connections.enter_context(connect(port, HALF_A_REQUEST, address="127.0.0.2"))
        many = [open_connections.enter_context(connect(port, HALF_A_REQUEST)) for _ in range(12)]
        assert [receive_all(connection) for connection in many[:7]] == [b""] * 7
        for connection in (other, *many[7:]):
            connection.sendall(b"y\r\n\r\n")
            assert connection.recv(65_536).startswith(b"HTTP/1.1 200 ")


def test_probes_are_answered_when_every_place_is_busy_and_others_are_refused(serve, database, spec, monkeypatch):
    monkeypatch.setattr(places, "PLACES_FOR_PROBES", 4)
    key = make_key(database, "busy")
    with serve(max_connections=10, reconcile_s=3600) as (url, port), ExitStack() as open_connections:
        with httpx2.Client(base_url=url, headers=bearer(key)) as client:
            job = submit(client, spec)["id"]
        stream = (
            f"GET /v1/jobs/{job}/events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\n"
            "Accept: text/event-stream\r\n\r\n"
        ).encode()
        streams = [open_connections.enter_context(connect(port, stream)) for _ in range(10)]
        for stream_connection in streams:
            assert stream_connection.recv(65_536).startswith(b"HTTP/1.1 200 ")
        for _ in range(10):
            assert get_status(url) == 200
            assert get_status(url, "/readyz") == 200
        refused = httpx2.get(f"{url}/v1/jobs", headers=bearer(key))
        assert (refused.status_code, refused.json()["code"]) == (503, "too_many_connections")
        assert refused.headers["retry-after"] == "2"
        streams[0].close()
        wait_until(
            lambda: httpx2.get(f"{url}/v1/jobs", headers=bearer(key)).status_code == 200,
            "freeing the place of a closed stream",
        )


# --- framing --------------------------------------------------------------------------------------


@pytest.mark.parametrize("follows", [b"", b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"], ids=["alone", "followed"])
@pytest.mark.parametrize(
    ("sent", "status", "code"),
    [
        (b"GET /livez HTTP/1.1\r\n\r\n", 400, None),
        (b"POST /v1/jobs HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n", 400, None),
        (b"POST /v1/jobs HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n", 400, None),
        (b"GET /livez HTTP/1.1\r\nHost: x\r\nBad Name: a\r\n\r\n", 400, None),
        (b"GET /livez HTTP/1.1\r\nHost: x\r\n\xd0\xb0: a\r\n\r\n", 400, None),
        (b"POST /v1/jobs HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\n", 400, None),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400, None),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 200 + b"\r\n\r\n", 400, None),
        (b"GET /" + b"p" * 60_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 414, "target_too_long"),
        (b"GET / HTTP/1.1\r\nHost: x\r\n" + b"X: y\r\n" * 200 + b"\r\n", 431, "headers_too_large"),
    ],
)
def test_malformed_and_ambiguous_requests_get_a_problem_and_end_the_connection(service, sent, status, code, follows):
    with connect(service.base_url.port, sent + follows) as connection:
        answer = receive_all(connection)
    assert answer.startswith(f"HTTP/1.1 {status} ".encode())
    assert f'"code":"{code or "malformed_request"}"'.encode() in answer
    assert b"bytearray" not in answer
    assert answer.count(b"HTTP/1.1 ") == 1, "what follows it is not read"
    for header in (b"application/problem+json", b"connection: close", b"x-content-type-options: nosniff", b"req_"):
        assert header in answer.lower()


@pytest.mark.parametrize("target", [b"OPTIONS *", b"CONNECT x:1"])
def test_a_target_that_is_no_path_is_not_found(service, target):
    with connect(service.base_url.port, target + b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n") as connection:
        answer = receive_all(connection)
    assert answer.startswith(b"HTTP/1.1 404 ")
    assert b'"code":"route_not_found"' in answer


def test_a_response_body_never_waits_for_the_acknowledgement_of_its_head(app):
    listener = socket.socket()  # like that of `heldout up`, for which asyncio does not set TCP_NODELAY
    listener.bind(("127.0.0.1", 0))
    with run_server(app, listener) as (url, server), httpx2.Client(base_url=url) as client:
        client.get("/livez")
        [connection] = server.server_state.connections
        accepted = connection.transport.get_extra_info("socket")
        assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1


def test_pipelined_requests_are_answered_in_order(service):
    ask = b"GET /livez HTTP/1.1\r\nHost: x\r\n"
    with connect(service.base_url.port, (ask + b"\r\n") * 3 + ask + b"Connection: close\r\n\r\n") as connection:
        assert receive_all(connection).count(b"HTTP/1.1 200 ") == 4


def test_an_offer_to_upgrade_the_protocol_is_ignored(service):
    offer = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Key": "a" * 24}
    assert service.get("/livez", headers={**offer, "Sec-WebSocket-Version": "13"}).status_code == 200


def test_an_invalid_chunk_ends_only_its_connection(service, key):
    head = f"POST /v1/jobs HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\nContent-Type: application/json\r\n"
    sent = f"{head}Transfer-Encoding: chunked\r\n\r\nzz\r\n".encode()
    with connect(service.base_url.port, sent) as connection:
        assert receive_all(connection).startswith(b"HTTP/1.1 400 ")
    assert service.get("/livez").status_code == 200


# --- proxies --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("proxies", "secure"), [((), False), (("127.0.0.0/8",), True), (("10.0.0.0/8",), False)])
def test_only_configured_proxies_are_trusted(serve, key, proxies, secure):
    with serve(trusted_proxies=proxies) as (url, _):
        answer = httpx2.post(f"{url}/v1/session", json={"key": key}, headers={"X-Forwarded-Proto": "https"})
        assert answer.status_code == 201
        assert ("Secure" in answer.headers["set-cookie"]) is secure
