"""The API forwards requests for predictions to a process, here a simulated one."""

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http.client import HTTPResponse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx2
import pytest

import api.disconnects
import api.predictions
from api.app import create_app
from models.ids import make_id
from tests.api.support import assert_problem, bearer, make_key, run_server, sqlite_only
from tests.e2e.running import until
from tests.predict.world import predicting

pytestmark = sqlite_only
PATH = f"/v1/jobs/{make_id('job')}/predict"


class PlayedProcess(ThreadingHTTPServer):
    """Echoes requests. Those with `wait` are answered once `go_on` is set."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.waiting, self.go_on = threading.Semaphore(0), threading.Event()
        self.url = f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: PlayedProcess

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        if "wait=" in self.path:
            self.server.waiting.release()
            self.server.go_on.wait(30)
        self.send_response(200)
        for name, value in (("Content-Type", self.headers.get("Content-Type", "")), ("Content-Length", len(body))):
            self.send_header(name, str(value))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self) -> None:
        self.do_POST()

    def log_message(self, format: str, *args: Any) -> None:
        """Print nothing to the terminal."""


@pytest.fixture
def process() -> Iterator[PlayedProcess]:
    with PlayedProcess() as played:
        thread = threading.Thread(target=played.serve_forever, args=(0.05,))
        thread.start()
        yield played
        played.go_on.set()
        played.shutdown()
        thread.join()


@pytest.fixture
def served(app, settings, process, key):
    """Return what runs a real API with changed settings and yields a client of `ada`."""

    @contextmanager
    def serve(**changes: Any) -> Iterator[httpx2.Client]:
        changed = settings.model_copy(update={"predict_url": process.url} | changes)
        with run_server(create_app(changed)) as (url, _), httpx2.Client(base_url=url, timeout=60) as client:
            client.headers |= bearer(key)
            yield client

    return serve


def start_request(client: httpx2.Client, path: str, length: int, *, sent: int = 1, key: str = "") -> socket.socket:
    """Send a request without the end of its body."""
    connection = socket.create_connection((client.base_url.host, client.base_url.port), timeout=60)
    method = "GET" if path.startswith("/v2/health") else "POST"
    head = [f"{method} {path} HTTP/1.1", "Host: x", f"Content-Length: {length}"]
    head += [f"Authorization: Bearer {key}"] if key else []
    connection.sendall("\r\n".join([*head, "", ""]).encode() + b"x" * sent)
    return connection


def test_slow_bodies_take_no_places_from_others(served, monkeypatch, database):
    monkeypatch.setattr(api.predictions, "MAX_CONNECTIONS", 2)
    monkeypatch.setattr(api.predictions, "MAX_EACH", 1)
    monkeypatch.setattr(api.predictions, "TURN_TIMEOUT_S", 2.0)
    made_up, eve = "ho_" + "a" * 16 + "_" + "b" * 43, make_key(database, "eve")
    with served() as client, ExitStack() as stack:
        for path in ("/v2/health/live", "/v2/models/x/infer", PATH):
            for key in ("", made_up, eve):
                for length, sent in ((1000, 1), (10**6, 100_000)):
                    stack.enter_context(start_request(client, path, length, sent=sent, key=key))
        answer = client.post(PATH, content=b"image")
        assert (answer.status_code, answer.content) == (200, b"image")


def test_large_bodies_arrive_unchanged(served):
    content = bytes(range(256)) * 1024
    with served() as client:
        assert client.post(PATH, content=content).content == content
        assert client.post("/v2/models/x/infer", content=content).content == content


def test_a_large_response_holds_its_place_until_it_is_read(served, monkeypatch, key):
    monkeypatch.setattr(api.predictions, "MAX_EACH", 1)
    monkeypatch.setattr(api.predictions, "TURN_TIMEOUT_S", 0.5)
    body = b"x" * 8 * 1024**2
    with served() as client:
        with start_request(client, PATH, len(body), key=key) as slow:
            slow.sendall(body[1:])
            slow.recv(1)  # the response has begun
            assert_problem(client.post(PATH, content=b"image"), 503, "predictions_unavailable")
        until(
            lambda: client.post(PATH, content=b"image").status_code == 200, "freeing the place of the client that left"
        )


def test_one_owner_cannot_take_all_places_with_several_keys(served, monkeypatch, process, database, key):
    monkeypatch.setattr(api.predictions, "MAX_CONNECTIONS", 2)
    monkeypatch.setattr(api.predictions, "MAX_EACH", 1)
    monkeypatch.setattr(api.predictions, "TURN_TIMEOUT_S", 0.5)
    eve, bob = make_key(database, "eve"), make_key(database, "bob")
    with served() as client, ExitStack() as stack:

        def waits(key: str) -> None:
            stack.enter_context(start_request(client, f"{PATH}?wait=60", 1, key=key))
            assert process.waiting.acquire(timeout=60)

        def assert_refused(key: str) -> None:
            answer = client.post(f"{PATH}?wait=60", headers=bearer(key))
            problem = assert_problem(answer, 503, "predictions_unavailable")
            assert problem["detail"].startswith("Too many predictions")

        waits(key)
        assert_refused(make_key(database, "ada"))
        assert client.post(PATH, content=b"image", headers=bearer(eve)).status_code == 200
        waits(eve)
        assert_refused(bob)
        process.go_on.set()


def test_clients_that_disconnect_free_their_places(served, monkeypatch, process, key):
    monkeypatch.setattr(api.predictions, "MAX_EACH", 1)
    monkeypatch.setattr(api.disconnects, "WATCH_AFTER_S", 0.01)
    with served() as client:
        for length, sent in ((1, 1), (100_000, 100_000)):
            with start_request(client, f"{PATH}?wait=60", length, sent=sent, key=key):
                assert process.waiting.acquire(timeout=60)
            assert client.post(PATH, content=b"image").status_code == 200


def test_strangers_are_refused_before_anything_is_forwarded(served):
    with served(predict_url="http://127.0.0.1:9") as client:
        answer = client.post("/v2/models/x/infer", content=b"{}", headers={"Authorization": "Bearer ho_none"})
        assert answer.status_code == 401
        assert answer.headers["WWW-Authenticate"] == "Bearer"
        assert set(answer.json()) == {"error"}


def test_both_protocols_report_a_missing_process(served):
    with served(predict_url=None) as client:
        assert_problem(client.post(PATH, content=b"image"), 503, "predictions_unavailable")
        assert_problem(client.post(PATH, headers=bearer("ho_none")), 401, "unauthenticated")
        for path in ("/v2/health/live", "/v2/models/x/ready"):
            answer = client.get(path)
            assert (answer.status_code, list(answer.json())) == (503, ["error"])


def test_headers_may_contain_any_byte(served):
    with served() as client:
        content_type = "image/png; name=\xe9".encode("latin-1")
        assert client.post(PATH, content=b"image", headers={b"Content-Type": content_type}).status_code == 200


def test_clients_receive_refusals_of_large_unread_bodies(served, settings):
    body = b"x" * 8 * 1024**2
    with predicting(settings) as url, served(predict_url=url) as client:
        assert_problem(client.post(PATH, content=body), 404, "job_not_found")
        assert_problem(client.post(PATH, content=iter([body])), 404, "job_not_found")
        assert_problem(client.get(PATH), 405, "method_not_allowed")


def test_browser_sessions_are_forwarded_and_other_sites_are_refused(served, settings, key):
    with predicting(settings) as url, served(predict_url=url) as client:
        client.post("/v1/session", json={"key": key}).raise_for_status()
        del client.headers["Authorization"]
        own_page = str(client.base_url).rstrip("/")
        assert_problem(client.post(PATH, content=b"image", headers={"Origin": own_page}), 404, "job_not_found")
        assert_problem(client.post(PATH, content=b"image", headers={"Origin": "http://x"}), 403, "cross_site_request")
        assert client.get("/v2/models/job_x").status_code == 404
        client.cookies.clear()
        assert_problem(client.post(PATH, content=b"image", headers={"Origin": own_page}), 401, "unauthenticated")


def test_paths_are_forwarded_unchanged_and_cannot_escape(served, settings, key):
    with predicting(settings) as url, served(predict_url=url) as client:
        for path in ("/v2/models/../../metrics", "/v2/models/%2e%2e/%2e%2e/metrics", "/v2/models//../metrics"):
            with (
                start_request(client, path, 0, sent=0, key=key) as connection,
                HTTPResponse(connection, method="POST") as answer,
            ):
                answer.begin()
                assert (answer.status, list(json.loads(answer.read()))) == (404, ["error"]), path


def test_forwarded_requests_are_logged_and_counted_by_route(served, log_lines):
    with served() as client:
        before = log_lines.tell()

        def list_logged() -> list[dict]:
            lines = log_lines.getvalue()[before:].splitlines()
            return [json.loads(line) for line in lines if '"event": "request"' in line]

        client.post(PATH, content=b"image", headers={"X-Request-ID": "mine"})
        client.get("/v2/health/live")
        assert until(lambda: len(list_logged()) == 2, "logging of both requests")
        assert [(line["path"], line["status"]) for line in list_logged()] == [(PATH, 200), ("/v2/health/live", 200)]
        assert list_logged()[0]["request_id"] == "mine"
        counted = client.get("/metrics").text
    for handler, method in (("/v1/jobs/{job_id}/predict", "POST"), ("/v2/health/{what}", "GET")):
        assert f'http_requests_total{{handler="{handler}",method="{method}",status="2xx"}} 1.0' in counted
