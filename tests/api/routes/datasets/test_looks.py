"""Similar images and the map over HTTP: the first request has features computed, and later ones read them."""

import numpy as np
import pytest
from sqlalchemy import update

from analysis.arrays.features import Picture, save_features
from heldout.stored.audit import AuditFinding
from heldout.stored.looks import StoredLooks, make_features_key, make_looks_key
from models import pretrained
from models.digests import compute_file_digest
from models.store import jobs, searches
from models.tables import ArtifactRow
from tests.api.routes.datasets.test_ledger import get_counts, get_ledger
from tests.api.support import assert_problem, sqlite_only, submit

pytestmark = sqlite_only

MAP, SIMILAR = "/v1/datasets/mnist5k/map", "/v1/datasets/mnist5k/images/10/similar"


@pytest.fixture
def has_network(monkeypatch):
    monkeypatch.setattr(pretrained, "is_coming", lambda *_: True)


def finish(worker, client, folder, count: int = 20, findings: tuple[AuditFinding, ...] = ()) -> str:
    """Store features of the first images as a worker does. Each image's neighbors are the next two."""
    dataset_id = client.get("/v1/datasets/mnist5k").json()["id"]
    held, ids = worker.claim(), np.arange(count, dtype=np.int32)
    neighbors = np.stack([(ids + 1) % count, (ids + 2) % count], axis=1).astype(np.int32)
    similarity = np.tile(np.float16([0.9, 0.5]), (count, 1))
    places = np.stack([ids / count, 1 - ids / count], axis=1).astype(np.float16)
    save_features(
        Picture(ids, neighbors, similarity, places), np.zeros((count, 4), np.float16), folder / "features.npz"
    )
    looks = StoredLooks(
        model="net", model_sha256="0" * 64, images=5000, sampled=count, seen_as=(64, 64), findings=findings
    )
    (folder / "looks.json").write_bytes(looks.to_bytes())
    files = {make_features_key(dataset_id): folder / "features.npz", make_looks_key(dataset_id): folder / "looks.json"}
    for key, file in files.items():
        worker.blobs.put(key, file)
    digests = {key: compute_file_digest(file) for key, file in files.items()}
    with worker.database.write() as session:
        searches.mark_stored(session, searches.FEATURES, held, dataset_id, digests)
    return dataset_id


def answer(worker, held, split: str, folder) -> None:
    """End a training that answers two images of a split, one of them wrongly."""
    worker.succeed(held)
    columns = {"indices": [4, 5], "labels": np.int32([0, 0]), "probabilities": np.eye(10)[[0, 3]]}
    np.savez(folder / "answers.npz", **{f"{split}_{name}": column for name, column in columns.items()})
    worker.blobs.put(f"jobs/{held.job_id}/{held.attempt}/predictions.npz", folder / "answers.npz")
    with worker.database.write() as session:
        session.execute(update(ArtifactRow).values(size_bytes=None, sha256=None))


def test_without_a_pretrained_network_one_sentence_says_so_and_nothing_is_queued(client, worker):
    for route in (MAP, SIMILAR):
        answer = client.get(route)
        assert (answer.status_code, answer.json()["status"]) == (200, "unavailable")
        assert "no pretrained network" in answer.json()["explanation"]
        assert "Everything else works." in answer.json()["explanation"]
    with worker.database.read() as session:
        assert jobs.count_unfinished(session) == []


@pytest.mark.usefixtures("has_network")
def test_the_first_request_has_features_computed_and_a_later_one_shows_them(client, worker, tmp_path):
    first = client.get(MAP)
    assert (first.status_code, first.json()["status"]) == (202, "queued")
    assert "Retry-After" in first.headers
    assert client.get(SIMILAR).json()["status"] == "queued"  # the same job
    finish(worker, client, tmp_path)
    before = get_counts(get_ledger(client), "test")
    similar = client.get(SIMILAR).json()
    assert [(image["index"], image["similarity"]) for image in similar["data"]] == [(11, 0.9), (12, 0.5)]
    assert similar["data"][0]["thumbnail"].endswith("/preview/11")
    assert get_counts(get_ledger(client), "test") == before  # no label was shown
    shown = client.get(MAP).json()
    assert (shown["status"], shown["images"], shown["sampled"]) == ("ready", 5000, 20)
    assert shown["explanation"].startswith("20 of the 5,000 images")
    points = shown["points"]
    assert points["index"] == list(range(20))
    assert points["x"][10] == pytest.approx(0.5, abs=1e-3)
    assert set(points["split"]) <= {"train", "validation", "test"}
    assert get_counts(get_ledger(client), "test") != before
    outside = client.get("/v1/datasets/mnist5k/images/4000/similar").json()
    assert (outside["data"], "not in the sample" in outside["explanation"]) == ([], True)
    assert_problem(client.get("/v1/datasets/mnist5k/images/5000/similar"), 404, "image_not_found")


@pytest.mark.usefixtures("has_network")
def test_the_mistakes_of_a_job_are_marked_on_the_map_and_in_its_report(client, stranger, worker, spec, tmp_path):
    client.get(MAP)
    finish(worker, client, tmp_path)
    job = submit(client, spec)["id"]
    other = submit(client, spec | {"dataset": "digits", "network": {"blocks": [{"filters": 4}]}})["id"]
    marked, report = {"params": {"job": job}}, {"headers": {"Accept": "text/html"}}
    assert_problem(client.get(MAP, **marked), 409, "not_ready")
    answer(worker, worker.claim(), "test", tmp_path)
    points = client.get(MAP, **marked).json()["points"]
    assert points["answer"] == [None] * 4 + [0, 3] + [None] * 14
    assert points["label"][4:6] == [0, 0]
    assert client.get(MAP).json()["points"]["answer"] is None
    assert_problem(stranger.get(MAP, **marked), 404, "job_not_found")
    refused = assert_problem(client.get(MAP, params={"job": other}), 400, "invalid_parameter")
    assert "another dataset" in refused["detail"]
    page = client.get(f"/v1/jobs/{job}/diagnosis", **report).text
    assert points["split"][4:6] == ["test", "test"]  # as the job had split them
    assert "0 mistakes in training and 1 elsewhere, among 2 images" in page
    worker.blobs.delete(make_features_key(client.get("/v1/datasets/mnist5k").json()["id"]))
    without = client.get(f"/v1/jobs/{job}/diagnosis", **report)
    assert (without.status_code, "1 mistake" in without.text) == (200, False)


@pytest.mark.usefixtures("has_network")
def test_the_report_of_a_study_shows_the_mistakes_of_its_base_on_the_map(client, worker, spec, tmp_path):
    client.get(MAP)
    finish(worker, client, tmp_path)
    study = client.post("/v1/studies", json={"spec": spec, "remedies": ["dropout"], "splits": "fixed"}).json()
    held = worker.claim()
    assert held.job_id == study["arms"][0]["jobs"][0]
    report = f"/v1/studies/{study['id']}/report"
    assert "Where are the mistakes?" not in client.get(report, headers={"Accept": "text/html"}).text
    answer(worker, held, "validation", tmp_path)
    assert (
        "base: 0 mistakes in training and 1 elsewhere, among 2 images"
        in client.get(report, headers={"Accept": "text/html"}).text
    )
    assert "mistakes?" not in client.get(report, headers={"Accept": "text/markdown"}).text


@pytest.mark.usefixtures("has_network")
def test_lost_features_are_computed_again_only_on_request(client, worker, tmp_path):
    client.get(MAP)
    dataset_id = finish(worker, client, tmp_path)
    worker.blobs.delete(make_features_key(dataset_id))
    assert_problem(client.get(MAP), 410, "dataset_lost")
    again = client.get(f"{MAP}?again=true")
    assert (again.status_code, again.json()["status"]) == (202, "queued")
