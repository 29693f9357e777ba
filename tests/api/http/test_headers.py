"""Responses have the headers that browsers and caches obey."""

import os
import re
import socket
import threading
from base64 import b64encode
from contextlib import ExitStack
from hashlib import sha256

import httpx2
import pytest
from fastapi.testclient import TestClient

from api.app import MAX_CONNECTIONS, create_app
from tests.api.support import sqlite_only, submit
from tests.servers import find_free_port

pytestmark = sqlite_only


def test_every_response_forbids_content_sniffing(client, spec):
    job = submit(client, spec)["id"]
    for path in ("/", "/docs", "/docs/static/swagger-ui.css", "/openapi.json", "/livez", "/metrics", "/nowhere",
                 "/v1/jobs", f"/v1/jobs/{job}", "/v1/jobs/nothing", "/v1/datasets/digits"):  # fmt: skip
        assert client.get(path).headers["x-content-type-options"] == "nosniff", path
    assert client.post("/v1/jobs", content=b"{").headers["x-content-type-options"] == "nosniff"


def test_responses_with_secrets_are_never_cached(client, key):
    answers = [
        client.get("/v1/keys"),
        client.post("/v1/keys"),
        client.post("/v1/session", json={"key": key}),
        client.get("/v1/session"),
        client.get("/v1/webhooks"),
        client.post("/v1/webhooks", json={"url": "https://example.com/hook", "events": ["job.succeeded"]}),
    ]
    assert [answer.headers.get("cache-control") for answer in answers] == ["no-store"] * len(answers)


def test_the_api_documentation_runs_only_its_own_scripts(client):
    page = client.get("/docs")
    policy = dict(part.strip().split(" ", 1) for part in page.headers["content-security-policy"].split(";"))
    assert policy["default-src"] == "'none'"
    assert policy["frame-ancestors"] == "'none'"
    [script] = re.findall(r"<script>(.*?)</script>", page.text, re.DOTALL)
    assert policy["script-src"] == f"'self' 'sha256-{b64encode(sha256(script.encode()).digest()).decode()}'"
    assert policy["connect-src"] == "'self'"
    for address in re.findall(r'(?:src|href)="([^"]+)"', page.text):
        assert not address.startswith(("http:", "https:", "//")), "all files are served by this service"


def test_a_setting_moves_metrics_to_their_own_port(settings, app, free_port):
    with TestClient(create_app(settings.model_copy(update={"api_metrics_port": free_port}))) as client:
        assert client.get("/metrics").status_code == 404
        client.get("/v1/jobs")
        metrics = httpx2.get(f"http://127.0.0.1:{free_port}/metrics").text
        assert httpx2.get(f"http://127.0.0.1:{free_port}/v1/jobs").status_code == 404
    assert 'http_requests_total{handler="/v1/jobs",method="GET",status="4xx"} 1.0' in metrics
    assert "heldout_database_up 1.0" in metrics
    with pytest.raises(httpx2.ConnectError):
        httpx2.get(f"http://127.0.0.1:{free_port}/metrics")


@pytest.fixture
def free_port() -> int:
    return find_free_port()


def test_logging_in_accepts_only_small_bodies(client):
    answer = client.post("/v1/session", json={"key": "k" * 5000})
    assert (answer.status_code, answer.json()["code"]) == (413, "body_too_large")


def test_strangers_cannot_exhaust_the_metrics_port(settings, app, free_port):
    """They send half a request and stay. Each once held a thread that long."""
    half = b"GET /metrics HTTP/1.1\r\nHost: x\r\nX: "
    with TestClient(create_app(settings.model_copy(update={"api_metrics_port": free_port}))), ExitStack() as opened:
        before, files_before = threading.active_count(), len(os.listdir("/proc/self/fd"))
        for stranger in range(150):
            address = (f"127.0.0.{2 + stranger % 2}", 0)
            connection = opened.enter_context(socket.create_connection(("127.0.0.1", free_port), 10, address))
            connection.sendall(half)
        assert httpx2.get(f"http://127.0.0.1:{free_port}/metrics", timeout=60).status_code == 200
        assert threading.active_count() - before < 10
        files = len(os.listdir("/proc/self/fd")) - files_before
        assert files < 150 + MAX_CONNECTIONS + 10, "both ends are in this process, and the database has a few"
