"""The repository's proxy configuration in a real nginx, in front of a real API."""

import http.client
import json
import re
import shutil
import signal
import socket
import ssl
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx2
import pytest

from models.ids import make_id
from tests.e2e.running import ROOT, until
from tests.e2e.stack import Program, Stack, digits
from tests.servers import find_free_port

NGINX = shutil.which("nginx", path="/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin")
pytestmark = pytest.mark.skipif(NGINX is None, reason="nginx is not installed: apt-get install nginx-light")


@dataclass(frozen=True)
class Proxied:
    """A stack and the ports of its proxy."""

    stack: Stack
    predict: Program
    https_port: int
    http_port: int
    certificate: Path

    @property
    def url(self) -> str:
        return f"https://localhost:{self.https_port}"

    def client(self, **headers: str) -> httpx2.Client:
        context = ssl.create_default_context(cafile=str(self.certificate))
        return httpx2.Client(base_url=self.url, headers=headers, verify=context, timeout=30, trust_env=False)


@pytest.fixture(scope="module")
def proxied(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxied]:
    folder = tmp_path_factory.mktemp("tls")
    file = folder / "heldout.db"
    file.write_bytes(sqlite_template.read_bytes())
    predict_port = str(find_free_port())
    own = {"HELDOUT_TRUSTED_PROXIES": '["127.0.0.1"]', "HELDOUT_PREDICT_URL": f"http://127.0.0.1:{predict_port}"}
    stack = Stack(folder / "stack", f"sqlite:///{file}", **own)
    predict = stack.start_predict(HELDOUT_PORT=predict_port)
    made = Proxied(stack, predict, find_free_port(), find_free_port(), folder / "fullchain.pem")
    _make_certificate(folder)
    (folder / "nginx.conf").write_text(_configuration(made, folder))
    stack.start_api()
    command = [str(NGINX), "-e", "stderr", "-c", str(folder / "nginx.conf"), "-g", "daemon off;"]
    with (folder / "nginx.log").open("wb") as log:
        nginx = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        until(lambda: _listens(made.https_port) or nginx.poll() is not None, "nginx")
        until(lambda: _listens(int(predict_port)), "the process for predictions")
        assert nginx.poll() is None, (folder / "nginx.log").read_text()
        yield made
    finally:
        nginx.send_signal(signal.SIGTERM)
        nginx.wait(240)
        predict.kill_all()
        stack.close()


def _make_certificate(folder: Path) -> None:
    """Make the certificate with the command of the how-to page."""
    page = (ROOT / "docs/how-to/tls.md").read_text()
    [command] = re.findall(r"openssl req .*?fullchain\.pem\n", page, re.DOTALL)
    subprocess.run(["sh", "-c", command], cwd=folder, check=True, capture_output=True)


def _configuration(made: Proxied, folder: Path) -> str:
    """Return the repository's file, with this test's ports, paths and addresses."""
    text = (ROOT / "proxy/nginx.conf").read_text()
    here = {
        "/tmp/": f"{folder}/",
        "server api:8000": f"server 127.0.0.1:{made.stack.environment['HELDOUT_PORT']}",
        "server predict:8000": made.stack.environment["HELDOUT_PREDICT_URL"].replace("http://", "server "),
        "listen 8443 ssl;": f"listen 127.0.0.1:{made.https_port} ssl;",
        "listen 8080;": f"listen 127.0.0.1:{made.http_port};",
        "/etc/nginx/tls/": f"{folder}/",
    }
    for container, ours in here.items():
        assert container in text, container
        text = text.replace(container, ours)
    return text


def test_clients_get_tls_and_everything_but_the_metrics(proxied):
    with proxied.client(Authorization=f"Bearer {proxied.stack.key}") as client:
        job = client.post("/v1/jobs", json=digits())
        assert job.status_code == 201
        assert client.get(f"/v1/jobs/{job.json()['id']}").json()["id"] == job.json()["id"]
        assert client.get("/docs").status_code == 200
        assert "max-age" in client.get("/livez").headers["strict-transport-security"]
        assert client.get("/metrics").status_code == 404
    with pytest.raises(httpx2.ConnectError, match=r"(?i)certificate"):
        httpx2.get(proxied.url, trust_env=False)
    plain = httpx2.get(f"http://localhost:{proxied.http_port}/v1/jobs?a=b", trust_env=False)
    assert (plain.status_code, plain.headers["location"]) == (308, "https://localhost/v1/jobs?a=b")


def test_a_browser_logs_in_with_a_secure_cookie_and_from_its_own_pages_alone(proxied):
    with proxied.client() as client:
        body = {"key": proxied.stack.key}
        answer = client.post("/v1/session", json=body, headers={"Origin": proxied.url})
        assert answer.status_code == 201
        assert "Secure" in answer.headers["set-cookie"]
        assert client.post("/v1/jobs", json=digits(), headers={"Origin": proxied.url}).status_code == 201
        cross_site = client.post("/v1/jobs", json=digits(), headers={"Origin": "https://elsewhere.example"})
        assert (cross_site.status_code, cross_site.json()["code"]) == (403, "cross_site_request")


def test_events_are_streamed_as_they_happen(proxied):
    with proxied.client(Authorization=f"Bearer {proxied.stack.key}") as client:
        job = client.post("/v1/jobs", json=digits()).json()["id"]
        stream = client.stream("GET", f"/v1/jobs/{job}/events", headers={"Accept": "text/event-stream"})
        with stream as answer:
            lines = answer.iter_lines()
            assert any("job.queued" in line for line in lines)
            assert client.post(f"/v1/jobs/{job}/cancel").status_code == 200
            assert any("job.cancelled" in line for line in lines)


def test_an_upload_is_not_stored_by_the_proxy(proxied):
    with proxied.client(Authorization=f"Bearer {proxied.stack.key}") as client:
        made = client.post("/v1/datasets", json={"name": "large"})
        assert made.status_code == 201, made.text
        body = (b"x" * 1024 * 1024 for _ in range(24))
        answer = client.put(f"/v1/datasets/{made.json()['id']}/content", content=body)
    assert answer.status_code == 202, answer.text


def test_hostile_framing_is_refused(proxied):
    context = ssl.create_default_context(cafile=str(proxied.certificate))
    smuggled = (
        b"POST /v1/jobs HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET"
    )
    with (
        socket.create_connection(("127.0.0.1", proxied.https_port)) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as secured,
    ):
        secured.sendall(smuggled)
        answer = http.client.HTTPResponse(secured)
        answer.begin()
        assert answer.status == 400


def test_the_api_sees_the_clients_own_address(proxied):
    with proxied.client() as client:
        answer = client.get("/v1/jobs", headers={"X-Forwarded-For": "203.0.113.9"})
    assert answer.status_code == 401
    asked = [line for line in map(json.loads, proxied.stack.api.read_log().splitlines()) if line["event"] == "request"]
    assert asked[-1]["address"] == "127.0.0.1", "the address that a client claims is replaced"


def test_predictions_bypass_the_api_while_their_process_lives(proxied):
    path = f"/v1/jobs/{make_id('job')}/predict"

    def lines(program: Program) -> int:
        requests = [line for line in program.read_log().splitlines() if '"request"' in line]
        return sum(path in line or "/v2/" in line for line in requests)

    with proxied.client(Authorization=f"Bearer {proxied.stack.key}") as client:
        for asked in (path, f"/v2/models/{path.split('/')[3]}/infer"):
            assert client.post(asked, content=b"image").status_code == 404
        until(lambda: lines(proxied.predict) == 2, "the lines of the process for predictions")
        assert client.get("/v2", headers={"Authorization": ""}).json()["name"] == "heldout"
        assert client.get("/v2/health/live", headers={"Authorization": ""}).json() == {"live": True}
        assert lines(proxied.stack.api) == 0
        proxied.predict.kill_all()
        answer = client.post(path, content=b"image")
        assert (answer.status_code, answer.json()["code"]) == (503, "predictions_unavailable")


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
