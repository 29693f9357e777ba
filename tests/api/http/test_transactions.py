"""Changes are committed before responses and wake-ups, and requests survive an unreachable database."""

import sqlite3
from collections.abc import Sequence

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import event

from api.app import create_app
from api.http.auth import CallerContext, KeyDep
from api.http.deps import WriteContext
from api.http.routing import ResourceRoute
from heldout.service.settings import Settings
from models.database import Database
from models.store import jobs as stored_jobs
from models.wake import WakeUp
from tests.api.support import assert_problem, bearer, sqlite_only, submit, with_field


class RecordingPublisher:
    """Records for each wake-up whether its job was already committed."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.heard: list[tuple[WakeUp, bool]] = []
        self.breaks = False

    def publish(self, wake_ups: Sequence[WakeUp]) -> None:
        if self.breaks:
            raise ConnectionError("the broker is away")
        with self.database.read() as session:
            stored = stored_jobs.get_versions(session, [wake_up.job_id for wake_up in wake_ups])
        self.heard += [(wake_up, wake_up.job_id in stored) for wake_up in wake_ups]


@pytest.fixture
def publisher(app, database) -> RecordingPublisher:
    publisher = RecordingPublisher(database)
    app.state.context.database.announce = publisher.publish
    return publisher


def test_workers_are_notified_of_a_job_once_it_is_committed(publisher, client, worker, spec):
    job = submit(client, with_field(spec, "resources.device", "gpu"))["id"]
    assert publisher.heard == [(WakeUp(job, "train.gpu"), True)]
    client.post(f"/v1/jobs/{job}/pause")
    assert len(publisher.heard) == 1
    client.post(f"/v1/jobs/{job}/resume")
    assert publisher.heard[1:] == [(WakeUp(job, "train.gpu"), True)]
    client.post(f"/v1/jobs/{job}/cancel")
    again = client.post(f"/v1/jobs/{job}/retry").json()["id"]
    assert publisher.heard[2:] == [(WakeUp(again, "train.gpu"), True)]


@sqlite_only
def test_refused_replayed_and_uncommitted_requests_notify_no_worker(publisher, client, database, app, spec):
    client.post("/v1/jobs", json=with_field(spec, "dataset", "nobody"))
    client.post("/v1/jobs?dry_run=true", json=spec)
    assert publisher.heard == []
    for _ in range(2):
        submit(client, spec, **{"Idempotency-Key": "k"})
    assert len(publisher.heard) == 1
    engine = app.state.context.database.engine

    def fails(connection):
        raise sqlite3.OperationalError("disk full")

    event.listen(engine, "commit", fails)
    answer = client.post("/v1/jobs", json=spec)
    event.remove(engine, "commit", fails)
    assert answer.status_code in {500, 503}
    assert len(publisher.heard) == 1
    assert len(client.get("/v1/jobs").json()["data"]) == 1


@sqlite_only
def test_an_unreachable_broker_fails_no_request(publisher, client, spec):
    publisher.breaks = True
    job = submit(client, spec)
    assert client.get(f"/v1/jobs/{job['id']}").json() == job


def test_the_commit_precedes_the_response(service, database, spec):
    """Another connection can read the job as soon as the client has its id."""
    for _ in range(20):
        job = submit(service, spec)["id"]
        with database.read() as session:
            assert job in stored_jobs.get_versions(session, [job])


def test_an_async_endpoint_cannot_take_a_session():
    """The endpoint runs in the event loop, which would neither commit nor close the session."""

    async def endpoint(context: WriteContext) -> None: ...

    with pytest.raises(TypeError, match="endpoint is async and takes a session"):
        ResourceRoute("/nowhere", endpoint)


def test_an_endpoint_that_looks_up_the_key_itself_cannot_take_the_caller():
    """The caller would be looked up in the event loop."""

    async def endpoint(key: KeyDep, context: CallerContext) -> None: ...

    with pytest.raises(TypeError, match="endpoint looks up the key itself"):
        ResourceRoute("/nowhere", endpoint)


# --- a database that does not answer --------------------------------------------------------------


@sqlite_only
def test_a_locked_database_is_a_503_and_the_next_request_goes_through(client, settings, spec, app):
    # The service waits for five seconds, which is too long for a test.
    engine = app.state.context.database.engine
    event.listen(engine, "checkout", lambda connection, *_: connection.execute("PRAGMA busy_timeout=100"))
    holder = sqlite3.connect(settings.home / "heldout.db", isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    answer = client.post("/v1/jobs", json=spec)
    assert_problem(answer, 503, "database_unavailable")
    assert answer.headers["retry-after"] == "2"
    assert client.get("/v1/jobs").json()["data"] == [], "reading still works"
    holder.execute("ROLLBACK")
    holder.close()
    assert submit(client, spec)["status"] == "queued"


@pytest.mark.parametrize(
    "url",
    [
        "sqlite:////nonexistent/heldout.db",
        "postgresql+psycopg://heldout:hunter2-password@127.0.0.1:1/heldout",
        "postgresql+psycopg://heldout:hunter2-password@no-such-host.invalid/heldout",
    ],
)
def test_a_missing_database_is_a_503_everywhere_and_its_url_is_never_shown(url, tmp_path, log_lines):
    began = log_lines.tell()
    settings = Settings(home=tmp_path, database_url=url, redis_url=None, blobs=(tmp_path / "blobs").as_uri())
    with TestClient(create_app(settings), headers=bearer("ho_ab_cd")) as client:
        answers = [client.get("/v1/jobs"), client.post("/v1/jobs", json={}), client.get("/readyz")]
        assert client.get("/livez").json() == {"status": "ok"}
        assert "heldout_database_up 0.0" in client.get("/metrics").text
    for answer in answers:
        assert_problem(answer, 503, "database_unavailable")
        assert "hunter2" not in answer.text
    assert "hunter2" not in log_lines.getvalue()[began:]


@sqlite_only
def test_a_database_without_tables_is_not_ready(empty_sqlite, tmp_path):
    settings = Settings(home=tmp_path, database_url=empty_sqlite, redis_url=None)
    with TestClient(create_app(settings)) as client:
        assert_problem(client.get("/readyz"), 503, "database_unavailable")


@pytest.fixture
def empty_sqlite(database_url, tmp_path) -> str:
    return f"sqlite:///{tmp_path / 'empty.db'}"
