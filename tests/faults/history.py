"""Judges what happened to jobs by recorded HTTP responses and raw SQL. It shares no code with what it judges."""

import json
import re
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg.rows import dict_row

from tests.e2e.stack import Answer

TERMINAL = ("succeeded", "failed", "cancelled")
TABLES = ("jobs", "attempts", "epochs", "events", "checkpoints", "results", "artifacts")
JSON_COLUMNS = ("data", "error", "final", "spec")

Row = dict[str, Any]


@dataclass(frozen=True)
class JobRecord:
    """All rows about one job."""

    job: Row
    attempts: list[Row]
    epochs: list[Row]
    events: list[Row]
    checkpoints: list[Row]
    results: list[Row]
    artifacts: list[Row]

    def visible(self) -> list[Row]:
        """Return the epochs that no later attempt has started before, in order."""
        starts = [(row["attempt"], row["start_epoch"]) for row in self.attempts if row["start_epoch"] is not None]
        shown = [
            row
            for row in self.epochs
            if not any(attempt > row["attempt"] and start < row["epoch"] for attempt, start in starts)
        ]
        return sorted(shown, key=lambda row: (row["epoch"], row["attempt"]))


def violations(answers: Sequence[Answer], database_url: str) -> list[str]:
    """List everything that happened and must not have. It is empty for a history that is in order.

    Call this once nothing runs: an accepted job that has not ended by then is stuck.
    """
    tables = read(database_url)
    records = {
        job["id"]: JobRecord(
            job, *([row for row in tables[table] if _job_of(row) == job["id"]] for table in TABLES[1:])
        )
        for job in tables["jobs"]
    }
    found = []
    removed = {
        _id_in(answer.path)
        for answer in answers
        if answer.method == "DELETE" and answer.status == 204 and "/jobs/" in answer.path
    }
    for job_id in _accepted(answers):
        if job_id in removed:
            continue
        if job_id not in records:
            found.append(f"{job_id}: it was accepted and is lost")
            continue
        found += [f"{job_id}: {what}" for what in _wrong_in_rows(records[job_id])]
        of_job = [answer for answer in answers if _id_in(answer.path) == job_id or _id_of(answer) == job_id]
        found += [f"{job_id}: {what}" for what in _wrong_in_answers(of_job, records[job_id])]
    return found


def _job_of(row: Row) -> str:
    """Return the job that a row belongs to, of any table except `jobs`. Events have a subject."""
    return row["subject_id"] if "subject_id" in row else row["job_id"]


def read(database_url: str) -> dict[str, list[Row]]:
    """Read all tables."""
    if database_url.startswith("sqlite"):
        with closing(sqlite3.connect(database_url.partition("///")[2], timeout=30)) as connection:
            connection.row_factory = sqlite3.Row
            rows = {table: [dict(row) for row in connection.execute(f"SELECT * FROM {table}")] for table in TABLES}
    else:
        with psycopg.connect(re.sub(r"^\w+\+psycopg", "postgresql", database_url), row_factory=dict_row) as postgres:
            rows = {table: list(postgres.execute(f"SELECT * FROM {table}")) for table in TABLES}
    for table in rows.values():
        for row in table:
            for name in JSON_COLUMNS:
                if isinstance(row.get(name), str):
                    row[name] = json.loads(row[name])
    return rows


# --- what the rows say ---------------------------------------------------------------------------------


def _wrong_in_rows(record: JobRecord) -> Iterator[str]:
    job = record.job
    status = job["status"]
    if status not in TERMINAL:
        yield f"it is stuck as {status}"
    yield from _wrong_in_events(record)
    yield from _wrong_in_attempts(record)
    yield from _wrong_in_epochs(record)
    if (len(record.results) == 1) != (status == "succeeded"):
        yield f"it has {status} with {len(record.results)} results"
    for result in record.results:
        if result["attempt"] != job["attempt"]:
            yield f"its result is of attempt {result['attempt']}, and {job['attempt']} was the last"
        names = sorted(row["name"] for row in record.artifacts)
        # The parts of its gap may be missing: then the job has warned of it.
        if [name for name in names if name != "gap"] != ["evaluation", "model", "predictions"]:
            yield f"it has succeeded with the files {names}"
    last = max((row["attempt"] for row in record.attempts if row["start_epoch"] is not None), default=job["attempt"])
    for file in record.artifacts if status in TERMINAL else ():
        if file["attempt"] != last or not file["key"].startswith(f"jobs/{job['id']}/{last}/"):
            yield f"it has a file of another attempt: {file['key']}"
    # A pause also leaves the model, in case the job is cancelled.
    allowed = {"model"} if record.visible() and status != "failed" else set()
    if status != "succeeded" and not {row["name"] for row in record.artifacts} <= allowed:
        yield f"it has {status} with files"
    if (job["error"] is not None) != (status == "failed"):
        yield f"it has {status} with the error {job['error']}"
    if status in TERMINAL:
        if record.checkpoints:
            yield "checkpoints are left of it"
        if job["request"] is not None or job["lease_expires_at"] is not None or job["worker"] is not None:
            yield "it has ended and is still held"
    times = [job[name] for name in ("created_at", "started_at", "finished_at") if job[name] is not None]
    if times != sorted(times):
        yield f"its times are out of order: {times}"


def _wrong_in_events(record: JobRecord) -> Iterator[str]:
    events = sorted(record.events, key=lambda row: row["id"])
    numbers = [event["id"] for event in events]
    if numbers != list(range(1, len(numbers) + 1)):
        yield f"its events are numbered {numbers}"
    if record.job["last_event"] != len(numbers):
        yield f"its last event is given as {record.job['last_event']} of {len(numbers)}"
    times = [event["created_at"] for event in events]
    if times != sorted(times):
        yield "its events' times are out of order"
    types = [event["type"] for event in events]
    ends = [type_ for type_ in types if type_.removeprefix("job.") in TERMINAL]
    if len(ends) > 1:
        yield f"it has ended {len(ends)} times: {ends}"
    elif ends and (ends[0] != types[-1] or ends[0] != f"job.{record.job['status']}"):
        yield f"its last event is {types[-1]}, it has {record.job['status']}, and {ends[0]} was reported"
    elif not ends and record.job["status"] in TERMINAL:
        yield f"it has {record.job['status']} and no event says so"
    started = [event["data"]["attempt"] for event in events if event["type"] == "job.started"]
    if started != list(range(1, record.job["attempt"] + 1)):
        yield f"attempts {started} were started, and the job says {record.job['attempt']}"
    yield from _repeated_events(events)
    given_back = True
    for type_ in types:
        if type_ == "job.started" and not given_back:
            yield "it was started twice without being given back between"
        if type_ in {"job.started", "job.requeued", "job.paused"}:
            given_back = type_ != "job.started"


def _repeated_events(events: list[Row]) -> Iterator[str]:
    """An attempt reports each epoch and each checkpoint once, and a job its overfitting once."""
    reported = set()
    attempt = 0
    for event in events:
        if event["type"] == "job.started":
            attempt = event["data"]["attempt"]
        if event["type"] in {"job.epoch", "job.checkpoint"}:
            what = (event["type"], attempt, event["data"]["epoch"], event["data"].get("step"))
        elif event["type"] == "job.overfitting":
            what = (event["type"], 0, 0, None)
        else:
            continue
        if what in reported:
            yield f"{what[0]} was reported twice: {event['data']}"
        reported.add(what)


def _wrong_in_attempts(record: JobRecord) -> Iterator[str]:
    numbers = sorted(row["attempt"] for row in record.attempts)
    if numbers != list(range(1, record.job["attempt"] + 1)):
        yield f"it has the attempts {numbers}, and says {record.job['attempt']}"


def _wrong_in_epochs(record: JobRecord) -> Iterator[str]:
    visible = [row["epoch"] for row in record.visible()]
    if visible != list(range(1, len(visible) + 1)):
        yield f"the epochs {visible} are visible"
    if len(visible) > record.job["epochs"]:
        yield f"{len(visible)} epochs are visible, and {record.job['epochs']} were ordered"
    if record.job["status"] != "succeeded":
        return
    if record.job["stop_reason"] == "completed" and len(visible) != record.job["epochs"]:
        yield f"it has succeeded with {len(visible)} of {record.job['epochs']} epochs"
    for result in record.results:
        if result["final"].get("epoch") not in visible:
            yield f"its final figures are of epoch {result['final'].get('epoch')}, which is not visible"


# --- answers to clients --------------------------------------------------------------------------------


def _wrong_in_answers(answers: Sequence[Answer], record: JobRecord) -> Iterator[str]:
    status = record.job["status"]
    for answer in answers:
        if answer.path.endswith("/cancel") and answer.status in {200, 202} and status != "cancelled":
            yield f"it has {status} although a cancel was accepted with {answer.status}"
    shown = [answer for answer in answers if isinstance(answer.body, dict) and answer.body.get("object") == "job"]
    if not [answer for answer in answers if answer.path.endswith("/cancel") and answer.status in {200, 202}] and (
        status == "cancelled"
    ):
        yield "it was cancelled although no cancel was accepted"
    for before in shown:
        for after in shown:
            if after.sent_at <= before.answered_at:
                continue
            for number in ("attempt", "version", "failures"):
                if after.body[number] < before.body[number]:
                    yield f"its {number} went from {before.body[number]} to {after.body[number]}"
                    return
            if before.body["status"] in TERMINAL and after.body["status"] != before.body["status"]:
                yield f"it was served as {before.body['status']} and later as {after.body['status']}"
                return
    for answer in answers:
        if answer.path.endswith("/metrics") and answer.status == 200:
            epochs = [epoch["epoch"] for epoch in answer.body["epochs"]]
            if epochs != list(range(1, len(epochs) + 1)):
                yield f"the epochs {epochs} were served"
            if (answer.body["final"] is not None) and status != "succeeded":
                yield "final figures were served of a job that did not succeed"
    last = [answer for answer in answers if answer.path.endswith("/metrics") and answer.status == 200][-1:]
    for answer in last:
        served = [(epoch["epoch"], epoch["train_loss"]) for epoch in answer.body["epochs"]]
        stored = [(row["epoch"], row["train_loss"]) for row in record.visible()]
        if served != stored:
            yield "the served epochs are not those of the attempts that count"


def _accepted(answers: Sequence[Answer]) -> list[str]:
    posts = [
        answer for answer in answers if answer.method == "POST" and answer.status == 201 and "/v1/jobs" in answer.path
    ]
    return list(dict.fromkeys(str(post.body["id"]) for post in posts))


def _id_in(path: str) -> str | None:
    match = re.match(r"/v1/jobs/(job_\w+)", path)
    return match[1] if match else None


def _id_of(answer: Answer) -> str | None:
    return answer.body.get("id") if isinstance(answer.body, dict) and answer.body.get("object") == "job" else None
