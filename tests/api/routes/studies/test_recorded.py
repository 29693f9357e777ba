"""Studies of earlier trainings: final figures are compared at once, answers once all are uploaded."""

import io
from typing import Any

import numpy as np
import pytest

from tests.api.support import assert_problem, sqlite_only

IMAGES, CLASSES = 400, 5
LABELS = np.random.default_rng(0).integers(0, CLASSES, IMAGES)
BASE = [0.80, 0.81, 0.79, 0.80, 0.82, 0.80, 0.81, 0.79]


def runs(values: list[float | None], seeds: list[int | None] | None = None) -> list[dict[str, Any]]:
    found = seeds or [*range(len(values))]
    return [{"seed": seed, "value": value} for seed, value in zip(found, values, strict=True)]


def order(client, arms: dict[str, list[dict[str, Any]]], **changes: Any):
    named = [{"name": name, "runs": of_arm} for name, of_arm in arms.items()]
    return client.post("/v1/studies", json={"kind": "recorded", "arms": named, "metric": "accuracy", **changes})


def compared(client, arms: dict[str, list[dict[str, Any]]], **changes: Any) -> dict[str, Any]:
    answer = order(client, arms, **changes)
    assert answer.status_code == 201, answer.text
    view = answer.json()
    assert view["status"] == "succeeded", view
    return view


def shifted(by: float) -> list[float]:
    noise = np.random.default_rng(1).normal(0, 0.003, len(BASE))
    return [round(value + by + float(step), 4) for value, step in zip(BASE, noise, strict=True)]


def test_a_clear_difference_in_final_figures_is_a_cure_that_the_other_half_of_the_seeds_proves(client):
    view = compared(client, {"base": runs(BASE), "drop": runs(shifted(0.05)), "same": runs(shifted(0.0))})
    assert (view["conclusion"]["kind"], view["conclusion"]["remedy"]) == ("cure", "drop")
    assert "on these images" in view["conclusion"]["explanation"]
    lot = view["recorded"]
    assert sorted(lot["chooses"] + lot["confirms"]) == [f"seed {seed}" for seed in range(8)]
    assert len(lot["chooses"]) == 4
    assert [arm["paired"] for arm in lot["arms"]] == [None, True, True]
    drop = view["arms"][1]["difference"]
    assert drop["accuracy"] == pytest.approx(0.05, abs=0.004)
    assert (drop["loss"], drop["intervals"]["loss"]) == (None, None)
    again = compared(client, {"base": runs(BASE), "drop": runs(shifted(0.0))})
    assert again["recorded"]["chooses"] == lot["chooses"], "the lot is drawn by the seeds alone"


def test_two_seeds_cannot_confirm_what_they_have_chosen(client):
    view = compared(client, {"base": runs(BASE[:2]), "drop": runs([0.9, 0.91])})
    assert view["conclusion"]["kind"] == "better"
    assert "not called a cure" in view["conclusion"]["explanation"]
    assert view["headline"] == "Drop is better than the base, but not confirmed."
    assert view["summary"].startswith("Its accuracy is ")


def test_an_arm_that_is_surely_worse_is_worse_and_noise_cannot_be_distinguished(client):
    worse = compared(client, {"base": runs(BASE), "drop": runs(shifted(-0.05))})
    assert (worse["conclusion"]["kind"], worse["headline"]) == ("worse", "Drop is worse than the base.")
    small = compared(client, {"base": runs(BASE), "drop": runs(shifted(0.001))})
    assert small["conclusion"]["kind"] == "cannot_tell"
    assert small["conclusion"]["needs"]["seeds"] > 1


def test_a_lower_loss_is_better(client):
    losses = runs([0.5, 0.52, 0.51, 0.5, 0.49, 0.52, 0.5, 0.51])
    less = runs([0.41, 0.42, 0.4, 0.4, 0.4, 0.42, 0.41, 0.42])
    view = compared(client, {"base": losses, "drop": less}, metric="val_loss", better="lower")
    assert (view["conclusion"]["kind"], view["arms"][1]["difference"]["accuracy"]) == ("cure", None)
    assert "val_loss falls by" in view["conclusion"]["explanation"]


def test_images_make_the_interval_wider(client):
    arms = {"base": runs(BASE), "drop": runs(shifted(0.05))}
    seeds_only = compared(client, arms)["arms"][1]["difference"]["intervals"]["accuracy"]
    few = compared(client, arms, images=200)
    with_images = few["arms"][1]["difference"]["intervals"]["accuracy"]
    assert with_images[0] < seeds_only[0] < seeds_only[1] < with_images[1]
    assert few["conclusion"]["kind"] == "cannot_tell"
    assert "200 images" in few["conclusion"]["explanation"]


def test_runs_without_common_seeds_are_compared_unpaired_and_the_answer_says_so(client):
    view = compared(
        client,
        {
            "base": runs(BASE),
            "other seeds": runs(shifted(0.05), [*range(10, 18)]),
            "no seeds": runs(shifted(0.05), [None] * 8),
            "some seeds": runs(shifted(0.05), [0, 1, 2, 3, 4, 5, 90, 91]),
        },
    )
    assert [arm["paired"] for arm in view["recorded"]["arms"]] == [None, False, False, True]
    assert view["arms"][1]["why"] == "Not paired with the base, because they share too few seeds."
    assert view["arms"][3]["seeds"] == 6
    assert "2 of its runs and 2 of the base's" in view["arms"][3]["why"]


def test_trials_of_a_tuner_are_refused_as_what_they_are(client):
    arms = {"base": runs([0.8]), **{f"trial {number}": runs([0.8]) for number in range(99)}}
    problem = assert_problem(order(client, arms), 422, "tuner_trials")
    assert "100 of 100 arms have a single run" in problem["detail"]


@sqlite_only
@pytest.mark.parametrize(
    ("arms", "changes", "pointer", "says"),
    [
        ({"drop": runs(BASE), "base": runs(BASE)}, {}, "", "name it `base`"),
        ({"base": runs(BASE), "drop": runs([0.8])}, {}, "/arms/1/runs", "has one run"),
        (
            {"base": runs(BASE[:2], [3, 3]), "drop": runs(BASE)},
            {},
            "/arms/0/runs/1/seed",
            "seed 3 comes twice in `base`",
        ),
        ({"base": runs([80.0, 81.0]), "drop": runs(BASE)}, {}, "/arms/0/runs/0/value", "Divide percentages by 100"),
        ({"base": runs([0.8, None]), "drop": runs(BASE)}, {}, "/arms/0/runs/1/value", "expected its accuracy"),
        ({"base": runs(BASE), "drop": runs(BASE)}, {"metric": None}, "/arms/0/runs/0/value", "no `metric`"),
        ({"base": runs(BASE), "drop": runs(BASE)}, {"better": "lower", "images": 9}, "/better", "leave one"),
        ({"base": runs(BASE), "drop": runs([-1.0, 1.0])}, {"better": "lower"}, "/arms/1/runs/0/value", "at least 0"),
        ({"base": runs(BASE), "drop": runs(BASE)}, {"objective": "accuracy"}, "/objective", "have one measure"),
        ({"base": runs(BASE), "drop": runs(BASE)}, {"seeds": 3}, "/seeds", ""),
        ({f"a{n}" if n else "base": runs(BASE[:2]) for n in range(30)}, {}, "/arms", "at most 21"),
    ],
)
def test_what_cannot_be_compared_is_refused_with_its_place(client, arms, changes, pointer, says):
    problem = assert_problem(order(client, arms, **changes), 422, "invalid_spec")
    assert says in problem["detail"]
    assert problem["errors"][0]["pointer"] == pointer


# --- answers ---------------------------------------------------------------------------------------------


def file_of(arm: str, seed: int, labels=LABELS, *, has_test: bool = True) -> bytes:
    arrays: dict[str, np.ndarray] = {}
    for split in ("train", "validation", *(["test"] if has_test else [])):
        draw = np.random.default_rng([seed, len(split)])
        own = np.random.default_rng([seed, len(split), *arm.encode()])
        right = (draw.random(len(labels)) < (0.85 if arm == "better" else 0.7)) ^ (own.random(len(labels)) < 0.02)
        said = np.where(right, labels, (labels + 1) % CLASSES)
        arrays[f"{split}_labels"] = labels
        arrays[f"{split}_probabilities"] = np.full((len(labels), CLASSES), 0.1) + 0.5 * np.eye(CLASSES)[said]
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
    parts = {"token": (None, "0"), "file": ("answers.npz", content or file_of(run["arm"], run["seed"]))}
    return client.post(f"/v1/studies/{study}/runs/{run['id']}/result", files=parts)


def test_answers_are_compared_image_by_image_when_all_are_there_and_test_is_opened_once(client):
    study = order_answers(client)
    listed = list_runs(client, study)
    assert len(listed) == 18
    assert client.post(f"/v1/studies/{study}/ask", json={}).json()["run"] is None, "no one trains them"
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


def test_the_refusal_says_which_runs_disagree_and_in_what(client):
    study = order_answers(client)
    first, other = list_runs(client, study)[:2]
    assert send(client, study, first).status_code == 200
    problem = assert_problem(send(client, study, other, file_of("same", 0, LABELS[:300])), 409, "runs_disagree")
    assert f"{other['id']} ({other['arm']}, seed {other['seed']}) cannot be compared with" in problem["detail"]
    assert f"({first['arm']}, seed {first['seed']})" in problem["detail"]
    assert "300 validation images" in problem["detail"]
    problem = assert_problem(send(client, study, other, file_of("same", 0, has_test=False)), 409, "runs_disagree")
    assert "test images" in problem["detail"]
    assert send(client, study, other).json()["accepted"] is True


def test_runs_that_failed_are_left_out(client):
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


def test_a_report_repeats_the_study_and_names_the_figures(client):
    study = compared(client, {"base": runs(BASE), "drop": runs(shifted(0.05))}, metric="f1")
    report = client.get(f"/v1/studies/{study['id']}/report").json()
    assert report["arms"][1]["explanation"].startswith("F1 rises by")
    assert "16 recorded runs" in str(report["in_short"])
    again = client.post("/v1/studies", json=report["commands"][-1]["body"])
    assert again.json()["arms"] == study["arms"]


def test_more_answers_than_can_be_compared_at_once_are_refused_before_they_are_read(client):
    study = order_answers(client, seeds=300)
    count = 25_000
    labels, said = np.zeros(count, np.int8), np.full((count, 2), 0.5, np.float32)
    file = io.BytesIO()
    np.savez_compressed(file, validation_labels=labels, validation_probabilities=said)
    problem = assert_problem(send(client, study, list_runs(client, study)[0], file.getvalue()), 422, "invalid_spec")
    assert "25,000 validation images for each of 900 runs; expected at most 22,222" in problem["detail"]


def test_a_study_of_final_figures_can_be_listed_and_deleted(client):
    study = compared(client, {"base": runs(BASE), "drop": runs(shifted(0.05))})["id"]
    assert [one["kind"] for one in client.get("/v1/studies").json()["data"]] == ["recorded"]
    events = [event["type"] for event in client.get(f"/v1/studies/{study}/events").json()["data"]]
    assert events == ["study.started", "study.succeeded"]
    assert client.delete(f"/v1/studies/{study}").status_code == 204


@pytest.mark.parametrize("kind", ["recorded", "external"])
def test_a_study_of_trainings_elsewhere_has_no_estimate_and_does_not_begin(client, kind):
    arms = {"recorded": [{"name": name, "runs": runs(BASE)} for name in ("base", "drop")]}
    named = arms.get(kind, [{"name": "base"}, {"name": "drop"}])
    body = {"kind": kind, "arms": named} | ({"metric": "f1"} if kind == "recorded" else {})
    assert_problem(client.post("/v1/studies?dry_run=true", json=body), 422, "invalid_spec")
    assert client.get("/v1/studies").json()["data"] == []
