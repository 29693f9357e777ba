"""Studies of external trainings: runners ask for runs and report results, and the study concludes as usual."""

import io
import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from sqlalchemy import func, select

from analysis.answers.file import read_predictions
from analysis.studies.next_steps import decide_next_steps
from analysis.studies.reported_results import read_reported_result
from api.http import upload_body
from heldout.lifecycle.job import JobStatus
from heldout.service.settings import Settings
from models import database as database_module
from models.reconcile import Reconciler
from models.store import external_runs, studies, study_jobs, study_steps
from models.tables import JobRow, StudyRunRow
from tests.api.support import assert_problem, sqlite_only

ARMS = [
    {"name": "base"},
    {"name": "better", "parameters": {"dropout": 0.3}},
    {"name": "same", "parameters": {"width": 8}},
]
IMAGES, CLASSES = 400, 5
LABELS = np.random.default_rng(0).integers(0, CLASSES, IMAGES)


def order(client, **changes: Any) -> str:
    answer = client.post("/v1/studies", json={"kind": "external", "arms": ARMS, "seeds": 3, **changes})
    assert answer.status_code == 201, answer.text
    return answer.json()["id"]


def ask(client, study: str, **body: Any) -> dict[str, Any]:
    answer = client.post(f"/v1/studies/{study}/ask", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


def make_answers(arm: str, seed: int, split: str, labels=LABELS) -> np.ndarray:
    """Return probabilities of a network that is right on 70% of the images, or on 85%."""
    draw = np.random.default_rng([seed, len(split)])
    of_arm = np.random.default_rng([seed, len(split), *arm.encode()])
    share = 0.85 if arm == "better" else 0.7
    right = (draw.random(len(labels)) < share) ^ (of_arm.random(len(labels)) < 0.02)
    predicted = np.where(right, labels, (labels + 1) % CLASSES)
    return np.full((len(labels), CLASSES), 0.1) + 0.5 * np.eye(CLASSES)[predicted]


def make_file(run: dict[str, Any], **changes: np.ndarray) -> bytes:
    file = io.BytesIO()
    arrays = {f"{split}_labels": LABELS for split in ("train", "validation", "test")}
    arrays |= {
        f"{split}_probabilities": make_answers(run["arm"], run["seed"], split)
        for split in ("train", "validation", "test")
    }
    np.savez(file, **{name: array for name, array in (arrays | changes).items() if array is not None})
    return file.getvalue()


def report(client, study: str, run: dict[str, Any], content: bytes | None = None, **fields: str):
    parts: dict[str, Any] = {name: (None, text) for name, text in {"token": run["token"], **fields}.items()}
    if "failed" not in fields:
        parts["file"] = ("answers.npz", content or make_file(run))
    return client.post(f"/v1/studies/{study}/runs/{run['run']}/result", files=parts)


def run_to_the_end(client, study: str) -> list[tuple[str, int]]:
    """Simulate a runner until the study has ended. Returns the arms and seeds it ran."""
    done = []
    while (run := ask(client, study)["run"]) is not None:
        assert report(client, study, run, seconds="2.5").status_code == 200
        done.append((run["arm"], run["seed"]))
    return done


def test_an_external_study_finds_its_cure_and_uses_test_once(client):
    study = order(client)
    first = ask(client, study)["run"]
    assert (first["arm"], first["seed"], first["parameters"], first["fold"]) == ("base", 0, {}, None)
    assert report(client, study, first).json()["splits"].keys() == {"train", "validation"}
    done = run_to_the_end(client, study)
    assert len(done) == len(set(done))
    view = client.get(f"/v1/studies/{study}").json()
    assert (view["status"], view["conclusion"]["kind"], view["conclusion"]["remedy"]) == ("succeeded", "cure", "better")
    assert view["conclusion"]["test"]["winner"]["accuracy"] == pytest.approx(0.85, abs=0.04)
    assert (view["spec"], view["dataset"], view["conclusion"]["refit"]) == (None, None, None)
    winners = view["conclusion"]["test"]["winner"]
    assert winners["count"] == IMAGES
    assert view["ledger"]["test_reads"] == 2 * max(arm["seeds"] for arm in view["arms"])
    last = ask(client, study)
    assert (last["status"], last["run"], last["wait_s"]) == ("succeeded", None, None)
    assert last["conclusion"]["remedy"] == "better"
    runs = client.get(f"/v1/studies/{study}/runs").json()["data"]
    assert {run["status"] for run in runs} <= {"succeeded", "cancelled"}
    shown = {run["arm"]: "test" in run["splits"] for run in runs if run["status"] == "succeeded"}
    assert shown == {"base": True, "better": True, "same": False}
    assert client.get(f"/v1/studies/{study}/report").status_code == 200
    assert client.get(f"/v1/studies/{study}/report", headers={"Accept": "text/html"}).status_code == 200
    assert [listed["id"] for listed in client.get("/v1/studies").json()["data"]] == [study]
    assert client.delete(f"/v1/studies/{study}").status_code == 204


@sqlite_only
def test_only_the_objective_decides_and_is_mentioned(client):
    study = order(client, objective="accuracy")
    run_to_the_end(client, study)
    view = client.get(f"/v1/studies/{study}").json()
    assert (view["objective"], view["headline"]) == ("accuracy", "Better improves accuracy.")
    assert "loss" not in f"{view['summary']} {view['conclusion']['explanation']}"
    assert [arm["difference"]["loss"] for arm in view["arms"][1:]] == [None, None]
    assert all(arm["validation"]["loss"] > 0 for arm in view["arms"]), "means of the other measure are still shown"
    assert view["conclusion"]["test"]["difference"]["adjusted_intervals"]["loss"] is None
    report = client.get(f"/v1/studies/{study}/report").json()
    assert report["commands"][-1]["body"]["objective"] == "accuracy"
    assert "loss" not in report["arms"][1]["explanation"]
    either = order(client)
    run_to_the_end(client, either)
    of_both = client.get(f"/v1/studies/{either}").json()
    wide, narrow = (found["arms"][1]["difference"]["adjusted_intervals"]["accuracy"] for found in (of_both, view))
    assert (of_both["objective"], wide[0] < narrow[0] < narrow[1] < wide[1]) == (None, True)


@sqlite_only
def test_the_worst_group_of_external_answers_is_that_of_their_column(client):
    study = order(client, objective="worst_group", group_column="camera")
    cameras = {f"{split}_column_camera": np.array(["A", "B"])[LABELS % 2] for split in ("validation", "test")}
    run = ask(client, study)["run"]
    problem = assert_problem(report(client, study, run), 422, "invalid_spec", "/file/validation")
    assert "received no columns; expected 'camera', whose groups the study compares" in problem["detail"]
    assert report(client, study, run, make_file(run, **cameras)).status_code == 200
    other = ask(client, study)["run"]
    renamed = {name: np.where(column == "B", "C", column) for name, column in cameras.items()}
    problem = assert_problem(report(client, study, other, make_file(other, **renamed)), 409, "runs_disagree")
    assert "have the groups A, C, but those of" in problem["detail"]
    assert report(client, study, other, make_file(other, **cameras)).status_code == 200
    while (run := ask(client, study)["run"]) is not None:
        assert report(client, study, run, make_file(run, **cameras)).status_code == 200
    view = client.get(f"/v1/studies/{study}").json()
    assert (view["objective"], view["group_column"]) == ("worst_group", "camera")
    assert view["headline"] == "Better improves accuracy of the worst group."
    shares = np.array([0.0, 0.0])
    for seed in range(view["arms"][0]["seeds"]):
        right = make_answers("base", seed, "validation").argmax(axis=1) == LABELS
        shares += [right[side == LABELS % 2].mean() / view["arms"][0]["seeds"] for side in (0, 1)]
    assert shares.min() <= view["arms"][0]["validation"]["objective"] <= shares.mean(), "the smoothed minimum"
    body = client.get(f"/v1/studies/{study}/report").json()["commands"][-1]["body"]
    assert (body["objective"], body["group_column"]) == ("worst_group", "camera")


@sqlite_only
def test_each_run_has_a_diagnosis_without_test_until_the_end(client):
    study = order(client)
    run = ask(client, study)["run"]
    where = f"/v1/studies/{study}/runs/{run['run']}"
    assert_problem(client.get(f"{where}/diagnosis"), 409, "run_not_reported")
    training = '{"history": {"accuracy": [0.5, 0.9], "val_accuracy": [0.4, 0.6]}}'
    assert report(client, study, run, training=training).status_code == 200
    sealed = client.get(f"{where}/diagnosis").json()
    assert "test" not in str(sealed["gap"])
    run_to_the_end(client, study)
    assert client.get(f"{where}/diagnosis").json()["gap"] is not None


def test_two_runners_never_get_the_same_training_and_the_first_result_counts(client):
    study = order(client)
    first, other = ask(client, study, runner="one")["run"], ask(client, study, runner="other", lease_s=3600)["run"]
    assert first["run"] != other["run"]
    heartbeat = f"/v1/studies/{study}/runs/{first['run']}/heartbeat"
    assert client.post(heartbeat, json={"token": first["token"]}).status_code == 204
    assert_problem(client.post(heartbeat, json={"token": "2"}), 409, "run_replaced")
    assert report(client, study, first).json()["accepted"] is True
    again = report(client, study, first)
    assert (again.status_code, again.json()["accepted"], again.json()["status"]) == (200, False, "succeeded")
    before = client.get(f"/v1/studies/{study}/runs/{first['run']}/diagnosis").json()
    worse = make_file(first, validation_probabilities=np.roll(make_answers("base", 0, "validation"), 1, axis=1))
    assert report(client, study, first, worse).json()["accepted"] is False
    assert client.get(f"/v1/studies/{study}/runs/{first['run']}/diagnosis").json() == before
    assert_problem(report(client, study, {**first, "token": "../../../x"}), 409, "run_replaced")
    assert_problem(client.post(heartbeat, json={"token": first["token"]}), 409, "run_replaced")


def test_a_training_with_an_expired_lease_is_handed_out_again_and_late_results_count(client, database):
    from sqlalchemy import update

    from models.database import db_now
    from models.tables import JobRow

    study = order(client)
    lost = ask(client, study, runner="killed")["run"]

    def end_lease() -> None:
        with database.write() as session:
            session.execute(update(JobRow).where(JobRow.id == lost["run"]).values(lease_expires_at=db_now(-1)))

    for attempt in range(2, 6):
        end_lease()
        again = ask(client, study, runner=f"runner {attempt}")["run"]
        assert (again["run"], again["token"]) == (lost["run"], str(attempt))
    assert_problem(report(client, study, {**lost, "token": "9"}), 409, "run_replaced")
    assert report(client, study, lost).json()["accepted"] is True
    assert report(client, study, again).json()["accepted"] is False


def test_a_training_that_no_one_has_asked_for_has_no_token(client):
    study = order(client)
    asked = ask(client, study)["run"]
    listed = client.get(f"/v1/studies/{study}/runs").json()["data"]
    waiting = [run for run in listed if run["id"] != asked["run"]]
    assert waiting
    for token in ("0", "1", "", "x"):
        run = {"run": waiting[0]["id"], "arm": waiting[0]["arm"], "seed": waiting[0]["seed"], "token": token}
        assert_problem(report(client, study, run), 409, "run_replaced")
        assert_problem(report(client, study, run, failed="It never ran."), 409, "run_replaced")
        heartbeat = f"/v1/studies/{study}/runs/{run['run']}/heartbeat"
        assert_problem(client.post(heartbeat, json={"token": token}), 409, "run_replaced")
    assert_problem(report(client, study, {**asked, "token": "0"}), 409, "run_replaced")
    assert client.get(f"/v1/studies/{study}/runs").json()["data"] == listed
    assert report(client, study, asked).json()["accepted"] is True


def test_a_returned_training_is_handed_out_again_at_once(client):
    study = order(client)
    run = ask(client, study, lease_s=3600)["run"]
    lease = f"/v1/studies/{study}/runs/{run['run']}/lease"
    assert_problem(client.delete(lease, params={"token": "7"}), 409, "run_replaced")
    assert client.delete(lease, params={"token": run["token"]}).status_code == 204
    assert_problem(client.delete(lease, params={"token": run["token"]}), 409, "run_replaced")
    again = ask(client, study, runner="another")["run"]
    assert (again["run"], again["token"]) == (run["run"], "2")


@sqlite_only
def test_results_as_json_and_as_a_file_are_equivalent(client):
    def report_as_json(run: dict[str, Any], **changes: Any):
        splits = {
            split: {"labels": LABELS.tolist(), "probabilities": make_answers(run["arm"], run["seed"], split).tolist()}
            for split in ("train", "validation", "test")
        }
        body = {"token": run["token"], "predictions": splits, "seconds": 2.5, **changes}
        return client.post(f"/v1/studies/{study}/runs/{run['run']}/result", json=body)

    study = order(client)
    first, second = ask(client, study)["run"], ask(client, study)["run"]
    assert_problem(report_as_json(first, predictions=None), 422, "invalid_spec")
    assert_problem(report_as_json(first, failed="and answers"), 422, "invalid_spec")
    assert_problem(report_as_json(first, seconds=-1), 422, "invalid_spec", "/seconds")
    history = {"accuracy": [0.5, 0.9], "val_accuracy": [0.4, 0.6]}
    result = report_as_json(first, history=history)
    assert result.status_code == 200, result.text
    assert (result.json()["accepted"], result.json()["seconds"]) == (True, 2.5)
    where = f"/v1/studies/{study}/runs/{first['run']}/diagnosis"
    by_file = order(client)
    same = ask(client, by_file)["run"]
    assert report(client, by_file, same, training=json.dumps({"history": history})).status_code == 200
    diagnosis = client.get(where).json()
    assert diagnosis == client.get(f"/v1/studies/{by_file}/runs/{same['run']}/diagnosis").json()
    assert diagnosis["verdict"] != "cannot_tell", "answers and curves were read"
    # Answers sent as a file are compared with those sent as JSON.
    assert report(client, study, second).json()["splits"].keys() == result.json()["splits"].keys()
    assert report_as_json(third := ask(client, study)["run"], predictions=None, failed="no room").json()["error"] == {
        "code": "script_failed",
        "detail": "no room",
    }
    assert third["arm"] == "same"
    run_to_the_end(client, study)
    assert client.get(f"/v1/studies/{study}").json()["conclusion"]["remedy"] == "better"


def report_patiently(client, study: str, run: dict[str, Any]):
    """Repeat the result while a busy machine's database is too slow, as clients do."""
    answers = (report(client, study, run) for _ in range(20))
    return next(answer for answer in answers if answer.status_code != 503)


def test_many_concurrent_results_are_all_accepted(client, monkeypatch):
    monkeypatch.setattr(upload_body, "PATIENCE_S", 300.0)  # a busy machine takes long for 24 results
    study = order(client, seeds=10)
    runs = [ask(client, study)["run"] for _ in range(24)]
    with ThreadPoolExecutor(len(runs)) as threads:
        answers = list(threads.map(lambda run: report_patiently(client, study, run), runs))
    assert {answer.status_code for answer in answers} == {200}
    kept = {run["id"]: run["status"] for run in client.get(f"/v1/studies/{study}/runs").json()["data"]}
    assert {kept[run["run"]] for run in runs} == {"succeeded"}


def test_a_step_is_decided_outside_the_transaction_and_repeated_if_the_study_changed(client, database, monkeypatch):
    study = order(client)
    decided = []

    def decide(state, runs):
        # This would wait forever if the service were in a transaction.
        with database.write() as session:
            if not decided:
                studies.write(session, study, name="Renamed meanwhile")
        decided.append(len(runs))
        return decide_next_steps(state, runs)

    monkeypatch.setattr(study_steps, "decide_next_steps", decide)
    done = run_to_the_end(client, study)
    assert len(done) == len(set(done))
    view = client.get(f"/v1/studies/{study}").json()
    assert (view["name"], view["conclusion"]["remedy"]) == ("Renamed meanwhile", "better")
    assert decided[:2] == [9, 9]


def test_a_study_continues_after_the_service_died_before_its_next_step(client, database):
    study = order(client)
    runs = [ask(client, study)["run"] for _ in range(9)]
    for run in runs[:-1]:
        assert report(client, study, run).json()["accepted"] is True
    content = io.BytesIO(make_file(runs[-1]))
    result = read_reported_result(read_predictions(content, len(content.getvalue())), None, None)
    with database.write() as session:
        external_runs.tell(session, study, runs[-1]["run"], runs[-1]["token"], result, {"seconds": 1.0, "parts": []})
    lost = ask(client, study)
    assert (lost["status"], lost["run"], lost["wait_s"]) == ("running", None, 1.0)
    assert report(client, study, runs[-1]).json()["accepted"] is False  # its runner got no response and reports again
    assert ask(client, study)["run"] is not None


@sqlite_only
def test_provisional_means_are_those_of_all_reported_answers(client, database):
    """Also of a training that an earlier release stored without its means."""
    study = order(client)
    runs = [ask(client, study)["run"] for _ in range(4)]
    for run in runs[:3]:
        report(client, study, run)
    with database.write() as session:
        row = session.get_one(StudyRunRow, runs[0]["run"])
        row.result = {name: part for name, part in row.result.items() if name != "means"}
    report(client, study, runs[3])
    assert (runs[0]["arm"], runs[3]["arm"]) == ("base", "base")
    for arm in client.get(f"/v1/studies/{study}").json()["arms"]:
        answers = [make_answers(run["arm"], run["seed"], "validation") for run in runs if run["arm"] == arm["name"]]
        assert arm["provisional"] == {
            "seeds": len(answers),
            "accuracy": pytest.approx(np.mean([rows.argmax(axis=1) == LABELS for rows in answers])),
            "loss": pytest.approx(-np.mean([np.log(rows[np.arange(IMAGES), LABELS]) for rows in answers]), rel=1e-5),
            "objective": None,
        }


@sqlite_only
def test_a_failed_script_drops_its_arm_and_a_failed_base_ends_the_study(client):
    study, asked = order(client), []
    while (run := ask(client, study)["run"]) is not None:
        failed = {"failed": "CUDA out of memory"} if run["arm"] == "better" else {}
        assert report(client, study, run, **failed).status_code == 200
        asked.append(run["arm"])
    assert asked.count("better") == 1  # its other seeds were not handed out
    view = client.get(f"/v1/studies/{study}").json()
    assert view["conclusion"]["kind"] in ("nothing_helped", "cannot_tell")
    assert next(arm for arm in view["arms"] if arm["name"] == "better")["status"] == "dropped"
    other = order(client)
    while (run := ask(client, other)["run"]) is not None:
        report(client, other, run, failed="no such file")
    assert client.get(f"/v1/studies/{other}").json()["error"]["code"] == "base_failed"


@sqlite_only
def test_runs_that_cannot_be_compared_are_refused_with_the_difference(client):
    for changes, difference in [
        (
            {
                "validation_labels": LABELS[:300],
                "validation_probabilities": make_answers("base", 0, "validation")[:300],
            },
            "300",
        ),
        ({"validation_labels": LABELS[::-1].copy()}, "another order"),
        ({"test_labels": None, "test_probabilities": None}, "none"),
    ]:
        study = order(client)
        first, second = ask(client, study)["run"], ask(client, study)["run"]
        assert report(client, study, first).status_code == 200
        refused = assert_problem(report(client, study, second, make_file(second, **changes)), 409, "runs_disagree")
        assert first["run"] in refused["detail"]
        assert difference in refused["detail"]
        assert report(client, study, second).json()["accepted"] is True


@sqlite_only
def test_seeds_that_change_nothing_are_refused_because_they_would_hide_luck(client):
    study = order(client)
    first = ask(client, study)["run"]
    runs = [ask(client, study)["run"] for _ in range(4)]
    another_seed = next(run for run in runs if (run["arm"], run["seed"]) == (first["arm"], 1))
    another_arm = next(run for run in runs if run["arm"] != first["arm"] and run["seed"] == first["seed"])
    content = make_file(first)
    assert report(client, study, first, content).status_code == 200
    refused = assert_problem(report(client, study, another_seed, content), 409, "runs_disagree")
    assert first["run"] in refused["detail"]
    assert "the seed changed nothing" in refused["detail"]
    # An arm may have no effect, and sending a result twice changes nothing.
    assert report(client, study, another_arm, content).status_code == 200
    assert report(client, study, first, content).json()["accepted"] is False
    assert report(client, study, another_seed).json()["accepted"] is True


@sqlite_only
@pytest.mark.parametrize("perfect", [False, True])
def test_seeds_may_have_the_same_answers_if_the_network_has_collapsed_or_is_perfect(client, perfect):
    study = order(client)
    runs = [ask(client, study)["run"] for _ in range(6)]
    sure = np.eye(CLASSES)[LABELS] if perfect else np.eye(CLASSES)[np.zeros_like(LABELS)]
    for run in runs:
        assert report(client, study, run, make_file(run, validation_probabilities=sure)).status_code == 200


@sqlite_only
def test_images_in_another_order_are_paired_by_their_ids(client):
    study = order(client)
    ids = np.array([f"image-{number}" for number in range(IMAGES)])
    turn = np.random.default_rng(3).permutation(IMAGES)
    first, second = ask(client, study)["run"], ask(client, study)["run"]
    hashes = {f"{split}_hashes": ids for split in ("validation", "test")}
    assert report(client, study, first, make_file(first, **hashes)).status_code == 200
    turned = {f"{split}_hashes": ids[turn] for split in ("validation", "test")}
    for split in ("validation", "test"):
        turned[f"{split}_labels"] = LABELS[turn]
        turned[f"{split}_probabilities"] = make_answers(second["arm"], second["seed"], split)[turn]
    assert report(client, study, second, make_file(second, **turned)).status_code == 200


@sqlite_only
@pytest.mark.parametrize("split", ["validation", "test"])
def test_an_id_of_two_images_is_refused_at_its_place(client, split):
    """Answers to one image sent many times would count as those to many images."""
    study = order(client)
    run = ask(client, study)["run"]
    ids = np.array([f"image-{number}" for number in range(IMAGES)])
    ids[5] = ids[2]
    problem = assert_problem(
        report(client, study, run, make_file(run, **{f"{split}_hashes": ids})), 422, "invalid_spec"
    )
    assert problem["errors"][0]["pointer"] == f"/file/{split}/hashes/5"
    assert "received the id 'image-2', which image 3 has too" in problem["errors"][0]["detail"]
    spread = {f"{name}_hashes": np.arange(IMAGES) for name in ("validation", "test")}
    assert (
        report(client, study, run, make_file(run, train_hashes=np.zeros(IMAGES, np.int64), **spread)).status_code == 200
    )


@sqlite_only
def test_resampled_studies_give_each_seed_its_own_fold(client):
    study = order(client, splits="resampled")
    seen = set()
    while (answer := ask(client, study))["run"] is not None:
        run = answer["run"]
        seen.add((run["seed"], run["fold"], run["folds"]))
        labels = np.random.default_rng(run["fold"]).integers(0, CLASSES, IMAGES)
        arrays = {
            "validation_labels": labels,
            "validation_probabilities": make_answers(run["arm"], run["seed"], "validation", labels),
        }
        assert report(client, study, run, make_file(run, **arrays)).status_code == 200
    assert {seed == fold for seed, fold, _ in seen} == {True}
    assert client.get(f"/v1/studies/{study}").json()["conclusion"]["remedy"] == "better"


@sqlite_only
def test_invalid_external_studies_are_refused_by_pointer(client):
    for body, pointer in [
        ({"arms": ARMS[:1]}, "/arms"),
        ({"arms": [ARMS[1], ARMS[0]]}, "/arms"),
        ({"arms": [*ARMS, ARMS[1]]}, "/arms"),
        ({"seeds": 1}, "/seeds"),
        ({"spec": {}}, "/spec"),
        ({"objective": "auc"}, "/objective"),
        ({"budget": {"jobs": 3}}, "/budget/jobs"),
    ]:
        answer = client.post("/v1/studies", json={"kind": "external", "arms": ARMS, "seeds": 3, **body})
        assert_problem(answer, 422, "invalid_spec", pointer)


@sqlite_only
def test_invalid_results_are_refused_with_advice(client, stranger):
    study = order(client)
    run = ask(client, study)["run"]
    where = f"/v1/studies/{study}/runs/{run['run']}/result"
    assert_problem(client.post(where, files={"token": (None, run["token"])}), 400, "invalid_form")
    assert_problem(client.post(where, files={"file": ("a.npz", make_file(run))}), 400, "invalid_form")
    assert_problem(report(client, study, run, b"no file"), 422, "invalid_spec")
    assert_problem(report(client, study, run, seconds="soon"), 422, "invalid_spec", "/seconds")
    only_answers = make_file(run, validation_probabilities=None, validation_answers=LABELS)
    assert (
        "without probabilities"
        in assert_problem(report(client, study, run, only_answers), 422, "invalid_spec")["detail"]
    )
    assert_problem(stranger.post(where, files={"token": (None, "1"), "failed": (None, "x")}), 404, "study_not_found")
    assert_problem(stranger.post(f"/v1/studies/{study}/ask", json={}), 404, "study_not_found")
    missing = assert_problem(report(client, study, {**run, "run": "run_1"}), 404, "run_not_found")
    assert f"GET /v1/studies/{study}/runs lists" in missing["detail"]


def test_a_cancelled_study_accepts_no_more_results(client):
    study = order(client)
    run = ask(client, study)["run"]
    assert client.post(f"/v1/studies/{study}/cancel").status_code == 200
    assert ask(client, study)["status"] == "cancelled"
    assert report(client, study, run).json()["accepted"] is False


def count_cancelled(database, study: str) -> int:
    with database.read() as session:
        of_study = (JobRow.study_id == study, JobRow.status == JobStatus.CANCELLED)
        return session.scalar(select(func.count()).where(*of_study))


def test_no_transaction_cancels_many_runs_so_that_others_can_write_in_between(client, stranger, database, monkeypatch):
    monkeypatch.setattr(study_jobs, "JOBS_AT_ONCE", 4)
    study, seen = order(client), []

    def write_in_between(pause_s: float) -> None:
        assert pause_s >= 0.025, "SQLite's waiting writers look that often"
        seen.append(count_cancelled(database, study))
        assert stranger.post("/v1/studies", json={"kind": "external", "arms": ARMS[:2], "seeds": 2}).status_code == 201

    monkeypatch.setattr(database_module.time, "sleep", write_in_between)
    assert client.post(f"/v1/studies/{study}/cancel").json()["status"] == "cancelled"
    assert (seen, count_cancelled(database, study)) == ([4, 8], 9)


def test_a_study_whose_process_is_killed_while_it_cancels_hands_out_no_run_and_is_finished(
    client, database, monkeypatch
):
    monkeypatch.setattr(study_jobs, "JOBS_AT_ONCE", 4)
    study = order(client)
    with database.write() as session:
        study_jobs.request_cancel(session, "ada", study)
    with database.write() as session:
        study_jobs.cancel_some(study, session, "")
    asked = ask(client, study)
    assert (count_cancelled(database, study), asked["status"], asked["run"]) == (4, "running", None)
    Reconciler(database, Settings()).run_once()
    assert (count_cancelled(database, study), ask(client, study)["status"]) == (9, "cancelled")
