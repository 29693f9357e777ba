"""What someone without a key can do to the service: nothing that stays in its memory, its metrics or its log."""

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

import httpx2
import pytest

from models.database import Database
from tests.api.support import assert_problem, key_for, wait_until

JSON = {"Content-Type": "application/json"}
MIB = 1024 * 1024


@pytest.fixture
def database_url(sqlite_url: str) -> str:
    """For what no database decides, one is enough."""
    return sqlite_url


# --- metrics and logs -----------------------------------------------------------------------------


def test_made_up_methods_and_paths_share_one_label_each(service):
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


def test_what_a_stranger_sends_is_logged_cut_to_a_bearable_length(service, log_lines):
    began = log_lines.tell()
    anonymous = {"Authorization": "", "X-Request-ID": "r" * 4_000, "User-Agent": "u" * 4_000}
    service.request("M" * 3_000, "/p" * 2_000, headers=anonymous)
    service.get("/v1/jobs", headers=anonymous | {"X-Request-ID": "after"})

    def logged() -> list[str]:
        return [line for line in log_lines.getvalue()[began:].splitlines() if '"event": "request"' in line]

    # A request is logged once it has been answered.
    wait_until(lambda: len(logged()) == 2, "the second line")
    lines = logged()
    assert max(map(len, lines)) < 1000
    [cut] = [one for one in map(json.loads, lines) if one["method"] != "GET"]
    assert cut["method"] == "M" * 15 + "…"
    assert cut["path"].startswith("/p/p")
    assert cut["path"].endswith("…")
    assert len(cut["path"]) == 200
    assert cut["request_id"].startswith("req_")
    assert any('"path": "/v1/jobs"' in line for line in lines), "what is short is logged whole"


# --- bodies ---------------------------------------------------------------------------------------


class Process:
    """A service in a process of its own, whose memory is looked at from outside."""

    def __init__(self, port: int, pid: int, key: str) -> None:
        self.port, self.pid, self.key = port, pid, key
        self.url = f"http://127.0.0.1:{port}"

    def peak_mib(self) -> float:
        [line] = [one for one in Path(f"/proc/{self.pid}/status").read_text().splitlines() if one.startswith("VmHWM")]
        return int(line.split()[1]) / 1024

    def connect(self, body_bytes: int, key: str | None, path: str = "/v1/jobs") -> socket.socket:
        """A connection that has sent the head of a POST which declares so large a body."""
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
    key = key_for(database, "ada")
    database.dispose()
    environment = {
        "HELDOUT_HOME": str(home),
        "HELDOUT_DATABASE_URL": url,
        "HELDOUT_BLOBS": stored_sets[0],
        "HELDOUT_LOG_LEVEL": "WARNING",
        "PATH": "",
    }
    with _uvicorn(environment) as (port, pid):
        yield Process(port, pid, key)


@contextmanager
def _uvicorn(environment: dict[str, str]) -> Iterator[tuple[int, int]]:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(2048)
        port = listening.getsockname()[1]
        command = [sys.executable, "-m", "uvicorn", "--factory", "api.app:from_environment"]
        command += ["--fd", str(listening.fileno()), "--no-access-log"]
        running = subprocess.Popen(
            command, env=environment, pass_fds=[listening.fileno()], stderr=subprocess.DEVNULL, cwd=Path.cwd()
        )
        try:
            # The socket listens already: the first answer comes when the app has started.
            httpx2.get(f"http://127.0.0.1:{port}/livez", timeout=60)
            yield port, running.pid
        finally:
            running.terminate()
            running.wait(120)


def test_parked_bodies_of_strangers_hold_next_to_no_memory(process):
    """Each sends all but the last byte of a body as large as is allowed."""
    before = process.peak_mib()
    strangers = 400
    _allow_open_files(strangers)
    with ExitStack() as open_connections:
        keys = islice(cycle([None, "nonsense", "ho_0123456789ab_wrong"]), strangers)
        parked = [open_connections.enter_context(process.connect(MIB, key)) for key in keys]
        for one in parked:
            _send_as_far_as_it_goes(one, b"[" * (MIB - 1))
        answers = [_answer(one) for one in parked]
        assert all(answer.startswith(b"HTTP/1.1 401 ") for answer in answers), answers[0][:100]
        assert all(b"connection: close" in answer.lower() for answer in answers)
        assert httpx2.get(f"{process.url}/livez").status_code == 200
    assert process.peak_mib() - before < 100, "a quarter of what was declared"


def test_a_stranger_who_sends_nothing_of_a_body_is_sent_away_soon(process):
    began = time.monotonic()
    with process.connect(MIB, None) as stranger:
        assert _answer(stranger).startswith(b"HTTP/1.1 401 ")
    assert time.monotonic() - began < 15, "half of the time after which a body that does not come is given up"


def test_a_stranger_who_asks_first_is_not_let_send_a_body(process):
    with socket.create_connection(("127.0.0.1", process.port)) as stranger:
        stranger.sendall(
            b"POST /v1/jobs HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            b"Content-Length: 1000\r\nExpect: 100-continue\r\n\r\n"
        )
        answer = _answer(stranger)
    assert answer.startswith(b"HTTP/1.1 401 "), "and no 100 before it"


def test_a_stranger_with_a_small_body_keeps_the_connection(service):
    with httpx2.Client(base_url=service.base_url) as stranger:
        answer = stranger.post("/v1/jobs", json={})
        assert_problem(answer, 401, "unauthenticated")
        assert answer.headers.get("connection", "keep-alive") == "keep-alive"


def test_the_service_answers_others_while_it_reads_large_bodies(process):
    """Each of these takes about a second to read. Read in the event loop, each would let one or two answers through."""
    body = b'{"dataset": ["\\u0041", ' + b", ".join([b"[]"] * 250_000) + b"]}"
    headers = {**JSON, "Authorization": f"Bearer {process.key}"}
    httpx2.post(f"{process.url}/v1/jobs", content=b"{}", headers=headers)  # starts what is started once
    answers = 0
    with httpx2.Client(base_url=process.url, timeout=60) as other:
        for _ in range(3):
            with process.connect(len(body), process.key) as large:
                large.sendall(body)
                while not select.select([large], [], [], 0)[0]:
                    assert other.get("/livez").status_code == 200
                    answers += 1
                assert _answer(large).startswith(b"HTTP/1.1 422 ")
    assert answers >= 12


def test_a_body_with_60_000_wrong_values_is_refused_in_seconds(service, spec):
    """Each wrong value of a union is compared with others; all pairs of them would take an hour."""
    spec["training"]["class_weights"] = {f"c{number}": "x" for number in range(60_000)}
    began = time.monotonic()
    problem = assert_problem(service.post("/v1/jobs", json=spec), 422, "invalid_spec")
    assert time.monotonic() - began < 60
    assert 1 < len(problem["errors"]) <= 50


@pytest.mark.parametrize("bad_body", [b"{", b'{"name": 1}', b" " * (MIB + 1), None])
def test_the_key_is_judged_first_then_the_query_then_the_body(service, bad_body):
    def code(path: str, **headers: str) -> str:
        if bad_body is None:
            return service.post(path, content=b"x", headers={"Content-Type": "text/plain", **headers}).json()["code"]
        return service.post(path, content=bad_body, headers={**JSON, **headers}).json()["code"]

    for query in ("?nothing=1", "?dry_run=perhaps"):
        assert code(f"/v1/jobs{query}", Authorization="") == "unauthenticated"
        assert code(f"/v1/jobs{query}") == "invalid_parameter"
    assert code("/v1/jobs") in {"invalid_json", "invalid_spec", "body_too_large", "unsupported_media_type"}


def test_a_look_up_that_is_refused_before_it_begins_tells_strangers_of_the_key_alone(service):
    for path in ("/v1/jobs/nonsense", "/v1/jobs/x?wait=long", "/v1/jobs/x?nothing=1"):
        assert_problem(service.get(path, headers={"Authorization": ""}), 401, "unauthenticated")
        assert service.get(path).status_code in {400, 404}


def _allow_open_files(connections: int) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, connections + 512)), hard))


def _send_as_far_as_it_goes(connection: socket.socket, data: bytes) -> None:
    """Send until the other side takes no more, or has closed."""
    connection.settimeout(0.1)
    with suppress(OSError):
        connection.sendall(data)


def _answer(connection: socket.socket) -> bytes:
    """What is received until the head of an answer is whole."""
    connection.settimeout(60)
    received = b""
    with suppress(ConnectionResetError):
        while b"\r\n\r\n" not in received and (chunk := connection.recv(65_536)):
            received += chunk
    return received
