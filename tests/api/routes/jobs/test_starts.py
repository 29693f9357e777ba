"""Folds, more epochs, initial weights, and models of cancelled jobs over HTTP."""

import csv
from typing import Any

import numpy as np
import pytest

from analysis.arrays.file_names import make_members_key
from analysis.arrays.relations import Relations, make_relations_key, save_relations
from heldout.lifecycle.resources import RelationsStatus
from heldout.stored.artifacts import ArtifactFormat, ArtifactName
from models.store import artifacts, claims
from models.store.claims import Capacity
from models.tables import DatasetRow
from tests.api.support import assert_problem, sqlite_only, submit, with_field

pytestmark = sqlite_only
IMAGES = 5000  # of mnist5k


@pytest.fixture
def know_copies(database, worker, tmp_path):
    """Return what stores relations of mnist5k in which some images are copies of others."""

    def know(status: RelationsStatus | None = RelationsStatus.STORED, **pairs: int) -> str:
        copy_of = np.arange(IMAGES, dtype=np.int32)
        for later, first in pairs.items():
            copy_of[int(later.removeprefix("of_"))] = first
        with database.write() as session:
            row = session.query(DatasetRow).filter_by(name="mnist5k").one()
            row.relations_status = status
            key = make_relations_key(row.id)
        save_relations(Relations(copy_of), tmp_path / "relations.npz")
        worker.blobs.put(key, tmp_path / "relations.npz")
        return row.id

    return know


def with_fold(spec: dict[str, Any], fold: int = 0, folds: int = 5, **more: Any) -> dict[str, Any]:
    return {**spec, "validation": {"folds": folds, "fold": fold}, **more}


def test_a_job_shows_its_own_splits(client, spec, know_copies):
    know_copies(of_4=0)
    own = client.get("/v1/datasets/mnist5k/splits").json()
    plain = submit(client, spec)["id"]
    assert client.get(f"/v1/jobs/{plain}/splits").json() == own
    limited = submit(client, with_field(spec, "training.train_limit", 100))["id"]
    assert len(client.get(f"/v1/jobs/{limited}/splits").json()["train"]) == 100
    cuts = [client.get(f"/v1/jobs/{submit(client, with_fold(spec, fold))['id']}/splits").json() for fold in range(5)]
    assert sorted(image for cut in cuts for image in cut["validation"]) == sorted(own["train"] + own["validation"])
    assert all(cut["test"] == own["test"] and len(cut["train"]) == 3200 for cut in cuts)
    assert sum({0, 4} <= set(cut["validation"]) for cut in cuts) == 1, "copies are in different folds"


def test_the_images_of_each_split_are_also_a_table_with_their_names(client, spec, worker, know_copies):
    dataset = know_copies(of_4=0)
    job = submit(client, with_field(spec, "training.train_limit", 100))["id"]
    splits = client.get(f"/v1/jobs/{job}/splits").json()
    for name_of in (lambda index: "", lambda index: f"=digits, of 1/{index}.png"):
        answer = client.get(f"/v1/jobs/{job}/splits?format=csv")
        assert answer.headers["content-type"] == "text/csv; charset=utf-8"
        assert list(csv.reader(answer.text.splitlines())) == [
            ["split", "index", "file"],
            *(
                [split, str(index), name_of(index) and f"'{name_of(index)}"]
                for split in ("train", "validation", "test")
                for index in splits[split]
            ),
        ]
        worker.blobs.put(make_members_key(dataset), "".join(f"=digits, of 1/{n}.png\n" for n in range(IMAGES)).encode())


def test_folds_wait_for_copies_unless_their_search_failed(client, spec, know_copies):
    for status in (None, RelationsStatus.QUEUED):
        know_copies(status)
        answer = client.post("/v1/jobs", json=with_fold(spec))
        assert "has not ended" in assert_problem(answer, 409, "not_ready")["detail"]
        assert answer.headers["retry-after"]
    know_copies(RelationsStatus.FAILED)
    job = submit(client, with_fold(spec))["id"]
    events = client.get(f"/v1/jobs/{job}/events").json()["data"]
    assert [event["type"] for event in events] == ["job.queued", "job.warning"]


def test_folds_out_of_bounds_are_refused(client, spec, know_copies):
    know_copies()
    for validation, pointer in [
        ({"folds": 1, "fold": 0}, "/validation/folds"),
        ({"folds": 21, "fold": 0}, "/validation/folds"),
        ({"folds": 3, "fold": 3}, "/validation/fold"),
        ({"fold": 0}, "/validation/folds"),
    ]:
        assert_problem(client.post("/v1/jobs", json={**spec, "validation": validation}), 422, "invalid_spec", pointer)


def test_a_class_too_small_for_the_folds_is_named(client, spec, know_copies, database, worker):
    dataset = know_copies()
    zeros = np.arange(500)
    copy_of = np.arange(IMAGES, dtype=np.int32)
    copy_of[zeros] = zeros[0]
    copy_of[zeros[:2]] = zeros[:2]
    file = worker.blobs.get_local_folder(make_relations_key(dataset))
    save_relations(Relations(copy_of), file)
    for folds in (2, 3):
        answer = client.post("/v1/jobs?dry_run=true", json=with_fold(spec, folds=folds))
        if folds == 2:
            assert answer.status_code == 200, answer.text
        else:
            problem = assert_problem(answer, 422, "invalid_spec", "/validation/folds")
            assert "Class '0' has only 400 images in 2 sets that belong together" in problem["detail"]


def test_a_cancelled_job_serves_the_model_it_left(client, spec, worker):
    job = submit(client, spec)["id"]
    held = worker.claim()
    worker.begin(held, client.get(f"/v1/jobs/{job}").json()["spec"])
    worker.epoch(held, 1)
    client.post(f"/v1/jobs/{job}/cancel")
    assert_problem(client.get(f"/v1/jobs/{job}/model"), 409, "not_ready")
    leave_model(worker, held)
    answer = client.get(f"/v1/jobs/{job}/model")
    assert (answer.status_code, answer.content) == (200, b"keras")
    for file in ("predictions", "confusion"):
        assert_problem(client.get(f"/v1/jobs/{job}/{file}"), 409, "no_model")


def test_a_paused_job_has_no_model_until_it_is_cancelled(client, spec, worker):
    job = submit(client, spec)["id"]
    held = worker.claim()
    client.post(f"/v1/jobs/{job}/pause")
    leave_model(worker, held)
    assert_problem(client.get(f"/v1/jobs/{job}/model"), 409, "not_ready")
    client.post(f"/v1/jobs/{job}/cancel")
    assert client.get(f"/v1/jobs/{job}/model").content == b"keras"


def test_weights_of_an_earlier_attempt_are_not_served_for_a_later_one(client, spec, worker):
    job = submit(client, spec)["id"]
    held = worker.claim()
    client.post(f"/v1/jobs/{job}/pause")
    leave_model(worker, held)
    client.post(f"/v1/jobs/{job}/resume")
    worker.begin(worker.claim(), spec)
    client.post(f"/v1/jobs/{job}/cancel")
    worker.stop_as_requested(claims.HeldAttempt(job, 2))
    assert_problem(client.get(f"/v1/jobs/{job}/model"), 409, "no_model")


def leave_model(worker, held) -> None:
    key = f"jobs/{held.job_id}/{held.attempt}/model.keras"
    worker.blobs.put(key, b"keras")
    with worker.database.write() as session:
        file = artifacts.Artifact(ArtifactName.MODEL, ArtifactFormat.KERAS, key, 5)
        claims.stop_as_requested(session, held, [file])


def test_a_retry_takes_one_change_and_refuses_impossible_ones(client, spec, worker):
    job = submit(client, spec)["id"]
    worker.fail(worker.claim())
    url = f"/v1/jobs/{job}/retry"
    assert_problem(client.post(url, json={"epochs": 5}), 409, "state_gone")
    assert_problem(client.post(url, json={"epochs": 5, "patch": {}}), 422, "invalid_spec", "")
    assert_problem(client.post(url, json={"epochs": 0}), 422, "invalid_spec", "/epochs")
    assert_problem(client.post(url, json={"again": True}), 422, "invalid_spec", "/again")
    assert_problem(client.post(url, json={"remedy": "prayer"}), 422, "invalid_spec", "/remedy")
    refused = client.post(url, json={"patch": {"training": {"schedule": {"name": "cosine", "warmup_epochs": 10}}}})
    assert_problem(refused, 422, "invalid_spec", "/patch/training/schedule/warmup_epochs")
    assert_problem(client.post(url, json={"patch": {"dataset": "nobody"}}), 422, "dataset_not_found")
    changed = client.post(url, json={"patch": {"training": {"batch_size": 64}, "augmentation": None}}).json()
    assert (changed["spec"]["training"]["batch_size"], changed["retry_of"]) == (64, job)
    assert client.post(url, json={}).json()["spec"] == client.post(url).json()["spec"]


def train(client, worker, spec: dict[str, Any]) -> str:
    job = submit(client, spec)["id"]
    worker.succeed(worker.claim())
    return job


def test_a_job_starts_from_copied_weights_and_lists_the_layers_taken(client, spec, worker):
    source = train(client, worker, spec)
    body = {**spec, "initial": {"job": source, "freeze_blocks": 1}}
    estimate = client.post("/v1/jobs?dry_run=true", json=body).json()
    assert estimate["initial"] == {"job": source, "model": None, "taken": [*list_layers(estimate)], "new": []}
    assert estimate["parameters"] - estimate["trainable_parameters"] == 320
    job = submit(client, body)["id"]
    assert client.delete(f"/v1/jobs/{source}").status_code == 204
    with worker.database.write() as session:
        claimed = claims.claim(session, "worker", Capacity(["cpu", "auto"]), 60)
    assert claimed.begins.initial.layers == tuple(list_layers(estimate))
    assert worker.blobs.read(claimed.begins.initial.key).startswith(b"keras")
    started = client.get(f"/v1/jobs/{job}/events").json()["data"][-1]
    assert started["data"]["initial"] | {"model": None} == estimate["initial"]
    worker.fail(claimed.held)
    # The source of the weights is deleted, but the retried job has its own copy.
    again = client.post(f"/v1/jobs/{job}/retry")
    assert again.status_code == 201, again.text
    assert_problem(client.post("/v1/jobs", json=body), 422, "invalid_spec", "/initial/job")


def list_layers(estimate: dict[str, Any]) -> list[str]:
    return [layer["name"] for layer in estimate["layers"] if layer["parameters"]]


def test_a_warning_is_given_if_few_layers_fit(client, spec, worker):
    source = train(client, worker, spec)
    narrow = with_field(spec, "network.blocks.1.filters", 7)
    job = submit(client, {**narrow, "initial": {"job": source}})["id"]
    _, warning = client.get(f"/v1/jobs/{job}/events").json()["data"]
    assert (warning["type"], warning["data"]["taken"]) == ("job.warning", ["block1_conv1", "output"])


def test_unavailable_initial_weights_are_refused(client, stranger, spec, worker):
    source = train(client, worker, spec)
    waiting = submit(client, spec)["id"]
    failed = submit(client, spec)["id"]
    worker.fail(worker.claim())
    worker.fail(worker.claim())
    waiting = submit(client, spec)["id"]
    for job, code, pointer in (
        ({"job": waiting}, "invalid_spec", "/initial/job"),
        ({"job": failed}, "invalid_spec", "/initial/job"),
        ({"job": "job_nowhere"}, "invalid_spec", "/initial/job"),
        ({"model": "mod_1"}, "model_not_found", "/initial/model"),
        ({}, "invalid_spec", "/initial"),
        ({"job": source, "model": "mod_1"}, "invalid_spec", "/initial"),
        ({"job": source, "freeze_blocks": 9}, "invalid_spec", "/initial/freeze_blocks"),
    ):
        assert_problem(client.post("/v1/jobs", json={**spec, "initial": job}), 422, code, pointer)
    assert_problem(stranger.post("/v1/jobs", json={**spec, "initial": {"job": source}}), 422, "invalid_spec")
