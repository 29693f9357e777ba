"""`heldout mlflow` with a real MLflow server, which stores figures in a database and files in a folder."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import httpx2
import pytest
from mlflow import MlflowClient

from tests.e2e.running import ROOT, until
from tests.heldout.integrations.mlflow_runs import assert_is_of, only_run
from tests.servers import find_free_port

pytestmark = pytest.mark.proof

SPEC = {"name": "small", "dataset": "digits", "network": {"blocks": [{"filters": 8}]}, "training": {"epochs": 2}}

# Send nothing elsewhere, and start no processes for features that are not used here.
OPTIONS = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}


def _command() -> list[str]:
    """Return the program TEST_MLFLOW, or the command by which uv runs a server in its own environment."""
    given = os.environ.get("TEST_MLFLOW")
    uv = shutil.which("uv", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    return [given] if given else [str(uv), "tool", "run", "mlflow"]


@pytest.fixture
def server(tmp_path):
    """A server's address, and functions that start and stop it."""
    port = find_free_port()
    url, folder = f"http://127.0.0.1:{port}", tmp_path / "mlflow"
    folder.mkdir()
    started = []

    def start():
        folders = ["--backend-store-uri", f"sqlite:///{folder}/mlflow.db", "--artifacts-destination", str(folder)]
        with (folder / "log").open("ab") as log:
            started.append(
                subprocess.Popen(
                    [*_command(), "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1", *folders],
                    env=os.environ | OPTIONS,
                    cwd=folder,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )
            )
        until(lambda: _answers(f"{url}/health") or started[-1].poll() is not None, "MLflow", 600)
        assert started[-1].poll() is None, (folder / "log").read_text()

    def stop():
        os.killpg(started[-1].pid, 15)
        started.pop().wait(60)

    start()
    yield url, start, stop
    if started:
        stop()


def _answers(url):
    try:
        return httpx2.get(url, timeout=30).status_code == 200
    except httpx2.TransportError:
        return False


def test_a_job_becomes_a_run_on_a_real_server_once_it_is_back(service, client, server, tmp_path):
    url, start, stop = server
    job = client.train(SPEC)
    job.wait()
    stop()
    environment = os.environ | {
        "PYTHONPATH": str(ROOT),
        "HELDOUT_HOME": str(service.home),
        "MLFLOW_TRACKING_URI": url,
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    }
    command = [sys.executable, "-m", "heldout", "mlflow", job.id]
    away = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (away.returncode, away.stdout) == (2, "")
    assert url in away.stderr
    start()
    for _ in range(2):  # the second time, nothing is left to send
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    reader = MlflowClient(url)
    run = only_run(reader)
    assert done.stdout == f"{job.id}: run {run.info.run_id}\n"
    files = tmp_path / "files"
    files.mkdir()
    reader.download_artifacts(run.info.run_id, "", str(files))
    assert_is_of(reader, run, client, job.id, files)
