"""Helpers for the tests of the API."""

import copy
import hashlib
import io
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
from fastapi import FastAPI

from api.app import ApiServer
from api.connections.server import Server
from heldout.lifecycle.job import FailureCode, JobStatus, StopReason
from heldout.spec.job import JobSpec
from heldout.stored.artifacts import ArtifactFormat, ArtifactName
from heldout.stored.gap import StoredGap
from heldout.stored.results import FinalView
from heldout.views.job import SummaryView
from models.blobs import Blobs
from models.database import Database
from models.job_summary import summarize_job
from models.store import claims, keys
from models.store.artifacts import Artifact
from models.store.claims import Capacity

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"

# For tests that do not depend on the type of database.
sqlite_only = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
postgresql_only = pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)


def make_key(database: Database, owner: str) -> str:
    with database.write() as session:
        return keys.make(session, owner)


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


@contextmanager
def run_server(app: FastAPI, listener: socket.socket | None = None) -> Iterator[tuple[str, Server]]:
    """Run the app on a real server, on a free port or on the given socket. Yields its URL and the
    server.
    """
    server = ApiServer(app, host="127.0.0.1", port=0)
    sockets = None if listener is None else [listener]
    thread = threading.Thread(target=server.run, args=(sockets,), name="uvicorn")
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive(), "the server did not start"
            thread.join(0.01)
        port = server.servers[0].sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{port}", server
    finally:
        server.ask_to_exit()
        thread.join(30)
        assert not thread.is_alive(), "the server did not stop"


@contextmanager
def start_stalled_request(
    service, key: str, method: str, path: str, start: bytes, kind: str, length: int
) -> Iterator[socket.socket]:
    """Send the start of a request's body, and nothing more."""
    url = urlsplit(str(service.base_url))
    with socket.create_connection((url.hostname, url.port)) as connection:
        head = f"{method} {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\n"
        head += f"Content-Type: {kind}\r\nContent-Length: {length}\r\n\r\n"
        connection.sendall(head.encode() + start)
        yield connection


def wait_until(condition, what: str = "it", timeout_s: float = 60.0) -> None:
    ends = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < ends, f"{what} did not happen in time"
        time.sleep(0.01)


def with_field(spec: dict, path: str, value: object) -> dict:
    """Copy the spec with another value at `training.epochs`, `network.blocks.0.filters`, …"""
    changed = copy.deepcopy(spec)
    *parents, last = path.split(".")
    part = changed
    for name in parents:
        part = part[int(name)] if isinstance(part, list) else part.setdefault(name, {})
    part[int(last) if isinstance(part, list) else last] = value
    return changed


def submit(client, spec: dict, **headers: str) -> dict:
    """Submit a job and return it."""
    answer = client.post("/v1/jobs", json=spec, headers=headers)
    assert answer.status_code == 201, answer.text
    return answer.json()


def assert_problem(answer, status: int, code: str, *pointers: str) -> dict:
    """Check that the response is this problem, complete, about these values."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert list(problem) == ["type", "title", "status", "detail", "code", "instance", "errors"]
    assert (problem["status"], problem["code"]) == (status, code)
    assert problem["type"] == f"urn:heldout:problem:{code}"
    assert problem["title"]
    assert problem["detail"]
    assert problem["instance"] == answer.request.url.path
    assert answer.headers["x-request-id"]
    if pointers:
        assert [error["pointer"] for error in problem["errors"]] == list(pointers), problem
        assert all(error["detail"] for error in problem["errors"])
    return problem


SPLIT = {"loss": 0.25, "accuracy": 0.9, "count": 1000, "interval": [0.88, 0.917], "metrics": {}}
FINAL: dict[str, Any] = {
    "epoch": 2,
    "train": {**SPLIT, "count": 3600},
    "validation": {**SPLIT, "count": 400},
    "test": SPLIT,
    "gap": {"validation": {"accuracy": 0.0, "loss": 0.0}, "test": {"accuracy": 0.0, "loss": 0.0}},
}
EPOCH = {
    "train_loss": 0.5,
    "train_accuracy": 0.8,
    "validation_loss": 0.6,
    "validation_accuracy": 0.75,
    "fit_loss": 0.7,
    "fit_accuracy": 0.7,
    "learning_rate": 0.001,
    "seconds": 1.5,
    "evaluation_seconds": 0.25,
    "images_per_second": 2400.0,
}
ENGINE = {
    "device": "cpu",
    "threads": 1,
    "towers": 1,
    "precision": "float32",
    "python": "3.11",
    "tensorflow": "2",
    "keras": "3",
    "host": "box",
}


def _predictions() -> bytes:
    """Return a `predictions.npz` with one test image."""
    content = io.BytesIO()
    probabilities = np.full((1, 10), 0.1, np.float32)
    np.savez(content, test_indices=np.array([4]), test_labels=np.array([7], np.int32), test_probabilities=probabilities)
    return content.getvalue()


PREDICTIONS = _predictions()


def make_artifact(name: str, format_: str, key: str, content: bytes) -> Artifact:
    return Artifact(ArtifactName(name), ArtifactFormat(format_), key, len(content), hashlib.sha256(content).hexdigest())


class PlayedWorker:
    """Simulates a worker: each method is one transaction that a worker makes."""

    def __init__(self, database: Database, blobs: Blobs) -> None:
        self.database = database
        self.blobs = blobs

    def claim(self) -> claims.HeldAttempt:
        with self.database.write() as session:
            claimed = claims.claim(session, "worker", Capacity(["auto", "cpu", "gpu"]), 60)
        assert claimed is not None, "no job is waiting"
        return claimed.held

    def begin(self, held: claims.HeldAttempt, spec: dict) -> None:
        with self.database.write() as session:
            claims.record_start(session, held, engine=ENGINE, spec=JobSpec.model_validate(spec), start_epoch=0)

    def epoch(self, held: claims.HeldAttempt, epoch: int, **values: float | None) -> None:
        with self.database.write() as session:
            claims.record_epoch(session, held, epoch, {**EPOCH, **values})
            claims.record_progress(session, held, epoch=epoch, eta_s=3.0)

    def succeed(
        self,
        held: claims.HeldAttempt,
        final: dict = FINAL,
        gap: StoredGap | None = None,
        stop_reason: StopReason = StopReason.COMPLETED,
        evaluation: bytes | None = None,
    ) -> JobStatus:
        prefix = f"jobs/{held.job_id}/{held.attempt}"
        model, predictions = b"keras" * 1_000_000, PREDICTIONS
        self.blobs.put(f"{prefix}/model.keras", model)
        self.blobs.put(f"{prefix}/predictions.npz", predictions)
        files = [
            make_artifact("model", "keras", f"{prefix}/model.keras", model),
            make_artifact("predictions", "npz", f"{prefix}/predictions.npz", predictions),
        ]
        described = {"gap": None if gap is None else gap.to_bytes(), "evaluation": evaluation}
        for name, content in described.items():
            if content is not None:
                self.blobs.put(f"{prefix}/{name}.json", content)
                files.append(make_artifact(name, "json", f"{prefix}/{name}.json", content))
        result = claims.Result(FinalView.model_validate(final), tuple(files))
        summary = self.summary(held, result)
        with self.database.write() as session:
            claims.note_summary(session, held, summary)
            return claims.succeed(session, held, result=result, stop_reason=stop_reason)

    def summary(self, held: claims.HeldAttempt, result: claims.Result) -> SummaryView | None:
        with self.database.read() as session:
            return summarize_job(session, self.blobs, held.job_id, result)

    def fail(self, held: claims.HeldAttempt, code: str = FailureCode.DIVERGED) -> JobStatus:
        with self.database.write() as session:
            return claims.fail(session, held, code=FailureCode(code), detail="The loss is not finite.")

    def stop_as_requested(self, held: claims.HeldAttempt) -> JobStatus:
        with self.database.write() as session:
            return claims.stop_as_requested(session, held)


@contextmanager
def database_outage(app: FastAPI, file: Path) -> Iterator[None]:
    """Replace the app's SQLite file with a directory during the block."""
    database = app.state.context.database
    # Another thread may still hold a connection, which returns to this pool. The pool is closed at the end.
    pool = database.engine.pool
    database.dispose()
    away = file.with_suffix(".away")
    file.rename(away)
    file.mkdir()
    yield
    file.rmdir()
    away.rename(file)
    pool.dispose()
