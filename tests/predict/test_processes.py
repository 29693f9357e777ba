"""Prediction processes start, share metrics and queue connections."""

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
    with predicting(settings) as url, httpx2.Client(base_url=url) as first_client, httpx2.Client(base_url=url) as other:
        first = first_client.get("/livez").extensions["network_stream"]
        assert other.get("/livez").status_code == 200
        assert first_client.get("/livez").extensions["network_stream"] is first, "it was not disconnected"


def test_a_failed_start_is_repeated(monkeypatch, tmp_path):
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
        keeper.join(50)
    assert stopping.is_set()
    assert not keeper.is_alive()


@contextmanager
def run_processes(folder: Path, database: Path) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """Run two prediction processes in their own process group. Yields the first and their port once they answer."""
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
        assert until(lambda: ask("GET", port, "/livez"), "the first response")
        yield running, port
    finally:
        running.terminate()
        running.wait(60)


def ask(method: str, port: int, path: str) -> httpx2.Response | None:
    with suppress(httpx2.TransportError):
        return httpx2.request(method, f"http://127.0.0.1:{port}{path}", timeout=240)
    return None


def test_processes_share_metrics_and_queue_connections_while_busy(sqlite_template: Path, tmp_path: Path):
    with run_processes(tmp_path, sqlite_template) as (running, port):
        for _ in range(20):
            assert ask("POST", port, "/v1/jobs/x/predict").status_code == 401
        for _ in range(8):
            assert 'heldout_predict_requests_total{status="4xx"} 20.0' in ask("GET", port, "/metrics").text
        os.killpg(running.pid, signal.SIGSTOP)
        try:
            with ExitStack() as opened:
                for _ in range(50):
                    opened.enter_context(socket.create_connection(("127.0.0.1", port), timeout=60))
        finally:
            os.killpg(running.pid, signal.SIGCONT)
        assert ask("GET", port, "/livez").status_code == 200
