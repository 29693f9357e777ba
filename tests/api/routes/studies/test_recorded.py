"""Studies of earlier trainings compare final figures at once, and answers once all are uploaded."""

import io
from typing import Any

import numpy as np
import pytest

from tests.api.support import assert_problem, sqlite_only

IMAGES, CLASSES = 400, 5
LABELS = np.random.default_rng(0).integers(0, CLASSES, IMAGES)
BASE = [0.80, 0.81, 0.79, 0.80, 0.82, 0.80, 0.81, 0.79]


def make_runs(values: list[float | None], seeds: list[int | None] | None = None) -> list[dict[str, Any]]:
    found = seeds or [*range(len(values))]
    return [{"seed": seed, "value": value} for seed, value in zip(found, values, strict=True)]


def order(client, arms: dict[str, list[dict[str, Any]]], **changes: Any):
    named = [{"name": name, "runs": of_arm} for name, of_arm in arms.items()]
    return client.post("/v1/studies", json={"kind": "recorded", "arms": named, "metric": "accuracy", **changes})


def compare(client, arms: dict[str, list[dict[str, Any]]], **changes: Any) -> dict[str, Any]:
    answer = order(client, arms, **changes)
    assert answer.status_code == 201, answer.text
    view = answer.json()
    assert view["status"] == "succeeded", view
    return view


def shift_base(by: float) -> list[float]:
    noise = np.random.default_rng(1).normal(0, 0.003, len(BASE))
    return [round(value + by + float(step), 4) for value, step in zip(BASE, noise, strict=True)]


@sqlite_only
def test_a_clear_difference_confirmed_by_the_other_seeds_is_a_cure(client):
    view = compare(
        client, {"base": make_runs(BASE), "drop": make_runs(shift_base(0.05)), "same": make_runs(shift_base(0.0))}
    )
    assert (view["conclusion"]["kind"], view["conclusion"]["remedy"]) == ("cure", "drop")
    assert "on these images" in view["conclusion"]["explanation"]
    lot = view["recorded"]
    assert sorted(lot["chooses"] + lot["confirms"]) == [f"seed {seed}" for seed in range(8)]
    assert len(lot["chooses"]) == 4
    assert [arm["paired"] for arm in lot["arms"]] == [None, True, True]
    drop = view["arms"][1]["difference"]
    assert drop["accuracy"] == pytest.approx(0.05, abs=0.004)
    assert (drop["loss"], drop["intervals"]["loss"]) == (None, None)
    again = compare(client, {"base": make_runs(BASE), "drop": make_runs(shift_base(0.0))})
    assert again["recorded"]["chooses"] == lot["chooses"], "the seeds alone decide the draw"


@sqlite_only
def test_the_number_of_images_widens_the_interval(client):
    arms = {"base": make_runs(BASE), "drop": make_runs(shift_base(0.05))}
    seeds_only = compare(client, arms)["arms"][1]["difference"]["intervals"]["accuracy"]
    few = compare(client, arms, images=200)
    with_images = few["arms"][1]["difference"]["intervals"]["accuracy"]
    assert with_images[0] < seeds_only[0] < seeds_only[1] < with_images[1]
    assert few["conclusion"]["kind"] == "cannot_tell"
    assert "200 images" in few["conclusion"]["explanation"]


@sqlite_only
def test_runs_without_common_seeds_are_compared_unpaired(client):
    view = compare(
        client,
        {
            "base": make_runs(BASE),
            "other seeds": make_runs(shift_base(0.05), [*range(10, 18)]),
            "no seeds": make_runs(shift_base(0.05), [None] * 8),
            "some seeds": make_runs(shift_base(0.05), [0, 1, 2, 3, 4, 5, 90, 91]),
        },
    )
    assert [arm["paired"] for arm in view["recorded"]["arms"]] == [None, False, False, True]
    assert view["arms"][1]["why"] == "Not paired with the base, because they share too few seeds."
    assert view["arms"][3]["seeds"] == 6
    assert "2 of its runs and 2 of the base's" in view["arms"][3]["why"]


@sqlite_only
def test_trials_of_a_tuner_are_recognized_and_refused(client):
    arms = {"base": make_runs([0.8]), **{f"trial {number}": make_runs([0.8]) for number in range(99)}}
    problem = assert_problem(order(client, arms), 422, "tuner_trials")
    assert "100 of 100 arms have a single run" in problem["detail"]


@sqlite_only
def test_invalid_recorded_studies_are_refused_by_pointer(client):
    def with_drop(values: list[float | None] = BASE, base: list[dict[str, Any]] | None = None) -> dict[str, Any]:
        return {"base": base or make_runs(BASE), "drop": make_runs(values)}

    named = [{"run": "alpha", "value": 80.0}, {"run": "beta", "value": 0.8}]
    many = {f"a{number}" if number else "base": make_runs(BASE[:2]) for number in range(30)}
    for arms, changes, pointer, words in [
        ({"drop": make_runs(BASE), "base": make_runs(BASE)}, {}, "", "name it `base`"),
        (with_drop([0.8]), {}, "/arms/1/runs", "has one run"),
        (with_drop(base=make_runs(BASE[:2], [3, 3])), {}, "/arms/0/runs/1/seed", "Seed 3 comes twice in `base`"),
        (with_drop(base=make_runs([80.0, 81.0])), {}, "/arms/0/runs/0/value", "Divide percentages by 100"),
        (with_drop(base=named), {}, "/arms/0/runs/0/value", "In `base`, alpha has 80; expected 0 to 1"),
        (with_drop(base=make_runs([0.8, None])), {}, "/arms/0/runs/1/value", "expected its accuracy"),
        (with_drop(), {"metric": None}, "/arms/0/runs/0/value", "no `metric`"),
        (with_drop(), {"better": "lower", "images": 9}, "/better", "leave one"),
        (with_drop([-1.0, 1.0]), {"better": "lower"}, "/arms/1/runs/0/value", "at least 0"),
        (with_drop(), {"objective": "accuracy"}, "/objective", "have one measure"),
        (with_drop(), {"seeds": 3}, "/seeds", ""),
        (many, {}, "/arms", "at most 21"),
    ]:
        problem = assert_problem(order(client, arms, **changes), 422, "invalid_spec")
        assert words in problem["detail"]
        assert problem["errors"][0]["pointer"] == pointer


# --- answers ---------------------------------------------------------------------------------------------


def make_file(arm: str, seed: int, labels=LABELS, *, has_test: bool = True) -> bytes:
    arrays: dict[str, np.ndarray] = {}
    for split in ("train", "validation", *(["test"] if has_test else [])):
        draw = np.random.default_rng([seed, len(split)])
        own = np.random.default_rng([seed, len(split), *arm.encode()])
        right = (draw.random(len(labels)) < (0.85 if arm == "better" else 0.7)) ^ (own.random(len(labels)) < 0.02)
        predicted = np.where(right, labels, (labels + 1) % CLASSES)
        arrays[f"{split}_labels"] = labels
        arrays[f"{split}_probabilities"] = np.full((len(labels), CLASSES), 0.1) + 0.5 * np.eye(CLASSES)[predicted]
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


def order_answers(client, arms: tuple[str, ...] = ("base", "better", "same"), seeds: int = 6) -> str:
    answer = order(client, {arm: [{"seed": seed} for seed in range(seeds)] for arm in arms}, metric=None)
    assert answer.status_code == 201, answer.text
    assert answer.json()["status"] == "running"
    return answer.json()["id"]


def list_runs(client, study: str) -> list[dict[str, Any]]:
    return client.get(f"/v1/studies/{study}/runs").json()["data"]


def send(client, study: str, run: dict[str, Any], content: bytes | None = None):
    parts = {"token": (None, "0"), "file": ("answers.npz", content or make_file(run["arm"], run["seed"]))}
    return client.post(f"/v1/studies/{study}/runs/{run['id']}/result", files=parts)


def test_answers_are_compared_by_image_once_complete_and_test_is_used_once(client):
    study = order_answers(client)
    listed = list_runs(client, study)
    assert len(listed) == 18
    assert client.post(f"/v1/studies/{study}/ask", json={}).json()["run"] is None, "recorded runs are not handed out"
    for run in listed:
        assert send(client, study, run).json()["accepted"] is True
    view = client.get(f"/v1/studies/{study}").json()
    assert (view["status"], view["conclusion"]["kind"], view["conclusion"]["remedy"]) == ("succeeded", "cure", "better")
    assert view["conclusion"]["test"]["winner"]["accuracy"] == pytest.approx(0.85, abs=0.04)
    assert view["ledger"]["test_reads"] == 12
    shown = {run["arm"]: "test" in run["splits"] for run in list_runs(client, study)}
    assert shown == {"base": True, "better": True, "same": False}
    for accept in ("application/json", "text/markdown", "text/html"):
        assert client.get(f"/v1/studies/{study}/report", headers={"Accept": accept}).status_code == 200
    assert client.get(f"/v1/studies/{study}/runs/{listed[0]['id']}/diagnosis").json()["gap"] is not None


@sqlite_only
def test_a_refusal_names_the_runs_that_disagree_and_the_difference(client):
    study = order_answers(client)
    first, other = list_runs(client, study)[:2]
    assert send(client, study, first).status_code == 200
    problem = assert_problem(send(client, study, other, make_file("same", 0, LABELS[:300])), 409, "runs_disagree")
    assert f"{other['id']} ({other['arm']}, seed {other['seed']}) cannot be compared with" in problem["detail"]
    assert f"({first['arm']}, seed {first['seed']})" in problem["detail"]
    assert "300 validation images" in problem["detail"]
    problem = assert_problem(send(client, study, other, make_file("same", 0, has_test=False)), 409, "runs_disagree")
    assert "test images" in problem["detail"]
    assert send(client, study, other).json()["accepted"] is True


@sqlite_only
def test_failed_runs_are_left_out(client):
    study = order_answers(client, ("base", "better"))
    for run in list_runs(client, study):
        if (run["arm"], run["seed"]) == ("better", 2):
            failed = {"token": (None, "0"), "failed": (None, "no file")}
            assert client.post(f"/v1/studies/{study}/runs/{run['id']}/result", files=failed).status_code == 200
        else:
            assert send(client, study, run).status_code == 200
    view = client.get(f"/v1/studies/{study}").json()
    assert (view["status"], view["arms"][1]["seeds"]) == ("succeeded", 5)
    assert "1 of the base's" in view["arms"][1]["why"]


@sqlite_only
def test_the_report_can_recreate_the_study_and_names_its_metric(client):
    study = compare(client, {"base": make_runs(BASE), "drop": make_runs(shift_base(0.05))}, metric="f1")
    report = client.get(f"/v1/studies/{study['id']}/report").json()
    assert report["arms"][1]["explanation"].startswith("F1 rises by")
    assert "16 recorded runs" in str(report["in_short"])
    again = client.post("/v1/studies", json=report["commands"][-1]["body"])
    assert again.json()["arms"] == study["arms"]


@sqlite_only
def test_too_many_answers_are_refused_before_they_are_read(client):
    study = order_answers(client, seeds=300)
    count = 25_000
    labels, probabilities = np.zeros(count, np.int8), np.full((count, 2), 0.5, np.float32)
    file = io.BytesIO()
    np.savez_compressed(file, validation_labels=labels, validation_probabilities=probabilities)
    problem = assert_problem(send(client, study, list_runs(client, study)[0], file.getvalue()), 422, "invalid_spec")
    assert "25,000 validation images for each of 900 runs; expected at most 22,222" in problem["detail"]


def test_a_study_of_final_figures_can_be_listed_and_deleted(client):
    study = compare(client, {"base": make_runs(BASE), "drop": make_runs(shift_base(0.05))})["id"]
    assert [listed["kind"] for listed in client.get("/v1/studies").json()["data"]] == ["recorded"]
    events = [event["type"] for event in client.get(f"/v1/studies/{study}/events").json()["data"]]
    assert events == ["study.started", "study.succeeded"]
    assert client.delete(f"/v1/studies/{study}").status_code == 204


@sqlite_only
def test_an_unknown_kind_of_study_is_refused_with_all_kinds(client):
    problem = assert_problem(client.post("/v1/studies", json={"kind": "extern", "job": "job_x"}), 422, "invalid_spec")
    detail = "Received 'extern'; expected one of remedies, learning_curve, external, recorded, judge."
    assert problem["errors"] == [{"pointer": "/kind", "detail": detail}]


@sqlite_only
@pytest.mark.parametrize("kind", ["recorded", "external"])
def test_studies_of_external_trainings_have_no_dry_run(client, kind):
    arms = {"recorded": [{"name": name, "runs": make_runs(BASE)} for name in ("base", "drop")]}
    named = arms.get(kind, [{"name": "base"}, {"name": "drop"}])
    body = {"kind": kind, "arms": named} | ({"metric": "f1"} if kind == "recorded" else {})
    assert_problem(client.post("/v1/studies?dry_run=true", json=body), 422, "invalid_spec")
    assert client.get("/v1/studies").json()["data"] == []
