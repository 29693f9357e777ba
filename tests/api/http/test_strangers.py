"""Someone without a key cannot fill the service's memory, metrics or log."""

import json
import resource
import select
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from itertools import cycle, islice
from pathlib import Path
from typing import TextIO

import httpx2
import pytest

from models.database import Database
from tests.api.support import assert_problem, make_key, wait_until

JSON = {"Content-Type": "application/json"}
MIB = 1024 * 1024


@pytest.fixture
def database_url(sqlite_url: str) -> str:
    """Use one database, because these tests do not depend on it."""
    return sqlite_url


# --- metrics and logs -----------------------------------------------------------------------------


def test_all_unknown_methods_and_paths_share_one_label_each(service):
    anonymous = {"Authorization": ""}

    def labels() -> list[str]:
        return [line for line in service.get("/metrics", headers=anonymous).text.splitlines() if "http_request" in line]

    service.request("BREW", "/v1/jobs", headers=anonymous)
    service.request("BREW", "/nowhere", headers=anonymous)
    service.get("/nowhere", headers=anonymous)
    known = labels()
    for number in range(20):
        service.request(f"MADEUP{number}", f"/v1/jobs?x={number}", headers=anonymous)
        service.request(f"MADEUP{number}", f"/nowhere/{number}", headers=anonymous)
        service.get(f"/nowhere/{number}", headers=anonymous)
    after = labels()
    assert len(after) == len(known), "no time series was added"
    assert "MADEUP" not in "".join(after)
    assert 'http_requests_total{handler="/v1/jobs",method="OTHER",status="4xx"} 21.0' in after
    assert 'http_requests_total{handler="unmatched",method="OTHER",status="4xx"} 21.0' in after
    assert 'http_requests_total{handler="unmatched",method="GET",status="4xx"} 21.0' in after


def test_long_values_from_strangers_are_truncated_in_the_log(service, log_lines):
    began = log_lines.tell()
    anonymous = {"Authorization": "", "X-Request-ID": "r" * 4_000, "User-Agent": "u" * 4_000}
    service.request("M" * 3_000, "/p" * 2_000, headers=anonymous)
    service.get("/v1/jobs", headers=anonymous | {"X-Request-ID": "after"})

    def logged() -> list[str]:
        return [line for line in log_lines.getvalue()[began:].splitlines() if '"event": "request"' in line]

    # A request is logged after its response.
    wait_until(lambda: len(logged()) == 2, "logging of the second line")
    lines = logged()
    assert max(map(len, lines)) < 1000
    [cut] = [entry for entry in map(json.loads, lines) if entry["method"] != "GET"]
    assert cut["method"] == "M" * 15 + "…"
    assert cut["path"].startswith("/p/p")
    assert cut["path"].endswith("…")
    assert len(cut["path"]) == 200
    assert cut["request_id"].startswith("req_")
    assert any('"path": "/v1/jobs"' in line for line in lines), "short values are logged unchanged"


# --- processes ---------------------------------------------------------------------------------------


class Process:
    """A service in its own process, whose memory is measured from outside."""

    def __init__(self, port: int, pid: int, key: str, log: Path) -> None:
        self.port, self.pid, self.key, self.log = port, pid, key, log
        self.url = f"http://127.0.0.1:{port}"

    def peak_mib(self) -> float:
        [line] = [
            line for line in Path(f"/proc/{self.pid}/status").read_text().splitlines() if line.startswith("VmHWM")
        ]
        return int(line.split()[1]) / 1024

    def connect(self, body_bytes: int, key: str | None, path: str = "/v1/jobs") -> socket.socket:
        """Open a connection and send the head of a POST that declares a body of this size."""
        sent = socket.create_connection(("127.0.0.1", self.port))
        sent.sendall(
            f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            f"Content-Length: {body_bytes}\r\n".encode()
            + (b"" if key is None else f"Authorization: Bearer {key}\r\n".encode())
            + b"\r\n"
        )
        return sent


@pytest.fixture(scope="module")
def process(sqlite_template: Path, stored_sets, tmp_path_factory) -> Iterator[Process]:
    home = tmp_path_factory.mktemp("process")
    url = f"sqlite:///{shutil.copyfile(sqlite_template, home / 'heldout.db')}"
    database = Database(url)
    stored_sets[1](database)
    key = make_key(database, "ada")
    database.dispose()
    environment = {
        "HELDOUT_HOME": str(home),
        "HELDOUT_DATABASE_URL": url,
        "HELDOUT_BLOBS": stored_sets[0],
        "PATH": "",
    }
    with (home / "log").open("w") as log, _run_uvicorn(environment, log) as (port, pid):
        yield Process(port, pid, key, home / "log")


@contextmanager
def _run_uvicorn(environment: dict[str, str], log: TextIO) -> Iterator[tuple[int, int]]:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(2048)
        port = listening.getsockname()[1]
        command = [sys.executable, "-m", "uvicorn", "--factory", "api.app:from_environment"]
        command += ["--fd", str(listening.fileno()), "--no-access-log"]
        running = subprocess.Popen(command, env=environment, pass_fds=[listening.fileno()], stderr=log, cwd=Path.cwd())
        try:
            # The socket already listens, so the first response arrives once the app has started.
            httpx2.get(f"http://127.0.0.1:{port}/livez", timeout=240)
            yield port, running.pid
        finally:
            running.terminate()
            running.wait(120)


def test_a_server_started_from_the_command_line_logs_only_json(process):
    """Our log handlers replace those of uvicorn before the app logs its first line."""
    httpx2.get(f"{process.url}/v1/jobs")
    wait_until(lambda: '"/v1/jobs"' in process.log.read_text(), "logging of the request")
    lines = process.log.read_text().rpartition("\n")[0].splitlines()  # the last line may be incomplete
    ours = [json.loads(line) for line in lines if not line.startswith("INFO:")]  # uvicorn starts before the app does
    assert ("request", "/v1/jobs") in {(line["event"], line.get("path")) for line in ours}


def test_parked_bodies_of_strangers_use_almost_no_memory(process):
    """Each stranger sends all but the last byte of the largest allowed body."""
    before = process.peak_mib()
    strangers = 400
    _allow_open_files(strangers)
    with ExitStack() as open_connections:
        keys = islice(cycle([None, "nonsense", "ho_0123456789ab_wrong"]), strangers)
        parked = [open_connections.enter_context(process.connect(MIB, key)) for key in keys]
        for connection in parked:
            _send_what_is_taken(connection, b"[" * (MIB - 1))
        answers = [_receive_head(connection) for connection in parked]
        assert all(answer.startswith(b"HTTP/1.1 401 ") for answer in answers), answers[0][:100]
        assert all(b"connection: close" in answer.lower() for answer in answers)
        assert httpx2.get(f"{process.url}/livez").status_code == 200
    assert process.peak_mib() - before < 100, "a quarter of what was declared"


def test_a_stranger_who_sends_no_body_is_soon_refused(process):
    began = time.monotonic()
    with process.connect(MIB, None) as stranger:
        assert _receive_head(stranger).startswith(b"HTTP/1.1 401 ")
    assert time.monotonic() - began < 15, "half of the time limit for bodies that never arrive"


def test_a_stranger_who_expects_100_continue_is_refused_at_once(process):
    with socket.create_connection(("127.0.0.1", process.port)) as stranger:
        stranger.sendall(
            b"POST /v1/jobs HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            b"Content-Length: 1000\r\nExpect: 100-continue\r\n\r\n"
        )
        answer = _receive_head(stranger)
    assert answer.startswith(b"HTTP/1.1 401 "), "without a 100 Continue before it"


def test_a_stranger_with_a_small_body_keeps_the_connection(service):
    with httpx2.Client(base_url=service.base_url) as stranger:
        answer = stranger.post("/v1/jobs", json={})
        assert_problem(answer, 401, "unauthenticated")
        assert answer.headers.get("connection", "keep-alive") == "keep-alive"


def test_the_service_answers_others_while_it_reads_large_bodies(process):
    """Parsing each body takes about a second. In the event loop, only one or two responses would get through."""
    body = b'{"dataset": ["\\u0041", ' + b", ".join([b"[]"] * 250_000) + b"]}"
    headers = {**JSON, "Authorization": f"Bearer {process.key}"}
    httpx2.post(f"{process.url}/v1/jobs", content=b"{}", headers=headers)  # warms up what starts only once
    answers = 0
    with httpx2.Client(base_url=process.url, timeout=60) as other:
        for _ in range(3):
            with process.connect(len(body), process.key) as large:
                large.sendall(body)
                while not select.select([large], [], [], 0)[0]:
                    assert other.get("/livez").status_code == 200
                    answers += 1
                assert _receive_head(large).startswith(b"HTTP/1.1 422 ")
    assert answers >= 12


def test_a_body_with_60_000_wrong_values_is_refused_in_seconds(service, spec):
    """Comparing all pairs of invalid union values would take an hour."""
    spec["training"]["class_weights"] = {f"c{number}": "x" for number in range(60_000)}
    began = time.monotonic()
    problem = assert_problem(service.post("/v1/jobs", json=spec), 422, "invalid_spec")
    assert time.monotonic() - began < 60
    assert 1 < len(problem["errors"]) <= 50


def test_the_key_is_judged_first_then_the_query_then_the_body(service):
    def get_code(query: str, content: bytes, **headers: str) -> str:
        return service.post(f"/v1/jobs{query}", content=content, headers=headers).json()["code"]

    for content, headers, code in (
        (b"{", JSON, "invalid_json"),
        (b'{"name": 1}', JSON, "invalid_spec"),
        (b" " * (MIB + 1), JSON, "body_too_large"),
        (b"x", {"Content-Type": "text/plain"}, "unsupported_media_type"),
    ):
        for query in ("?nothing=1", "?dry_run=perhaps"):
            assert get_code(query, content, Authorization="", **headers) == "unauthenticated"
            assert get_code(query, content, **headers) == "invalid_parameter"
        assert get_code("", content, **headers) == code


def test_a_query_parameter_that_takes_one_value_is_refused_if_it_occurs_twice(service):
    for query in ("limit=1&limit=2", "search=a&search=a", "metadata[a]=1&metadata[a]=2"):
        detail = assert_problem(service.get(f"/v1/jobs?{query}"), 400, "invalid_parameter")["detail"]
        assert detail == f"`{query.partition('=')[0]}` occurs twice and takes one value. Send it once."
    for query in ("status=queued&status=running", "metadata[a]=1&metadata[b]=2"):
        assert service.get(f"/v1/jobs?{query}").status_code == 200


def test_a_refused_parameter_names_all_values_that_it_takes(service):
    detail = assert_problem(service.get(f"/v1/jobs/job_{'0' * 26}/model?format=h5"), 400, "invalid_parameter")["detail"]
    assert all(f"'{name}'" in detail for name in ("keras", "saved_model", "onnx", "litert", "python", "keras_config"))
    detail = assert_problem(service.post("/v1/models?name="), 400, "invalid_parameter")["detail"]
    assert detail == '`name`: Received ""; string should have at least 1 character.'


def test_invalid_lookups_reveal_nothing_but_the_missing_key_to_strangers(service):
    for path in ("/v1/jobs/nonsense", "/v1/jobs/x?wait=long", "/v1/jobs/x?nothing=1"):
        assert_problem(service.get(path, headers={"Authorization": ""}), 401, "unauthenticated")
        assert service.get(path).status_code in {400, 404}


def _allow_open_files(connections: int) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, connections + 512)), hard))


def _send_what_is_taken(connection: socket.socket, data: bytes) -> None:
    """Send until the other side stops reading or closes."""
    connection.settimeout(0.1)
    with suppress(OSError):
        connection.sendall(data)


def _receive_head(connection: socket.socket) -> bytes:
    """Receive until the head of a response is complete."""
    connection.settimeout(60)
    received = b""
    with suppress(ConnectionResetError):
        while b"\r\n\r\n" not in received and (chunk := connection.recv(65_536)):
            received += chunk
    return received
