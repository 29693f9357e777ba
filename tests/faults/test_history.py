"""The judge itself is tested: a history in order passes, and every planted bug is detected."""

import shutil
import sqlite3
from contextlib import closing
from copy import copy
from pathlib import Path
from typing import Any

import pytest

from heldout.lifecycle.job import JobStatus, StopReason
from models.database import Database
from models.store import claims, events
from models.store.claims import HeldAttempt
from tests.e2e.stack import Answer
from tests.faults.history import violations
from tests.models.work import Work, artifacts_of, final_of


class Past:
    """A SQLite database in which a job was lost once and then succeeded, and what a client was answered."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.file = url.partition("///")[2]
        database = Database(url)
        work = Work(database)
        first = work.running()
        self.job_id = first.job_id
        work.begin(first)
        work.set(self.job_id, epochs=3)
        for epoch in (1, 2):
            work.epoch(first, epoch, train_loss=1.0 / epoch)
        work.checkpoint(first, 1)
        second = work.claimed_again(first)
        work.begin(second, start_epoch=1)
        for epoch in (2, 3):
            work.epoch(second, epoch, train_loss=2.0 / epoch)
            with database.write() as session:
                events.add(session, self.job_id, "job.epoch", "An epoch.", data={"epoch": epoch})
        self._succeed(database, second)
        self.answers = [
            self.answer("POST", "/v1/jobs", 201, 0, status="queued", attempt=0, version=1),
            self.answer("GET", f"/v1/jobs/{self.job_id}", 200, 1, status="running", attempt=1, version=2),
            self.answer("GET", f"/v1/jobs/{self.job_id}", 200, 2, status="succeeded", attempt=2, version=9),
            self.metrics([1.0, 1.0, 2.0 / 3]),
        ]
        database.dispose()

    def _succeed(self, database: Database, held: HeldAttempt) -> None:
        result = claims.Result(final_of(3), artifacts_of(held))
        with database.write() as session:
            status = claims.succeed(session, held, result=result, stop_reason=StopReason.COMPLETED)
            claims.forget_old_states(session, older_than_s=0)
        assert status is JobStatus.SUCCEEDED

    def answer(self, method: str, path: str, code: int, at: float, **body: Any) -> Answer:
        job = {"object": "job", "id": self.job_id, "failures": 0} | body
        return Answer(method, path, code, job, at, at + 0.5)

    def metrics(self, losses: list[float]) -> Answer:
        epochs = [{"epoch": number, "train_loss": loss} for number, loss in enumerate(losses, start=1)]
        body = {"object": "metrics", "epochs": epochs, "final": {"epoch": 3}}
        return Answer("GET", f"/v1/jobs/{self.job_id}/metrics", 200, body, 3, 3.5)

    def tamper(self, statement: str) -> None:
        with closing(sqlite3.connect(self.file)) as connection, connection:
            connection.execute(statement.replace(":job", f"'{self.job_id}'"))

    def violations(self) -> list[str]:
        return violations(self.answers, self.url)


@pytest.fixture(scope="module")
def original(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Past:
    return Past(f"sqlite:///{shutil.copy(sqlite_template, tmp_path_factory.mktemp('past') / 'heldout.db')}")


@pytest.fixture
def past(original: Past, tmp_path: Path) -> Past:
    """A copy, for a test to change."""
    changed = copy(original)
    changed.file = shutil.copy(original.file, tmp_path / "heldout.db")
    changed.url, changed.answers = f"sqlite:///{changed.file}", list(original.answers)
    return changed


def test_a_history_in_order_passes(past: Past) -> None:
    assert past.violations() == []


@pytest.mark.parametrize(
    ("bug", "finding"),
    [
        ("DELETE FROM jobs", "it was accepted and is lost"),
        ("UPDATE jobs SET status = 'running'", "it is stuck as running"),
        ("UPDATE jobs SET status = 'failed'", "it has failed with 1 results"),
        ("DELETE FROM results", "it has succeeded with 0 results"),
        ("UPDATE results SET attempt = 1", "its result is of attempt 1"),
        ("UPDATE artifacts SET key = replace(key, '/2/', '/1/') WHERE name = 'model'", "a file of another attempt"),
        ("UPDATE artifacts SET attempt = 1 WHERE name = 'evaluation'", "a file of another attempt"),
        ("DELETE FROM artifacts WHERE name = 'predictions'", "it has succeeded with the files"),
        ("UPDATE jobs SET attempt = 1", "attempts [1, 2] were started"),
        ("DELETE FROM events WHERE id = 3", "its events are numbered"),
        ("UPDATE jobs SET last_event = last_event + 1", "its last event is given as"),
        ("UPDATE events SET created_at = '2000-01-01T00:00:00.000Z' WHERE id = 3", "times are out of order"),
        ("UPDATE events SET type = 'job.succeeded' WHERE type = 'job.requeued'", "it has ended 2 times"),
        (
            "UPDATE events SET type = 'job.warning' WHERE type = 'job.requeued'",
            "started twice without being given back",
        ),
        ("""UPDATE events SET data = '{"epoch": 2}' WHERE type = 'job.epoch'""", "job.epoch was reported twice"),
        ("UPDATE attempts SET start_epoch = NULL", "the epochs [1, 2, 2, 3] are visible"),
        ("UPDATE attempts SET start_epoch = 0 WHERE attempt = 2", "the epochs [2, 3] are visible"),
        ("DELETE FROM epochs WHERE epoch = 3", "it has succeeded with 2 of 3 epochs"),
        ("UPDATE epochs SET train_loss = 9 WHERE epoch = 1", "the served epochs are not those of the attempts"),
        ("INSERT INTO checkpoints VALUES (:job, 1, 1, 0, 'key', '2026')", "checkpoints are left of it"),
        ("UPDATE jobs SET worker = 'zombie'", "it has ended and is still held"),
        ("UPDATE jobs SET started_at = '2100-01-01T00:00:00.000Z'", "its times are out of order"),
    ],
)
def test_a_bug_in_the_rows_is_detected(past: Past, bug: str, finding: str) -> None:
    past.tamper(bug)
    assert any(finding in wrong for wrong in past.violations()), past.violations()


def test_a_success_after_an_accepted_cancel_is_detected(past: Past) -> None:
    for status in (200, 202):
        accepted = past.answer(
            "POST", f"/v1/jobs/{past.job_id}/cancel", status, 2, status="cancelling", attempt=2, version=8
        )
        assert any(
            "although a cancel was accepted" in wrong for wrong in violations([*past.answers, accepted], past.url)
        )
    refused = past.answer("POST", f"/v1/jobs/{past.job_id}/cancel", 409, 2, object="problem")
    assert violations([*past.answers, refused], past.url) == []


@pytest.mark.parametrize(
    ("later", "finding"),
    [
        ({"status": "failed", "attempt": 2, "version": 9}, "served as succeeded and later as failed"),
        ({"status": "succeeded", "attempt": 1, "version": 9}, "its attempt went from 2 to 1"),
        ({"status": "succeeded", "attempt": 2, "version": 3}, "its version went from 9 to 3"),
    ],
)
def test_an_answer_that_contradicts_an_earlier_one_is_detected(past: Past, later: dict[str, Any], finding: str) -> None:
    past.answers.append(past.answer("GET", f"/v1/jobs/{past.job_id}", 200, 5, **later))
    assert any(finding in wrong for wrong in past.violations())


def test_served_epochs_of_a_superseded_attempt_are_detected(past: Past) -> None:
    past.answers[-1] = past.metrics([1.0, 0.5, 2.0 / 3])
    assert any("not those of the attempts that count" in wrong for wrong in past.violations())
