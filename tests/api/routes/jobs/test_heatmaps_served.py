"""GET …/images/{index}/heatmap orders where a network looks, once, and shows it over the image."""

import io

import numpy as np
import pytest
from PIL import Image
from sqlalchemy import select

from analysis.arrays.heatmaps import save_maps
from heldout.access.rights import Quota
from heldout.lifecycle.job import FailureCode
from heldout.work.kinds import JobKind
from models.store import claims, heatmaps, owners
from models.stored_files import store_artifact
from models.tables import JobRow
from tests.api.support import assert_problem, sqlite_only, submit

# tests/worker/supervision/test_heatmap_attempt.py runs the worker's part.
pytestmark = sqlite_only

ANSWERED = 4  # the only image in the predictions of the simulated worker: of class 7, taken for 0


def train(client, worker, spec) -> str:
    job_id = submit(client, spec)["id"]
    worker.succeed(worker.claim())
    return job_id


@pytest.fixture
def job(client, worker, spec) -> str:
    return train(client, worker, spec)


def route(job: str, index: int = ANSWERED) -> str:
    return f"/v1/jobs/{job}/images/{index}/heatmap"


def compute(worker, tmp_path, maps: np.ndarray) -> str:
    """Store maps as a worker does, and return the key of their file."""
    held = worker.claim()
    file, key = tmp_path / "heatmap.npz", f"jobs/{held.job_id}/{held.attempt}/heatmap.npz"
    save_maps(maps.astype(np.float32), file)
    with worker.database.write() as session:
        heatmaps.end(session, held, store_artifact(worker.blobs, key, file, "heatmap", "npz"))
    return key


def list_orders(worker) -> list[JobRow]:
    with worker.database.read() as session:
        return list(session.scalars(select(JobRow).where(JobRow.kind == JobKind.HEATMAP)))


def read(answer) -> np.ndarray:
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "image/png"
    return np.asarray(Image.open(io.BytesIO(answer.content)).convert("RGB"), int)


def test_the_first_request_orders_the_heatmap_and_later_ones_show_it(client, worker, job, tmp_path):
    for _ in range(2):
        ordered = client.get(route(job))
        assert ordered.status_code == 202
        assert ordered.json() == {"object": "heatmap", "job_id": job, "index": ANSWERED, "status": "queued"}
        assert ordered.headers["retry-after"] == "2"
    [order] = list_orders(worker)
    assert order.spec["classes"] == [0, 7], "the answer, then the label"
    for_answer, for_label = np.zeros((2, 7, 7))
    for_answer[1, 1] = for_label[5, 5] = 3
    compute(worker, tmp_path, np.stack([for_answer, for_label]))
    both = read(client.get(route(job)))
    side = both.shape[0]
    for shown, place, part in (("answer", 1, both[:, :side]), ("label", 5, both[:, -side:])):
        picture = read(client.get(f"{route(job)}?of={shown}"))
        np.testing.assert_array_equal(picture, part)
        redness = picture[..., 0] - picture[..., 2]
        row, column = np.unravel_index(redness.argmax(), redness.shape)
        assert (row * 7 // side, column * 7 // side) == (place, place)
        grey = picture[redness == 0]
        assert grey.size > picture.size / 2, "places that speak for nothing keep their grey"
        assert np.ptp(grey, axis=-1).max() == 0
    assert [each["id"] for each in client.get("/v1/jobs").json()["data"]] == [job], "it is no job of the list"


def test_a_request_can_wait_for_it(service, worker, spec, tmp_path):
    job = train(service, worker, spec)
    waiting = service.get(f"{route(job)}?wait=0.2")
    assert waiting.status_code == 202
    compute(worker, tmp_path, np.ones((1, 7, 7)))
    assert read(service.get(f"{route(job)}?wait=30")).shape[0] == 168


def test_other_owners_find_neither_the_job_nor_its_heatmap(client, stranger, worker, job, tmp_path):
    assert_problem(stranger.get(route(job)), 404, "job_not_found")
    assert list_orders(worker) == []
    client.get(route(job))
    compute(worker, tmp_path, np.ones((1, 7, 7)))
    assert_problem(stranger.get(route(job)), 404, "job_not_found")


@pytest.mark.parametrize("index", [5, -1, 10**9])
def test_only_images_that_the_job_has_answered_have_one(client, worker, job, index):
    """Image 5 is in the dataset. A test image that was not measured would show whether the answer is right."""
    problem = assert_problem(client.get(route(job, index)), 404, "image_not_found")
    assert f"has not answered image {index}." in problem["detail"]
    assert list_orders(worker) == []


def test_a_job_must_have_ended_with_answers(client, worker, spec):
    job = submit(client, spec)["id"]
    assert "is queued" in assert_problem(client.get(route(job)), 409, "not_ready")["detail"]
    client.post(f"/v1/jobs/{job}/cancel")
    assert "is cancelled" in assert_problem(client.get(route(job)), 409, "no_model")["detail"]


@pytest.mark.parametrize(
    ("code", "status", "shown"),
    [
        (FailureCode.NO_MAP, 409, "no_map"),
        (FailureCode.MODEL_UNAVAILABLE, 410, "model_lost"),
        (FailureCode.DATASET_UNAVAILABLE, 410, "dataset_lost"),
        (FailureCode.ARTIFACT_DAMAGED, 410, "artifact_damaged"),
        (FailureCode.OUT_OF_MEMORY, 409, "heatmap_failed"),
    ],
)
def test_a_failure_says_why_and_is_tried_again_only_on_request(client, worker, job, code, status, shown):
    client.get(route(job))
    with worker.database.write() as session:
        held = claims.claim(session, "worker", claims.Capacity(("cpu",)), 60).held
        claims.fail(session, held, code=code, detail="Something is missing.")
    assert_problem(client.get(route(job)), status, shown)
    assert len(list_orders(worker)) == 1
    assert client.get(f"{route(job)}?again=true").status_code == 202
    assert len(list_orders(worker)) == 2


def test_a_lost_file_is_computed_again(client, worker, job, tmp_path):
    client.get(route(job))
    worker.blobs.delete(compute(worker, tmp_path, np.ones((1, 7, 7))))
    assert client.get(route(job)).status_code == 202
    assert client.get(route(job)).status_code == 202
    assert len(list_orders(worker)) == 2
    compute(worker, tmp_path, np.ones((1, 7, 7)))
    read(client.get(route(job)))


def test_heatmaps_are_deleted_with_their_job(client, worker, job, tmp_path):
    client.get(route(job))
    key = compute(worker, tmp_path, np.ones((1, 7, 7)))
    assert client.delete(f"/v1/jobs/{job}").status_code == 204
    assert list_orders(worker) == []
    assert [blob.key for blob in worker.blobs.stored("jobs") if blob.key == key] == []


def test_an_order_counts_as_a_queued_job(client, worker, job, database):
    with database.write() as session:
        owners.limit(session, "ada", changes={Quota.QUEUED_JOBS: 0})
    assert_problem(client.get(route(job)), 429, "quota_exceeded")
