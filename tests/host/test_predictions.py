"""The prediction process of `heldout up` runs only when there are requests."""

import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

import host.children
from heldout.service.settings import make_embedded_settings
from host.children import PredictionsOnDemand
from tests.e2e.running import children_of, command_of, lives, until

PATIENCE_S = 60


@pytest.fixture
def predictions(sqlite_template: Path, tmp_path: Path) -> Iterator[PredictionsOnDemand]:
    (tmp_path / "logs").mkdir()
    shutil.copyfile(sqlite_template, tmp_path / "heldout.db")
    settings = make_embedded_settings(tmp_path).model_copy(update={"predict_idle_s": 2.0})
    with PredictionsOnDemand(settings) as running:
        yield running


def find_processes() -> list[int]:
    """Return the prediction processes of this test."""
    return [pid for pid in children_of(os.getpid()) if lives(pid) and b"predict\0--fd" in command_of(pid)]


def test_a_process_starts_on_demand_ends_when_idle_and_starts_again(predictions):
    assert find_processes() == []
    assert httpx2.get(f"{predictions.url}/readyz", timeout=PATIENCE_S).json() == {"status": "ok"}
    (first,) = find_processes()
    until(lambda: not lives(first), "the end of the process")
    assert httpx2.get(f"{predictions.url}/readyz", timeout=PATIENCE_S).status_code == 200
    (second,) = find_processes()
    os.kill(second, signal.SIGKILL)
    until(lambda: not lives(second), "the end of the process")
    assert httpx2.get(f"{predictions.url}/readyz", timeout=PATIENCE_S).status_code == 200


def test_nothing_runs_after_the_service_has_ended(sqlite_template, tmp_path):
    (tmp_path / "logs").mkdir()
    shutil.copyfile(sqlite_template, tmp_path / "heldout.db")
    with PredictionsOnDemand(make_embedded_settings(tmp_path)) as running:
        httpx2.get(f"{running.url}/livez", timeout=PATIENCE_S)
        (pid,) = find_processes()
    assert not lives(pid)


def test_a_process_that_dies_at_its_start_ends_the_request(predictions, monkeypatch):
    monkeypatch.setattr(host.children, "RESTART_PAUSE_S", 0.1)
    monkeypatch.setenv("HELDOUT_RATE", "no rate")
    with pytest.raises(httpx2.TransportError):
        httpx2.get(f"{predictions.url}/livez", timeout=PATIENCE_S)
    monkeypatch.delenv("HELDOUT_RATE")
    assert httpx2.get(f"{predictions.url}/livez", timeout=PATIENCE_S).status_code == 200


def test_a_failed_start_is_repeated(predictions, tmp_path):
    (tmp_path / "logs").rmdir()
    with pytest.raises(httpx2.TransportError):
        httpx2.get(f"{predictions.url}/livez", timeout=PATIENCE_S)
    (tmp_path / "logs").mkdir()
    assert httpx2.get(f"{predictions.url}/livez", timeout=PATIENCE_S).status_code == 200
