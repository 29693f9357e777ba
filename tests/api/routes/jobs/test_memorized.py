"""GET …/memorized lists the training images that were hardest to learn."""

import io

import numpy as np
import pytest
from sqlalchemy import update

from models.tables import ArtifactRow
from tests.api.support import FINAL, assert_problem, make_artifact, sqlite_only, submit

# tests/models/store proves the SQL on both databases.
pytestmark = sqlite_only

SUMS = [0.5, 9.0, 3.0, 9.0, 0.1]
LABELS, ANSWERS = [0, 1, 1, 0, 1], [0, 2, 1, 0, 1]


def make_predictions(**added) -> bytes:
    """Return predictions for five training images, at positions 10, 12, … of the dataset."""
    content = io.BytesIO()
    probabilities = np.eye(10, dtype=np.float32)[ANSWERS]
    arrays = {"indices": 10 + 2 * np.arange(5), "labels": np.array(LABELS, np.int32), "probabilities": probabilities}
    np.savez(content, **{f"train_{what}": array for what, array in arrays.items()}, **added)
    return content.getvalue()


@pytest.fixture
def job(client, worker, spec) -> str:
    return submit(client, spec)["id"]


def succeed(worker, job: str, content: bytes) -> None:
    worker.succeed(worker.claim(), FINAL)
    key = f"jobs/{job}/1/predictions.npz"
    stored = make_artifact("predictions", "npz", key, content)
    worker.blobs.put(key, content)
    with worker.database.write() as session:
        of_job = (ArtifactRow.job_id == job, ArtifactRow.name == "predictions")
        session.execute(update(ArtifactRow).where(*of_job).values(size_bytes=stored.size_bytes, sha256=stored.sha256))


def test_training_images_are_sorted_by_the_sum_of_their_losses(client, worker, job):
    names = np.array([f"é/{row}.png" for row in range(5)])
    sums = np.array(SUMS, np.float32)
    succeed(worker, job, make_predictions(train_loss_sums=sums, train_loss_epochs=np.array(4), train_files=names))
    found = client.get(f"/v1/jobs/{job}/memorized").json()
    assert (found["object"], found["epochs"], found["count"]) == ("list", 4, 5)
    assert found["explanation"].startswith("A high sum of losses means that an image is hard")
    # With equal sums, the first image of the dataset comes first.
    assert [image["index"] for image in found["data"]] == [12, 16, 14, 10, 18]
    classes = client.get(f"/v1/datasets/{client.get(f'/v1/jobs/{job}').json()['dataset']['id']}").json()["classes"]
    dataset = client.get(f"/v1/jobs/{job}").json()["dataset"]["id"]
    assert found["data"][0] == {
        "index": 12,
        "member": "é/1.png",
        "thumbnail": f"/v1/datasets/{dataset}/preview/12",
        "label": classes[1],
        "answer": classes[2],
        "loss_sum": 9.0,
        "loss_mean": 2.25,
    }


def test_pages_cover_all_images_or_those_of_one_class(client, worker, job):
    sums = np.array(SUMS, np.float32)
    succeed(worker, job, make_predictions(train_loss_sums=sums, train_loss_epochs=np.array(1)))
    read, after = [], 0
    while after is not None:
        page = client.get(f"/v1/jobs/{job}/memorized?limit=2&after={after}").json()
        read += [image["index"] for image in page["data"]]
        assert page["has_more"] == (page["next"] is not None)
        after = page["next"]
    assert read == [12, 16, 14, 10, 18]
    dataset = client.get(f"/v1/jobs/{job}").json()["dataset"]["id"]
    name = client.get(f"/v1/datasets/{dataset}").json()["classes"][1]
    of_class = client.get(f"/v1/jobs/{job}/memorized", params={"class": name}).json()
    assert ([image["index"] for image in of_class["data"]], of_class["count"]) == ([12, 14, 18], 3)
    assert {image["member"] for image in of_class["data"]} == {None}
    beyond = client.get(f"/v1/jobs/{job}/memorized?after=7").json()
    assert (beyond["data"], beyond["has_more"], beyond["next"]) == ([], False, None)


def test_a_job_that_kept_no_losses_says_so(client, worker, job):
    succeed(worker, job, make_predictions())
    found = client.get(f"/v1/jobs/{job}/memorized").json()
    assert (found["data"], found["epochs"], found["count"]) == ([], None, None)
    assert "did not record the losses" in found["explanation"]


def test_unavailable_results_are_problems(client, worker, job, stranger):
    route = f"/v1/jobs/{job}/memorized"
    assert_problem(client.get(route), 409, "not_ready")
    assert_problem(stranger.get(route), 404, "job_not_found")
    succeed(worker, job, make_predictions())
    assert_problem(client.get(f"{route}?class=unicorn"), 400, "invalid_parameter")
    worker.blobs.delete(f"jobs/{job}/1/predictions.npz")
    assert_problem(client.get(route), 410, "predictions_lost")
