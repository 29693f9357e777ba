"""Large responses: each is held in small pieces, has a place of its owner, and must be read at a minimum pace."""

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
from tests.api.support import assert_problem, bearer, key_for, serving, sqlite_only, wait_until
from tests.faults.hostile_tenant import IMAGES_OF_LARGE, LARGE, add_large_dataset

pytestmark = sqlite_only

SPLITS = f"/v1/datasets/{LARGE}/splits"


@pytest.fixture(autouse=True)
def _large_dataset(app: FastAPI, settings: Settings, database: Database) -> None:
    add_large_dataset(database, Blobs(settings.blobs_url), "ada")


@contextmanager
def reading_nothing(url: str, key: str, count: int) -> Iterator[list[socket.socket]]:
    """Clients that have requested the splits, and do not read them yet."""
    sent = f"GET {SPLITS} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\n\r\n".encode()
    with ExitStack() as opened:
        connections = []
        for _ in range(count):
            one = opened.enter_context(socket.socket())
            one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
            one.settimeout(30)
            one.connect(("127.0.0.1", int(url.rpartition(":")[2])))
            one.sendall(sent)
            connections.append(one)
        yield connections


def streams_of(app: FastAPI) -> int:
    return app.state.context.large_answers._streams._taken.total()


def test_splits_are_written_while_they_are_sent_and_say_their_length(service, key, monkeypatch):
    monkeypatch.setattr(downloads, "INDICES_AT_ONCE", 1000)
    for path, count in ((SPLITS, IMAGES_OF_LARGE), ("/v1/datasets/mnist5k/splits", 5000)):
        answer = service.get(path)
        splits = answer.json()
        assert answer.headers["content-length"] == str(len(answer.content))
        assert answer.text == json.dumps(splits, separators=(",", ":")), "as it was when it was made whole"
        assert sorted(np.concatenate([splits[name] for name in ("train", "validation", "test")])) == list(range(count))


def test_an_owner_s_slow_readers_take_its_own_places_alone(service, app, key, database, monkeypatch):
    monkeypatch.setattr(places, "PATIENCE_S", 0.5)
    other = bearer(key_for(database, "eve"))
    with reading_nothing(str(service.base_url).rstrip("/"), key, 2 * places.STREAMS_AT_ONCE_PER_OWNER):
        wait_until(lambda: streams_of(app) == places.STREAMS_AT_ONCE_PER_OWNER)
        refused = service.get(SPLITS)
        assert_problem(refused, 429, "too_many_downloads")
        assert refused.headers["retry-after"] == "5"
        assert service.get("/v1/jobs").status_code == 200, "small answers need no place"
        answer = httpx2.get(service.base_url.join("/v1/datasets/mnist5k/splits"), headers=other)
        assert answer.status_code == 200
    wait_until(lambda: streams_of(app) == 0)
    assert service.get(SPLITS).status_code == 200, "those who left gave their places back"


def test_an_answer_in_memory_has_a_place_too(service, app, key, database, monkeypatch):
    monkeypatch.setattr(places, "LARGE_ANSWER_BYTES", 100)
    whole = app.state.context.large_answers._whole
    with ExitStack() as held:
        for _ in range(places.WHOLE_AT_ONCE_PER_OWNER):
            held.enter_context(whole.take_for("ada"))
        assert_problem(service.get("/v1/datasets"), 429, "too_many_downloads")
        other = bearer(key_for(database, "eve"))
        assert httpx2.get(service.base_url.join("/v1/datasets"), headers=other).status_code == 200
    assert service.get("/v1/datasets").status_code == 200
    wait_until(lambda: not whole._taken)


def test_of_an_answer_a_connection_holds_two_pieces_at_most(app, key):
    with serving(app) as (url, server), reading_nothing(url, key, 4) as readers:
        wait_until(lambda: streams_of(app) == 4)
        wait_until(lambda: all(connection.flow.write_paused for connection in server.server_state.connections))
        waiting = [connection.transport.get_write_buffer_size() for connection in server.server_state.connections]
        assert max(waiting) <= 2 * protocol.PIECE_BYTES
        readers[0].settimeout(30)
        received = b""
        while not received.endswith(b"]}"):
            received += readers[0].recv(1024**2)
        assert json.loads(received.partition(b"\r\n\r\n")[2])["object"] == "splits"


def test_who_takes_an_answer_more_slowly_than_the_least_rate_is_cut(app, settings, key, monkeypatch):
    monkeypatch.setattr(protocol, "ReceivePace", partial(protocol.ReceivePace, patience_s=1.5))
    changed = create_app(settings.model_copy(update={"min_body_rate": 100_000}))
    with serving(changed) as (url, _), reading_nothing(url, key, 2) as (slow, steady):
        steady.settimeout(30)
        ends, taken, is_cut = time.monotonic() + 60, 0, False
        while not is_cut and time.monotonic() < ends:
            try:
                is_cut = not slow.recv(1000)
            except ConnectionResetError:
                is_cut = True
            for _ in range(50):
                taken += len(steady.recv(1000))
            time.sleep(0.05)  # the pace is what is tested: 20 and 1000 kB a second
        assert is_cut
        assert taken > 1000**2, "the other one is still served"
