"""The processes for predictions and what they listen to."""

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import httpx2

import predict.server
from heldout.service.settings import Settings
from tests.e2e.running import ROOT, until
from tests.predict.world import predicting
from tests.servers import find_free_port


def test_the_api_may_have_more_connections_than_any_client(sqlite_template: Path, tmp_path: Path):
    settings = Settings(
        home=tmp_path, database_url=f"sqlite:///{sqlite_template}", redis_url=None, max_connections_per_address=1
    )
    with predicting(settings) as url, httpx2.Client(base_url=url) as one, httpx2.Client(base_url=url) as other:
        first = one.get("/livez").extensions["network_stream"]
        assert other.get("/livez").status_code == 200
        assert one.get("/livez").extensions["network_stream"] is first, "it was not sent away"


def test_a_start_that_fails_is_tried_again(monkeypatch, tmp_path):
    stopping, left = threading.Event(), [OSError("no file is free")]

    def started(listener: socket.socket, metrics_folder: str) -> subprocess.Popen[bytes]:
        if left:
            raise left.pop()
        stopping.set()
        return subprocess.Popen(["sleep", "60"], stdin=subprocess.PIPE)

    monkeypatch.setattr(predict.server, "RESTART_PAUSE_S", 0.01)
    monkeypatch.setattr(predict.server, "_start_process", started)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        keeper = threading.Thread(target=predict.server._keep, args=(listener, stopping, str(tmp_path)))
        keeper.start()
        keeper.join(10)
    assert stopping.is_set()
    assert not keeper.is_alive()


@contextmanager
def processes(folder: Path, database: Path) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """Two processes for predictions in a process group of their own, once one answers, and their port."""
    port = find_free_port()
    kept = {name: value for name, value in os.environ.items() if not name.startswith("HELDOUT_")}
    ours = {
        "HELDOUT_HOME": str(folder),
        "HELDOUT_DATABASE_URL": f"sqlite:///{database}",
        "HELDOUT_PORT": str(port),
        "HELDOUT_PREDICT_PROCESSES": "2",
    }
    running = subprocess.Popen([sys.executable, "-m", "predict"], env=kept | ours, cwd=ROOT, start_new_session=True)
    try:
        assert until(lambda: asked("GET", port, "/livez"), "an answer")
        yield running, port
    finally:
        running.terminate()
        running.wait(60)


def asked(method: str, port: int, path: str) -> httpx2.Response | None:
    with suppress(httpx2.TransportError):
        return httpx2.request(method, f"http://127.0.0.1:{port}{path}", timeout=60)
    return None


def test_several_processes_tell_metrics_together_and_keep_connections_waiting_while_they_are_busy(
    sqlite_template: Path, tmp_path: Path
):
    with processes(tmp_path, sqlite_template) as (running, port):
        for _ in range(20):
            assert asked("POST", port, "/v1/jobs/x/predict").status_code == 401
        for _ in range(8):
            assert 'heldout_predict_requests_total{status="4xx"} 20.0' in asked("GET", port, "/metrics").text
        os.killpg(running.pid, signal.SIGSTOP)
        try:
            with ExitStack() as opened:
                for _ in range(50):
                    opened.enter_context(socket.create_connection(("127.0.0.1", port), timeout=60))
        finally:
            os.killpg(running.pid, signal.SIGCONT)
        assert asked("GET", port, "/livez").status_code == 200
