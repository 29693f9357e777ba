"""Large JSON bodies are held in memory, so few are received at once, and no owner gets all places."""

import gc
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from urllib.parse import urlsplit

import httpx2
import pytest
from fastapi import FastAPI
from pydantic import ValidationError

from api.http import places
from tests.api.support import assert_problem, bearer, make_key, sqlite_only, wait_until

pytestmark = sqlite_only

LARGE = b'{"name": "' + b"x" * 100_000 + b'"}'
SMALL = b'{"name": "x"}'


@contextmanager
def park_bodies(service: httpx2.Client, key: str, count: int) -> Iterator[list[socket.socket]]:
    """Yield connections with large bodies that lack their last byte."""
    url = urlsplit(str(service.base_url))
    head = (
        f"POST /v1/jobs HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(LARGE)}\r\n\r\n"
    ).encode()
    with ExitStack() as opened:
        connections = []
        for _ in range(count):
            connection = opened.enter_context(socket.create_connection((url.hostname, url.port), timeout=240))
            connection.sendall(head + LARGE[:-1])
            connections.append(connection)
        yield connections


def wait_until_full(app: FastAPI) -> None:
    """Wait until an owner has taken all of its places, because connections are read in any order."""
    taken = app.state.context.large_bodies._places._taken
    wait_until(lambda: taken.total() == places.BODIES_AT_ONCE_PER_OWNER)


def ask(service: httpx2.Client, key: str, body: bytes) -> httpx2.Response:
    headers = {**bearer(key), "Content-Type": "application/json"}
    return httpx2.post(service.base_url.join("/v1/jobs"), content=body, headers=headers, timeout=60)


def test_an_owners_stalled_bodies_use_only_that_owners_places(service, app, key, database, monkeypatch):
    monkeypatch.setattr(places, "PATIENCE_S", 1.0)
    other = make_key(database, "eve")
    with park_bodies(service, key, 2 * places.BODIES_AT_ONCE_PER_OWNER) as connections:
        wait_until_full(app)
        for path in ("/v1/jobs", "/v1/datasets"):
            refused = service.post(path, content=LARGE, headers={"Content-Type": "application/json"})
            assert_problem(refused, 429, "too_many_uploads")
            assert refused.headers["retry-after"] == "5"
        assert_problem(ask(service, key, SMALL), 422, "invalid_spec")
        assert_problem(ask(service, other, LARGE), 422, "invalid_spec")
        answers = []
        for connection in connections:
            connection.sendall(LARGE[-1:])
            answers.append(connection.recv(65_536)[9:12])
    assert sorted(answers) == [b"422"] * 8 + [b"429"] * 8
    assert_problem(ask(service, key, LARGE), 422, "invalid_spec")


def test_a_body_waits_for_the_next_free_place(service, app, key, monkeypatch):
    monkeypatch.setattr(places, "PATIENCE_S", 60.0)
    answers: list[int] = []
    with park_bodies(service, key, places.BODIES_AT_ONCE_PER_OWNER) as connections:
        wait_until_full(app)
        waiting = threading.Thread(target=lambda: answers.append(ask(service, key, LARGE).status_code))
        waiting.start()
        waiting.join(0.5)
        assert answers == []
        connections[0].sendall(LARGE[-1:])
        waiting.join(240)
    assert answers == [422]


def test_a_client_that_leaves_gives_its_place_back(service, key):
    for _ in range(2):
        with park_bodies(service, key, places.BODIES_AT_ONCE_PER_OWNER):
            pass
    assert_problem(ask(service, key, LARGE), 422, "invalid_spec")


@pytest.fixture
def no_collector() -> Iterator[None]:
    """Turn off the garbage collector, so that reference cycles stay."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("no_collector")
@pytest.mark.parametrize(
    ("body", "code"),
    [
        pytest.param(json.dumps({f"field{number}": [number] for number in range(9000)}).encode(), 422, id="values"),
        pytest.param(b'{"a": 1, "a": {"field8999": "' + b"x" * 100_000 + b'"}}', 400, id="a repeated name"),
        pytest.param(b'["' + b"x" * 100_000, 400, id="not JSON"),
    ],
)
def test_nothing_of_a_refused_body_stays_in_memory(service, key, body, code):
    """Refused bodies in reference cycles once took half a gigabyte before the collector ran."""
    assert ask(service, key, body).status_code == code

    def kept() -> list[object]:
        """List what holds the content, including errors of the parser or the validator."""
        objects = gc.get_objects()
        contents = [item for item in objects if isinstance(item, dict) and "field8999" in item]
        return contents + [item for item in objects if isinstance(item, json.JSONDecodeError | ValidationError)]

    wait_until(lambda: not kept())
