"""Real PostgreSQL, broker, API and Celery workers: what messages carry, who runs what, and which faults do no harm."""

import base64
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
import redis
from celery import Celery

from models import wake
from tests.e2e.running import tree_of, until
from tests.e2e.stack import SHORT, Stack, all_gone, digits, long_digits, stack_on, submit_promptly
from tests.servers import PostgresServer, RedisServer
from tests.worker.ingest.uploads import arrays_of, npz

# As in docker-compose.yml: a worker that is stopped has this long to give its jobs back.
GRACE_S = 30.0
SLOTS = 2


@pytest.fixture(scope="module")
def stack(
    tmp_path_factory: pytest.TempPathFactory, postgres_server: PostgresServer, redis_server: RedisServer
) -> Iterator[Stack]:
    """One API for the file; each test says how many workers it wants."""
    settings = SHORT | {"HELDOUT_RECONCILE_S": "1", "HELDOUT_SLOTS": str(SLOTS)}
    with stack_on(tmp_path_factory.mktemp("stack"), postgres_server, redis_server, **settings) as made:
        made.start_api()
        yield made


@pytest.fixture
def broker(redis_server: RedisServer) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(redis_server.url) as client:
        yield client


def with_workers(stack: Stack, count: int) -> Stack:
    """Return the stack with exactly this many workers, all ready."""
    living = [worker for worker in stack.workers if worker.lives()]
    for worker in living[count:]:
        worker.stop(GRACE_S)
    stack.start_workers(max(0, count - len(living)))
    return stack


def with_at_least(stack: Stack, count: int) -> Stack:
    return with_workers(stack, max(count, sum(worker.lives() for worker in stack.workers)))


def require_run_once(stack: Stack, job_id: str) -> None:
    """Check that the job succeeds in one attempt, which was started once."""
    job = stack.wait_for_end(job_id)
    types = [event["type"] for event in stack.events(job_id)]
    assert (job["status"], job["attempt"], job["failures"]) == ("succeeded", 1, 0), job
    assert (types.count("job.started"), types.count("job.succeeded")) == (1, 1)


# --- what messages carry ------------------------------------------------------------------


def test_a_message_carries_only_the_jobs_id(stack: Stack, broker: redis.Redis) -> None:
    with_workers(stack, 0)
    broker.flushall()
    job_id = stack.submit(digits() | {"name": "confidential name", "metadata": {"team": "secret"}})
    [raw] = until(lambda: broker.lrange("train", 0, -1), "a message", within_s=60)
    message = json.loads(raw)
    args, kwargs, _ = json.loads(base64.b64decode(message["body"]))
    assert (message["headers"]["task"], args, kwargs) == ("heldout.wake", [job_id], {})
    everything = raw + base64.b64decode(message["body"])
    for private in (b"confidential", b"secret", b"digits", b"filters", stack.key.encode()):
        assert private not in everything
    stack.ask("POST", f"/v1/jobs/{job_id}/cancel")


def test_a_message_is_published_after_the_commit_and_not_before(stack: Stack, broker: redis.Redis) -> None:
    with_workers(stack, 0)
    broker.flushall()
    with _slow_commits(stack) as hold:
        answers: list[int] = []
        posting = threading.Thread(
            target=lambda: answers.append(stack.ask("POST", "/v1/jobs", json=digits()).status_code)
        )
        hold.execute("SELECT pg_advisory_lock(42)")
        posting.start()
        until(lambda: _waiting_for_a_lock(hold), "a commit that waits", within_s=60)
        assert broker.llen("train") == 0
        hold.execute("SELECT pg_advisory_unlock(42)")
        posting.join(240)
        assert answers == [201]
        until(lambda: broker.llen("train") == 1, "the message", within_s=60)
        hold.execute("UPDATE refuse_commits SET refuse = true")
        broker.flushall()
        assert stack.ask("POST", "/v1/jobs", json=digits()).status_code == 500
    # Messages are published in order: before the next job's message, the refused job's would have come.
    job_id = stack.submit(digits())
    until(lambda: broker.llen("train") >= 1, "the next message", within_s=60)
    ids = {json.loads(base64.b64decode(json.loads(raw)["body"]))[0][0] for raw in broker.lrange("train", 0, -1)}
    listed = {job["id"] for job in stack.ask("GET", "/v1/jobs?limit=200").json()["data"]}
    assert job_id in ids
    assert ids <= listed
    _cancel_all(stack)


def test_an_upload_is_checked_by_a_celery_worker_while_a_training_waits(stack: Stack, tmp_path: Path) -> None:
    with_workers(stack, 0)
    waiting = stack.submit(digits())
    with stack.client() as client:
        made = client.datasets.create({"name": "own"})
        client.datasets.upload(made.id, npz(tmp_path / "own.npz", **arrays_of()))
        with_workers(stack, 1)
        ready = until(lambda: (found := client.datasets.get("own")).status not in {"checking"} and found, "the ingest")
        assert ready.status == "ready", ready.error
    require_run_once(stack, waiting)


def test_a_job_for_a_gpu_waits_in_a_separate_queue(stack: Stack, broker: redis.Redis) -> None:
    with_workers(stack, 1)
    broker.flushall()
    job_id = stack.submit(digits() | {"resources": {"device": "gpu"}})
    until(lambda: broker.llen("train.gpu") == 1, "its message", within_s=60)
    assert broker.llen("train") == 0
    require_run_once(stack, stack.submit(digits()))
    waiting = stack.ask("GET", f"/v1/jobs/{job_id}/queue").json()
    assert (stack.job(job_id)["status"], waiting["waiting_for"]) == ("queued", "gpu")
    stack.ask("POST", f"/v1/jobs/{job_id}/cancel")


# --- without the broker -----------------------------------------------------------------------------------


def test_a_broker_that_is_down_delays_no_answer_and_loses_no_job(stack: Stack, redis_server: RedisServer) -> None:
    with_workers(stack, 1)
    redis_server.stop()
    try:
        jobs = submit_promptly(stack, 2)
    finally:
        redis_server.start()
    for job_id in jobs:
        require_run_once(stack, job_id)


def test_a_broker_that_is_silent_delays_no_answer_and_loses_no_job(stack: Stack, redis_server: RedisServer) -> None:
    with_workers(stack, 1)
    redis_server.pause()
    try:
        jobs = submit_promptly(stack, 2)
    finally:
        redis_server.resume()
    for job_id in jobs:
        require_run_once(stack, job_id)


def test_a_worker_that_lost_its_broker_during_a_job_continues(stack: Stack, redis_server: RedisServer) -> None:
    with_workers(stack, 1)
    job_id = stack.submit(long_digits(40))
    stack.wait_for_epoch(job_id, 2)
    redis_server.kill()
    try:
        before = stack.job(job_id)["progress"]["epoch"]
        stack.wait_for_epoch(job_id, before + 3)
    finally:
        redis_server.start()
    require_run_once(stack, job_id)
    require_run_once(stack, stack.submit(digits()))


# --- who runs what -------------------------------------------------------------------------------------


def test_a_worker_takes_as_many_jobs_at_once_as_it_has_slots(stack: Stack) -> None:
    with_workers(stack, 1)
    jobs = [stack.submit(long_digits(1000)) for _ in range(SLOTS + 1)]
    for job_id in jobs[:SLOTS]:
        stack.wait_for_epoch(job_id, 1)
    assert [stack.job(job_id)["status"] for job_id in jobs] == ["running"] * SLOTS + ["queued"]
    for job_id in reversed(jobs):
        stack.ask("POST", f"/v1/jobs/{job_id}/cancel")
    for job_id in jobs:
        assert stack.wait_for_end(job_id)["status"] == "cancelled"


@pytest.mark.proof  # the next test counts the starts of five jobs with two workers
@pytest.mark.parametrize("count", [1, 2, 4])
def test_each_job_runs_once_whatever_the_number_of_workers(stack: Stack, count: int) -> None:
    with_workers(stack, count)
    jobs = [stack.submit(digits()) for _ in range(6)]
    for job_id in jobs:
        require_run_once(stack, job_id)


def test_a_wake_up_that_is_delivered_five_times_starts_its_job_once(stack: Stack, redis_server: RedisServer) -> None:
    with_workers(stack, 2)
    app = Celery("test", broker=redis_server.url)
    job_id = stack.submit(digits())
    for _ in range(4):
        wake.send(app, wake.WakeUp(job_id, wake.QUEUE))
    app.close()
    require_run_once(stack, job_id)
    # A worker has room for the next jobs only once it has dealt with all wake-ups.
    for later in [stack.submit(digits()) for _ in range(4)]:
        require_run_once(stack, later)
    require_run_once(stack, job_id)


def test_a_worker_that_is_stopped_gives_its_job_back_and_another_finishes_it(stack: Stack) -> None:
    with_at_least(stack, 2)
    whole, stopped = stack.submit(long_digits(20)), stack.submit(long_digits(20))
    stack.wait_for_epoch(stopped, 2)
    worker = stack.holder(stopped)
    below = tree_of(worker.pid)
    assert worker.stop(GRACE_S) == 0
    all_gone(below)
    job = stack.wait_for_end(stopped)
    assert (job["status"], job["attempt"], job["failures"]) == ("succeeded", 2, 0)
    requeued = [event for event in stack.events(stopped) if event["type"] == "job.requeued"]
    assert [event["data"]["reason"] for event in requeued] == ["release"]
    assert stack.wait_for_end(whole)["status"] == "succeeded"
    assert [epoch["epoch"] for epoch in stack.history(stopped)] == list(range(1, 21))
    assert stack.history(stopped) == stack.history(whole)


# --- the logs ------------------------------------------------------------------------------------------


def test_logs_are_json_lines_with_ids_and_without_secrets(
    stack: Stack, postgres_server: PostgresServer, redis_server: RedisServer
) -> None:
    with_at_least(stack, 1)
    answer = stack.ask("POST", "/v1/jobs", json=digits(), headers={"X-Request-ID": "ours-1"})
    job_id = answer.json()["id"]
    require_run_once(stack, job_id)
    assert stack.ask("GET", "/v1/jobs", headers={"Authorization": f"Bearer {stack.key}x"}).status_code == 401
    assert stack.api is not None
    api = _lines(stack.api.err)
    ours = [line for line in api if line.get("request_id") == "ours-1"]
    assert ours[0]["path"] == "/v1/jobs"
    workers = [line for worker in stack.workers for line in _lines(worker.err)]
    settled = [line for line in workers if line["event"] == "attempt_settled" and line.get("job_id") == job_id]
    assert len(settled) == 1
    secrets = [re.search(r":([^:@/]+)@", url)[1] for url in (postgres_server.url, redis_server.url)]  # type: ignore[index]
    secrets.append(stack.key.split("_", 2)[2])
    for file in (*stack.folder.glob("*.err"), *stack.folder.glob("*.out")):
        text = file.read_text()
        assert not [secret for secret in secrets if secret in text], file
    # Celery itself prints one line to standard output at the end.
    for program in (stack.api, *stack.workers):
        assert program.out.read_text().strip() in {"", "worker: Warm shutdown (MainProcess)"}


# --- helpers -------------------------------------------------------------------------------------------


def _cancel_all(stack: Stack) -> None:
    for job in stack.ask("GET", "/v1/jobs?status=queued&limit=200").json()["data"]:
        stack.ask("POST", f"/v1/jobs/{job['id']}/cancel")


def _lines(file: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def _waiting_for_a_lock(connection: psycopg.Connection) -> bool:
    waiting = connection.execute("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")
    return waiting.fetchone() == (1,)


@contextmanager
def _slow_commits(stack: Stack) -> Iterator[psycopg.Connection]:
    """Make commits of new jobs wait for the advisory lock 42, and fail on request, by a trigger that fires last."""
    with psycopg.connect(stack.database_url.replace("+psycopg", ""), autocommit=True) as connection:
        connection.execute("""
            CREATE TABLE refuse_commits AS SELECT false AS refuse;
            CREATE FUNCTION at_commit() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                PERFORM pg_advisory_xact_lock(42);
                IF (SELECT refuse FROM refuse_commits) THEN RAISE 'refused'; END IF;
                RETURN NULL;
            END $$;
            CREATE CONSTRAINT TRIGGER at_commit AFTER INSERT ON jobs DEFERRABLE INITIALLY DEFERRED
                FOR EACH ROW EXECUTE FUNCTION at_commit();
        """)
        try:
            yield connection
        finally:
            connection.execute("DROP TRIGGER at_commit ON jobs; DROP FUNCTION at_commit; DROP TABLE refuse_commits")
