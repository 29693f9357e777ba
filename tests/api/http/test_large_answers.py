"""Large responses are buffered in small pieces, take a place of their owner, and must be read at a minimum pace."""

import json
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial

import httpx2
import numpy as np
import pytest
from fastapi import FastAPI

from api.app import create_app
from api.connections import protocol
from api.http import places
from api.routes import downloads
from heldout.service.settings import Settings
from models.blobs import Blobs
from models.database import Database
from tests.api.support import assert_problem, bearer, make_key, run_server, sqlite_only, wait_until
from tests.faults.hostile_tenant import IMAGES_OF_LARGE, LARGE, add_large_dataset

pytestmark = sqlite_only

SPLITS = f"/v1/datasets/{LARGE}/splits"


@pytest.fixture(autouse=True)
def _large_dataset(app: FastAPI, settings: Settings, database: Database) -> None:
    add_large_dataset(database, Blobs(settings.blobs_url), "ada")


@contextmanager
def open_without_reading(url: str, key: str, count: int) -> Iterator[list[socket.socket]]:
    """Yield clients that have requested the splits and do not read them yet."""
    sent = f"GET {SPLITS} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\n\r\n".encode()
    with ExitStack() as opened:
        connections = []
        for _ in range(count):
            connection = opened.enter_context(socket.socket())
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
            connection.settimeout(240)
            connection.connect(("127.0.0.1", int(url.rpartition(":")[2])))
            connection.sendall(sent)
            connections.append(connection)
        yield connections


def count_streams(app: FastAPI) -> int:
    return app.state.context.large_answers._streams._taken.total()


def test_splits_are_streamed_with_their_exact_length(service, key, monkeypatch):
    monkeypatch.setattr(downloads, "INDICES_AT_ONCE", 1000)
    for path, count in ((SPLITS, IMAGES_OF_LARGE), ("/v1/datasets/mnist5k/splits", 5000)):
        answer = service.get(path)
        splits = answer.json()
        assert answer.headers["content-length"] == str(len(answer.content))
        assert answer.text == json.dumps(splits, separators=(",", ":")), "identical to a response made in one piece"
        assert sorted(np.concatenate([splits[name] for name in ("train", "validation", "test")])) == list(range(count))


def test_an_owners_slow_readers_use_only_that_owners_places(service, app, key, database, monkeypatch):
    monkeypatch.setattr(places, "PATIENCE_S", 0.5)
    other = bearer(make_key(database, "eve"))
    with open_without_reading(str(service.base_url).rstrip("/"), key, 2 * places.STREAMS_AT_ONCE_PER_OWNER):
        wait_until(lambda: count_streams(app) == places.STREAMS_AT_ONCE_PER_OWNER)
        refused = service.get(SPLITS)
        assert_problem(refused, 429, "too_many_downloads")
        assert refused.headers["retry-after"] == "5"
        assert service.get("/v1/jobs").status_code == 200, "small answers need no place"
        answer = httpx2.get(service.base_url.join("/v1/datasets/mnist5k/splits"), headers=other)
        assert answer.status_code == 200
    wait_until(lambda: count_streams(app) == 0)
    assert service.get(SPLITS).status_code == 200, "clients that left freed their places"


def test_a_response_held_in_memory_needs_a_place_too(service, app, key, database, monkeypatch):
    monkeypatch.setattr(places, "LARGE_ANSWER_BYTES", 100)
    whole = app.state.context.large_answers._whole
    with ExitStack() as held:
        for _ in range(places.WHOLE_AT_ONCE_PER_OWNER):
            held.enter_context(whole.take_for("ada"))
        assert_problem(service.get("/v1/datasets"), 429, "too_many_downloads")
        other = bearer(make_key(database, "eve"))
        assert httpx2.get(service.base_url.join("/v1/datasets"), headers=other).status_code == 200
    assert service.get("/v1/datasets").status_code == 200
    wait_until(lambda: not whole._taken)


def test_a_connection_buffers_at_most_two_pieces_of_a_response(app, key):
    with run_server(app) as (url, server), open_without_reading(url, key, 4) as readers:
        wait_until(lambda: count_streams(app) == 4)
        wait_until(lambda: all(connection.flow.write_paused for connection in server.server_state.connections))
        waiting = [connection.transport.get_write_buffer_size() for connection in server.server_state.connections]
        assert max(waiting) <= 2 * protocol.PIECE_BYTES
        readers[0].settimeout(240)
        received = b""
        while not received.endswith(b"]}"):
            received += readers[0].recv(1024**2)
        assert json.loads(received.partition(b"\r\n\r\n")[2])["object"] == "splits"


def test_a_reader_below_the_minimum_rate_is_disconnected(app, settings, key, monkeypatch):
    monkeypatch.setattr(protocol, "ReceivePace", partial(protocol.ReceivePace, patience_s=1.5))
    changed = create_app(settings.model_copy(update={"min_body_rate": 100_000}))
    with run_server(changed) as (url, _), open_without_reading(url, key, 2) as (slow, steady):
        steady.settimeout(240)
        ends, taken, is_cut = time.monotonic() + 60, 0, False
        while not is_cut and time.monotonic() < ends:
            try:
                is_cut = not slow.recv(1000)
            except ConnectionResetError:
                is_cut = True
            for _ in range(50):
                taken += len(steady.recv(1000))
            time.sleep(0.05)  # this test is about the pace: 20 and 1000 kB per second
        assert is_cut
        assert taken > 1000**2, "the other client is still served"
