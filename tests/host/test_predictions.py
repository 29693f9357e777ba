"""The process for predictions of `heldout up`: it runs when someone asks, and only then."""

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


def processes() -> list[int]:
    """Processes for predictions that this test has."""
    return [pid for pid in children_of(os.getpid()) if lives(pid) and b"predict\0--fd" in command_of(pid)]


def test_a_process_starts_with_a_request_ends_when_no_one_asks_and_is_there_again(predictions):
    assert processes() == []
    assert httpx2.get(f"{predictions.url}/readyz", timeout=PATIENCE_S).json() == {"status": "ok"}
    (first,) = processes()
    until(lambda: not lives(first), "its end")
    assert httpx2.get(f"{predictions.url}/readyz", timeout=PATIENCE_S).status_code == 200
    (second,) = processes()
    os.kill(second, signal.SIGKILL)
    until(lambda: not lives(second), "its end")
    assert httpx2.get(f"{predictions.url}/readyz", timeout=PATIENCE_S).status_code == 200


def test_nothing_runs_after_the_service_has_ended(sqlite_template, tmp_path):
    (tmp_path / "logs").mkdir()
    shutil.copyfile(sqlite_template, tmp_path / "heldout.db")
    with PredictionsOnDemand(make_embedded_settings(tmp_path)) as running:
        httpx2.get(f"{running.url}/livez", timeout=PATIENCE_S)
        (pid,) = processes()
    assert not lives(pid)


def test_who_asks_for_a_process_that_dies_at_its_start_is_sent_away(predictions, monkeypatch):
    monkeypatch.setattr(host.children, "RESTART_PAUSE_S", 0.1)
    monkeypatch.setenv("HELDOUT_RATE", "no rate")
    with pytest.raises(httpx2.TransportError):
        httpx2.get(f"{predictions.url}/livez", timeout=PATIENCE_S)
    monkeypatch.delenv("HELDOUT_RATE")
    assert httpx2.get(f"{predictions.url}/livez", timeout=PATIENCE_S).status_code == 200


def test_a_start_that_fails_is_tried_again(predictions, tmp_path):
    (tmp_path / "logs").rmdir()
    with pytest.raises(httpx2.TransportError):
        httpx2.get(f"{predictions.url}/livez", timeout=PATIENCE_S)
    (tmp_path / "logs").mkdir()
    assert httpx2.get(f"{predictions.url}/livez", timeout=PATIENCE_S).status_code == 200
