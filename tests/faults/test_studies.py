"""A study whose workers are killed and whose database goes away has the answer of an undisturbed one."""

import sqlite3
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any

import httpx2
import psycopg

from heldout.views.study import StudyView
from tests.e2e.running import until
from tests.e2e.stack import Stack, digits, long_digits
from tests.faults.conftest import Away
from tests.faults.marks import SQLITE, on

EPOCHS = 12
# A base that hardly learns, and a remedy that helps at once. A look at two seeds, then the evaluation on test, then
# the refit of the winner.
ADAM = {"training": {"optimizer": {"name": "adam", "learning_rate": 0.003, "momentum": None}}}
BASE = long_digits(EPOCHS, optimizer={"name": "sgd", "learning_rate": 0.0005})
STUDY = {
    "spec": BASE,
    "remedies": [{"name": "adam", "patch": ADAM}],
    "splits": "fixed",
    "seeds": 2,
    "extent": "full",
    "budget": {"jobs": 5},
}


@on()
def test_a_study_survives_killed_workers_and_a_database_that_was_away(stack: Stack, database_away: Away) -> None:
    stack.start(workers=2)
    with stack.client() as client:
        whole = _ended(stack, client.studies.create(STUDY).id)
        harmed = client.studies.create(STUDY)
        [first, *_] = harmed.arms[0].jobs
        stack.wait_for_epoch(first, 2)
        stack.holder(first).kill_all()
        stack.start_worker(wait=False)  # if we waited, the other worker could finish them all
        [*_, last] = harmed.arms[1].jobs
        stack.wait_for_epoch(last, 2)
        stack.holder(last).kill()
        stack.start_worker()
        with database_away():
            # Long enough for the running trainings to end.
            worker = next(worker for worker in stack.workers if worker.lives())
            worker.wait_for_log("database_unavailable")
        harmed = _ended(stack, harmed.id)
    for job_id in (first, last):
        assert stack.job(job_id)["attempt"] > 1
    assert whole.conclusion is not None
    assert whole.conclusion.kind == "cure"
    assert _without_ids(harmed) == _without_ids(whole)
    for job, other in zip(_jobs(whole), _jobs(harmed), strict=True):
        assert stack.history(job) == stack.history(other)
    # Four trainings, one refit and one evaluation of each, and what they measured, to the bit.
    scores = [_rows(stack, study.id) for study in (whole, harmed)]
    assert scores[0] == scores[1]
    assert [(arm, purpose, seed) for arm, purpose, seed, _ in scores[0]] == [
        *((arm, "race", seed) for arm in ("adam", "base") for seed in (0, 1)),
        ("adam", "refit", 0),
    ]
    for study in (whole, harmed):
        evaluations = "SELECT count(*) FROM jobs WHERE kind = 'evaluate' AND study_id = %s"
        assert _query(stack, evaluations, study.id) == [(1,)]


# Two arms, two seeds and one look: the remedy does not help enough to be measured on test.
SMALL = {
    "spec": digits(epochs=8, batch_size=16, train_limit=700),
    "remedies": [{"name": "a little smoothing", "patch": {"training": {"label_smoothing": 0.01}}}],
    "splits": "fixed",
    "seeds": 2,
    "extent": "full",
    "budget": {"jobs": 4},
}


@on(SQLITE, always=SQLITE)
def test_a_small_study_whose_worker_is_killed_has_the_answer_of_an_undisturbed_one(stack: Stack) -> None:
    stack.start(workers=2)
    with stack.client() as client:
        whole, harmed = client.studies.create(SMALL), client.studies.create(SMALL)
        [first, *_] = harmed.arms[0].jobs
        stack.wait_for_attempt(first)
        stack.holder(first).kill_all()  # it trains nothing else
        until(
            lambda: client.studies.get(harmed.id).has_ended and client.studies.get(whole.id).has_ended,
            "the end of both",
            300,
        )
        whole, harmed = client.studies.get(whole.id), client.studies.get(harmed.id)
    assert stack.job(first)["attempt"] == 2
    assert {stack.job(job)["attempt"] for arm in whole.arms for job in arm.jobs} == {1}
    assert whole.conclusion is not None
    assert _without_ids(harmed) == _without_ids(whole)
    assert _rows(stack, harmed.id) == _rows(stack, whole.id)


@on()
def test_a_study_whose_api_is_killed_while_it_cancels_420_runs_is_finished_by_the_next(stack: Stack) -> None:
    stack.start_api()
    arms = [{"name": name} for name in ("base", *(f"arm{number}" for number in range(20)))]
    study = stack.ask("POST", "/v1/studies", json={"kind": "external", "arms": arms, "seeds": 20}).json()["id"]
    count = "SELECT count(*) FROM jobs WHERE study_id = %s AND status = 'cancelled'"

    def count_cancelled() -> int:
        return int(_query(stack, count, study)[0][0])

    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(stack.ask, "POST", f"/v1/studies/{study}/cancel")
        until(count_cancelled, "the first cancelled run")
        assert stack.api is not None
        stack.api.kill_all()
        assert isinstance(answer.exception(), httpx2.TransportError)
    assert 0 < count_cancelled() < 420
    stack.start_api()
    served = until(lambda: stack.ask("GET", f"/v1/studies/{study}?wait=5").json()["status"] != "running", "its end", 60)
    assert served
    assert stack.ask("GET", f"/v1/studies/{study}").json()["status"] == "cancelled"
    assert count_cancelled() == 420


def _ended(stack: Stack, study_id: str) -> StudyView:
    """Wait for the study's answer and the end of its refit, and return the study."""

    def served() -> StudyView | None:
        answer = stack.ask("GET", f"/v1/studies/{study_id}?wait=5")
        study = StudyView.model_validate(answer.json()) if answer.status_code == 200 else None
        return study if study is not None and study.has_ended else None

    study = until(served, f"the end of {study_id}", 300)
    assert study.status == "succeeded", study
    stack.wait_for_end(study.conclusion.refit)
    return study


def _without_ids(study: StudyView) -> Mapping[str, Any]:
    """Return a study's findings, without ids, times and row versions."""
    found = study.model_dump(mode="json", include={"status", "arms", "conclusion", "ensemble"})
    for arm in found["arms"]:
        arm["jobs"] = len(arm["jobs"])
        del arm["seconds"]
    found["conclusion"]["refit"] = None
    return found


def _jobs(study: StudyView) -> list[str]:
    return [*(job for arm in study.arms for job in arm.jobs), study.conclusion.refit]


def _rows(stack: Stack, study_id: str) -> list[tuple[Any, ...]]:
    """List arm, purpose, seed and stored scores of a study's trainings."""
    query = "SELECT arm, purpose, seed, scores FROM study_runs WHERE study_id = %s"
    rows = [(*key, scores and bytes(scores)) for *key, scores in _query(stack, query, study_id)]
    return sorted(rows, key=lambda row: (row[1], row[0], row[2]))


def _query(stack: Stack, query: str, *values: str) -> list[tuple[Any, ...]]:
    if stack.database_url.startswith("sqlite"):
        with closing(sqlite3.connect(stack.database_url.partition("///")[2])) as connection:
            return connection.execute(query.replace("%s", "?"), values).fetchall()
    with psycopg.connect(stack.database_url.replace("+psycopg", "")) as connection:
        return connection.execute(query, values).fetchall()
