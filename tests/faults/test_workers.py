"""Workers die, freeze, or have a wrong clock: their jobs continue elsewhere, and their later writes are refused."""

import json
import os
import signal
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.e2e.running import freeze, lives, tree_of, until
from tests.e2e.stack import LEASE_S, Program, Stack, all_gone, digits, long_digits
from tests.faults.conftest import require_ended_in_order
from tests.faults.derived import derive_under_kills
from tests.faults.marks import CELERY, SQLITE, on

EPOCHS = 12
# Imported when Python starts. Workers get the time from one of these functions. Where pandas is imported, it does not
# work with another datetime class.
WRONG_CLOCK = """
import datetime, sys, time
real, real_ns = time.time, time.time_ns

class Wrong(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return cls.fromtimestamp(time.time(), tz)

time.time = lambda: real() + {shift_s}
time.time_ns = lambda: real_ns() + {shift_s} * 10**9
if "celery" in sys.orig_argv:
    datetime.datetime = Wrong
"""


@on(always=SQLITE)
@pytest.mark.parametrize("everything", [False, pytest.param(True, marks=pytest.mark.proof)])
def test_a_job_whose_worker_is_killed_continues_elsewhere_with_the_same_history(
    stack: Stack, everything: bool, tmp_path: Path
) -> None:
    stack.start(workers=2)
    whole, killed = stack.submit(long_digits(EPOCHS)), stack.submit(long_digits(EPOCHS))
    stack.wait_for_epoch(killed, 3)
    worker = stack.holder(killed)
    below = tree_of(worker.pid)
    if everything:
        worker.kill_all()
    else:
        worker.kill()
    all_gone(below, within_s=30)
    epoch = stack.wait_for_attempt(killed, attempt=2)["progress"]["epoch"]
    until(lambda: stack.job(killed)["progress"]["epoch"] > epoch, "an epoch of the next attempt")
    job = stack.wait_for_end(killed)
    assert (job["status"], job["attempt"], job["failures"], job["error"]) == ("succeeded", 2, 1, None)
    assert stack.wait_for_end(whole)["attempt"] == 1
    assert stack.history(killed) == stack.history(whole)
    if not everything:
        derive_under_kills(stack, tmp_path, kills=2)
    require_ended_in_order(stack)


@on()
@pytest.mark.timeout(1800)
def test_derived_versions_whose_worker_or_process_is_killed_have_the_same_content(stack: Stack, tmp_path: Path) -> None:
    home = {"HELDOUT_HOME": str(tmp_path / "home")}
    stack.start(workers=2, **home)
    versions = derive_under_kills(stack, tmp_path, kills=50, **home)
    # The next worker that starts in a home removes what killed workers left there.
    for worker in stack.workers:
        worker.stop()
    stack.start_worker(**home).stop()
    assert list((tmp_path / "home" / "scratch").iterdir()) == []
    assert not [path for path in stack.blobs.rglob("*#*") if path.is_file()]
    print(f"50 kills of {versions} versions")


@pytest.mark.proof
@on(always=CELERY)
@pytest.mark.parametrize("with_training", [False, pytest.param(True, marks=pytest.mark.proof)])
def test_a_worker_that_was_frozen_past_its_lease_is_ignored(stack: Stack, with_training: bool) -> None:
    stack.start(workers=2)
    whole, frozen = stack.submit(long_digits(EPOCHS)), stack.submit(long_digits(EPOCHS))
    stack.wait_for_epoch(frozen, 3)
    zombie = stack.holder(frozen)
    trainings = zombie.trainings()
    with _frozen(stack, zombie, with_training):
        stack.wait_for_attempt(frozen, attempt=2)
        job = stack.wait_for_end(frozen)
        assert (job["status"], job["attempt"]) == ("succeeded", 2)
    zombie.wait_for_log("attempt_lost")
    all_gone(trainings)
    stack.wait_for_end(whole)
    for worker in stack.workers:
        if worker is not zombie:
            worker.stop()
    # It is a normal worker again: it runs new jobs alone.
    later = [stack.submit(digits()) for _ in range(2)]
    require_ended_in_order(stack)
    assert [(stack.job(job)["status"], stack.job(job)["attempt"]) for job in later] == [("succeeded", 1)] * 2
    assert stack.history(frozen) == stack.history(whole)
    result = _get_value(stack, "SELECT attempt FROM results WHERE job_id = %s", frozen)
    assert result == 2
    assert _get_value(stack, "SELECT count(*) FROM checkpoints") == 0


@on()
def test_a_worker_that_wakes_up_while_another_has_its_job_writes_nothing(stack: Stack) -> None:
    stack.start(workers=2)
    job_id = stack.submit(long_digits(400))
    stack.wait_for_epoch(job_id, 3)
    zombie = stack.holder(job_id)
    with _frozen(stack, zombie, with_training=False):
        stack.wait_for_attempt(job_id, attempt=2)
        first = _get_value(stack, "SELECT count(*) FROM epochs WHERE job_id = %s AND attempt = 1", job_id)
    zombie.wait_for_log("attempt_lost")
    assert _get_value(stack, "SELECT count(*) FROM epochs WHERE job_id = %s AND attempt = 1", job_id) == first
    stack.wait_for_epoch(job_id, stack.job(job_id)["progress"]["epoch"] + 2)
    job = stack.job(job_id)
    assert (job["status"], job["attempt"]) == ("running", 2)
    stack.ask("POST", f"/v1/jobs/{job_id}/cancel")
    require_ended_in_order(stack)
    left = [path.name for path in (stack.blobs / "jobs").rglob("*") if path.is_file()]
    assert left == ["model.keras"], "the zombie's checkpoint was not removed"


@on()
def test_a_job_that_kills_its_process_every_time_fails_with_the_reason(stack: Stack) -> None:
    [worker] = stack.start(workers=1)
    poison = stack.submit(long_digits(400))
    kills = 0
    while stack.job(poison)["status"] != "failed":
        for pid in worker.trainings():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
                kills += 1
    assert kills >= 3
    job = stack.wait_for_end(poison)
    assert (job["status"], job["attempt"], job["error"]["code"]) == ("failed", 3, "process_died")
    assert "SIGKILL" in job["error"]["detail"]
    stack.submit(digits())
    require_ended_in_order(stack)
    assert stack.job(stack.accepted()[-1])["status"] == "succeeded"


@on()
def test_a_job_that_kills_its_worker_every_time_fails_with_the_reason(stack: Stack) -> None:
    stack.start(workers=3)
    poison = stack.submit(long_digits(1000))
    for attempt in (1, 2, 3):
        stack.wait_for_attempt(poison, attempt)
        until(lambda: stack.holder(poison).lives(), "the next holder")
        stack.holder(poison).kill_all()
    job = stack.wait_for_end(poison)
    assert (job["status"], job["attempt"], job["error"]["code"]) == ("failed", 3, "worker_lost")
    stack.start_worker()
    stack.submit(digits())
    require_ended_in_order(stack)


@on(CELERY)
def test_workers_whose_clocks_are_wrong_by_an_hour_change_no_time_and_no_lease(stack: Stack, tmp_path: Path) -> None:
    stack.start_api()
    began = _get_value(
        stack, "SELECT min(created_at) FROM jobs"
    )  # jobs of the bundled datasets, queued before any worker started
    ahead, behind = _wrong_clock(tmp_path, 3600), _wrong_clock(tmp_path, -3600)
    workers = [stack.start_worker(wait=False, **ahead), stack.start_worker(wait=False, **behind)]
    for worker in workers:
        stack.until_ready(worker)
        _require_wrong_clock(worker)
    jobs = [stack.submit(long_digits(40)) for _ in range(2)]
    for job_id in jobs:
        stack.wait_for_epoch(job_id, 1)
    longest = _get_value(stack, "SELECT max(extract(epoch FROM lease_expires_at - clock_timestamp())) FROM jobs")
    assert 0 < float(longest) <= LEASE_S
    killed = jobs[0]
    stack.holder(killed).kill_all()
    stack.wait_for_attempt(killed, attempt=2)
    require_ended_in_order(stack)
    assert stack.job(jobs[1])["attempt"] == 1
    assert stack.history(jobs[0]) == stack.history(jobs[1])
    moments = {
        "jobs": ("created_at", "queued_at", "started_at", "attempt_started_at", "finished_at"),
        "attempts": ("started_at",),
        "events": ("created_at",),
    }
    for table, columns in moments.items():
        for column in columns:
            wrong = f"SELECT count(*) FROM {table} WHERE {column} NOT BETWEEN %s AND clock_timestamp()"
            assert _get_value(stack, wrong, began) == 0, (table, column)


@on()
def test_many_reconcilers_take_a_lost_job_back_once(stack: Stack) -> None:
    stack.environment["HELDOUT_RECONCILE_S"] = "0.05"
    lost = stack.start(workers=1, HELDOUT_SLOTS="3")
    jobs = [stack.submit(long_digits(200)) for _ in range(3)]
    for job_id in jobs:
        stack.wait_for_epoch(job_id, 1)
    stack.start_workers(3)
    lost[0].kill_all()
    for job_id in jobs:
        stack.wait_for_attempt(job_id, attempt=2)
        events = [event["data"]["reason"] for event in stack.events(job_id) if event["type"] == "job.requeued"]
        assert events == ["lose"]
        assert stack.job(job_id)["failures"] == 1
        stack.ask("POST", f"/v1/jobs/{job_id}/cancel")
    require_ended_in_order(stack)


@on()
def test_a_worker_that_is_stopped_while_it_warms_up_ends_at_once(stack: Stack) -> None:
    stack.start_api()
    worker = stack.start_worker(wait=False)
    until(lambda: len(tree_of(worker.pid)) > 1 or not worker.lives(), "the server that forks")
    below = tree_of(worker.pid)
    worker.stop(within_s=30)
    all_gone(below, within_s=30)
    job_id = stack.submit(digits())
    stack.start_worker()
    assert stack.wait_for_end(job_id)["attempt"] == 1
    require_ended_in_order(stack)


# --- helpers -------------------------------------------------------------------------------------------


@contextmanager
def _frozen(stack: Stack, worker: Program, with_training: bool) -> Iterator[None]:
    """Stop the worker for the block. On SQLite it is not stopped within a write, which would lock everyone out."""
    while True:
        pids = tree_of(worker.pid) if with_training else [worker.pid]
        for pid in pids:
            freeze(pid)
        if _writable(stack):
            break
        for pid in reversed(pids):
            os.kill(pid, signal.SIGCONT)
    try:
        yield
    finally:
        for pid in reversed(pids):
            if lives(pid):
                os.kill(pid, signal.SIGCONT)


def _writable(stack: Stack) -> bool:
    if not stack.database_url.startswith("sqlite"):
        return True
    with closing(sqlite3.connect(_file(stack), isolation_level=None, timeout=2)) as connection:
        try:
            connection.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:
            return False
        connection.execute("ROLLBACK")
    return True


def _file(stack: Stack) -> str:
    return stack.database_url.partition("///")[2]


def _get_value(stack: Stack, query: str, *values: object) -> Any:
    """Return the value of a query with one row and one column."""
    if stack.database_url.startswith("sqlite"):
        with closing(sqlite3.connect(_file(stack), timeout=30)) as connection:
            return connection.execute(query.replace("%s", "?"), values).fetchone()[0]
    with psycopg.connect(stack.database_url.replace("+psycopg", "")) as postgres:
        [row] = postgres.execute(query, values).fetchall()
        return row[0]


def _wrong_clock(folder: Path, seconds: int) -> dict[str, str]:
    """Return the environment of a Python whose clock is wrong, whichever function reads it."""
    site = folder / f"site{seconds}"
    site.mkdir()
    (site / "sitecustomize.py").write_text(WRONG_CLOCK.format(shift_s=seconds))
    return {"PYTHONPATH": str(site)}


def _require_wrong_clock(worker: Program) -> None:
    """Check by the time stamps of its log that the worker's clock is wrong."""
    line = json.loads(worker.read_log().splitlines()[-1])
    off = abs((datetime.fromisoformat(line["timestamp"]) - datetime.now(UTC)).total_seconds())
    assert off > 3000, line
