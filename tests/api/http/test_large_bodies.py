"""Large JSON bodies: each is completely in memory, so few are received at once, and no owner gets all places."""

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
from tests.api.support import assert_problem, bearer, key_for, sqlite_only, wait_until

pytestmark = sqlite_only

LARGE = b'{"name": "' + b"x" * 100_000 + b'"}'
SMALL = b'{"name": "x"}'


@contextmanager
def parked(service: httpx2.Client, key: str, count: int) -> Iterator[list[socket.socket]]:
    """Large bodies without their last byte."""
    url = urlsplit(str(service.base_url))
    head = (
        f"POST /v1/jobs HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(LARGE)}\r\n\r\n"
    ).encode()
    with ExitStack() as opened:
        connections = []
        for _ in range(count):
            one = opened.enter_context(socket.create_connection((url.hostname, url.port), timeout=30))
            one.sendall(head + LARGE[:-1])
            connections.append(one)
        yield connections


def until_all_are_taken(app: FastAPI) -> None:
    """Wait until an owner has all of its places: requests of several connections are read in any order."""
    taken = app.state.context.large_bodies._places._taken
    wait_until(lambda: taken.total() == places.BODIES_AT_ONCE_PER_OWNER)


def ask(service: httpx2.Client, key: str, body: bytes) -> httpx2.Response:
    headers = {**bearer(key), "Content-Type": "application/json"}
    return httpx2.post(service.base_url.join("/v1/jobs"), content=body, headers=headers, timeout=60)


def test_an_owner_s_stalled_bodies_take_its_own_places_alone(service, app, key, database, monkeypatch):
    monkeypatch.setattr(places, "PATIENCE_S", 1.0)
    other = key_for(database, "eve")
    with parked(service, key, 2 * places.BODIES_AT_ONCE_PER_OWNER) as connections:
        until_all_are_taken(app)
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


def test_a_body_waits_for_a_place_and_gets_the_next_one(service, app, key, monkeypatch):
    monkeypatch.setattr(places, "PATIENCE_S", 60.0)
    answers: list[int] = []
    with parked(service, key, places.BODIES_AT_ONCE_PER_OWNER) as connections:
        until_all_are_taken(app)
        waiting = threading.Thread(target=lambda: answers.append(ask(service, key, LARGE).status_code))
        waiting.start()
        waiting.join(0.5)
        assert answers == []
        connections[0].sendall(LARGE[-1:])
        waiting.join(30)
    assert answers == [422]


def test_a_client_that_leaves_gives_its_place_back(service, key):
    for _ in range(2):
        with parked(service, key, places.BODIES_AT_ONCE_PER_OWNER):
            pass
    assert_problem(ask(service, key, LARGE), 422, "invalid_spec")


@pytest.fixture
def no_collector() -> Iterator[None]:
    """What is in a cycle of references stays."""
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
        pytest.param(b'["' + b"x" * 100_000, 400, id="no JSON"),
    ],
)
def test_of_a_body_that_is_refused_nothing_stays_in_memory(service, key, body, code):
    """What the garbage collector had to find took half a gigabyte, before it came."""
    assert ask(service, key, body).status_code == code

    def kept() -> list[object]:
        """The content, or what the parser or the validator said of it, which holds it too."""
        objects = gc.get_objects()
        contents = [one for one in objects if isinstance(one, dict) and "field8999" in one]
        return contents + [one for one in objects if isinstance(one, json.JSONDecodeError | ValidationError)]

    wait_until(lambda: not kept())
