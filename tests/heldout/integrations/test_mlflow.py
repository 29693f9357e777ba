"""`heldout mlflow` with MLflow's own client and a store in a folder; tests/e2e/test_mlflow_server.py has a server."""

import json
import signal
import subprocess
import sys
import threading

import pytest
from mlflow import MlflowClient

from tests.heldout.integrations.mlflow_runs import assert_epochs, assert_is_of, only_run
from tests.heldout.relay import Relay
from tests.heldout.served import SPEC, until


@pytest.fixture
def store(tmp_path, monkeypatch):
    """MLflow's environment for a store in a folder."""
    names = {"MLFLOW_TRACKING_URI": (tmp_path / "mlruns").as_uri(), "MLFLOW_ALLOW_FILE_STORE": "true"}
    for name, value in names.items():
        monkeypatch.setenv(name, value)
    return names


@pytest.fixture
def reader(store):
    return MlflowClient(store["MLFLOW_TRACKING_URI"])


def test_a_job_becomes_a_run_with_its_figures_gap_and_files(client, ended, heldout, store, reader, tmp_path):
    done = heldout("mlflow", ended, **store)
    assert done.returncode == 0, done.stderr
    run = only_run(reader)
    assert done.stdout == f"{ended}: run {run.info.run_id}\n"
    files = tmp_path / "files"
    files.mkdir()
    reader.download_artifacts(run.info.run_id, "", str(files))
    assert_is_of(reader, run, client, ended, files)
    client.jobs.download_model(ended, tmp_path / "model.keras")
    assert (files / "model.keras").read_bytes() == (tmp_path / "model.keras").read_bytes()

    again = json.loads(heldout("mlflow", ended, "--json", **store).stdout)
    assert again == {"runs": {ended: run.info.run_id}, "unsent": {}}
    assert_epochs(reader, only_run(reader), client.jobs.metrics(ended).epochs)


def test_a_running_job_is_followed_to_its_end_in_one_run(service, client, heldout, store, reader):
    spec = {**SPEC, "metadata": {"team": "vision", "über/größe": "1"}}
    job_id = client.jobs.create(spec).id
    held = service.begin(job_id)
    service.measure(held, 1)
    heldout("mlflow", job_id, **store)
    begun = only_run(reader)
    assert begun.info.status == "RUNNING"
    assert begun.data.tags["metadata.team"] == "vision"
    assert_epochs(reader, begun, client.jobs.metrics(job_id).epochs)

    def end():
        service.measure(held, 2, fit_loss=float("inf"))
        service.fail(held)

    later = threading.Timer(0.5, end)
    later.start()
    assert heldout("mlflow", job_id, "--follow", "--no-model", **store).returncode == 0
    later.join()
    run = only_run(reader)
    assert (run.info.run_id, run.info.status) == (begun.info.run_id, "FAILED")
    assert run.data.tags["heldout.error"] == "diverged: The loss is not finite."
    assert [point.step for point in reader.get_metric_history(run.info.run_id, "val_loss")] == [1, 2]
    assert [point.step for point in reader.get_metric_history(run.info.run_id, "loss")] == [1]


def test_without_ids_each_job_that_ends_is_sent(service, client, environment, store, reader, tmp_path):
    relay = Relay(service.url)
    command = [sys.executable, "-m", "heldout", "mlflow", "--follow", "--no-model"]
    found = environment | store | {"HELDOUT_URL": relay.url}
    with subprocess.Popen(command, cwd=tmp_path, env=found, stdout=subprocess.PIPE, text=True) as process:
        until(lambda: b"\nid: " in relay.received, "the stream has begun", within_s=120)
        job_id = client.jobs.create(SPEC).id
        held = service.begin(job_id)
        service.measure(held, 1)
        service.succeed(held)
        assert process.stdout.readline() == f"{job_id}: run {only_run(reader).info.run_id}\n"
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130
    relay.close()


def test_an_unreachable_server_is_reported_and_changes_nothing(client, ended, heldout):
    away = {"MLFLOW_TRACKING_URI": "http://127.0.0.1:9", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0"}
    done = heldout("mlflow", ended, **away)
    assert done.returncode == 2
    assert "MLflow at http://127.0.0.1:9" in done.stderr
    assert client.jobs.get(ended).status == "succeeded"


def test_without_an_address_or_the_package_nothing_is_sent(ended, heldout, monkeypatch):
    assert "Set MLFLOW_TRACKING_URI" in heldout("mlflow", ended).stderr
    assert "Name jobs" in heldout("mlflow").stderr
    monkeypatch.delitem(sys.modules, "heldout.cli.mlflow_tracking", raising=False)
    monkeypatch.setitem(sys.modules, "mlflow", None)  # as if it were not installed
    done = heldout("mlflow", ended, MLFLOW_TRACKING_URI="http://127.0.0.1:9")
    assert done.returncode == 2
    assert "pip install mlflow-skinny" in done.stderr
