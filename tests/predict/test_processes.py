"""The processes for predictions and what they listen on."""

import socket
import subprocess
import threading
from pathlib import Path

import httpx2

import predict.server
from heldout.settings import Settings
from tests.predict.world import predicting


def test_the_api_may_have_more_connections_than_any_client(sqlite_template: Path, tmp_path: Path):
    settings = Settings(
        home=tmp_path, database_url=f"sqlite:///{sqlite_template}", redis_url=None, max_connections_per_address=1
    )
    with predicting(settings) as url, httpx2.Client(base_url=url) as one, httpx2.Client(base_url=url) as other:
        first = one.get("/livez").extensions["network_stream"]
        assert other.get("/livez").status_code == 200
        assert one.get("/livez").extensions["network_stream"] is first, "it was not sent away"


def test_a_start_that_fails_is_tried_again(monkeypatch):
    stopping, left = threading.Event(), [OSError("no file is free")]

    def started(listener: socket.socket) -> subprocess.Popen[bytes]:
        if left:
            raise left.pop()
        stopping.set()
        return subprocess.Popen(["sleep", "60"], stdin=subprocess.PIPE)

    monkeypatch.setattr(predict.server, "RESTART_PAUSE_S", 0.01)
    monkeypatch.setattr(predict.server, "_started", started)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        keeper = threading.Thread(target=predict.server._keep, args=(listener, stopping))
        keeper.start()
        keeper.join(10)
    assert stopping.is_set()
    assert not keeper.is_alive()
