"""Datasets over HTTP: lists, shapes, splits and previews."""

import hashlib
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from models import bundled
from models.blobs import Blobs
from models.database import db_now
from models.ids import make_id
from models.tables import DatasetRow
from tests.api.support import assert_problem, sqlite_only, submit

pytestmark = sqlite_only


def test_every_owner_sees_the_bundled_datasets(client, stranger):
    mine = client.get("/v1/datasets").json()
    assert mine == stranger.get("/v1/datasets").json()
    assert {dataset["name"] for dataset in mine["data"]} == {"digits", "mnist5k"}
    assert all(dataset["bundled"] for dataset in mine["data"])
    assert (mine["object"], mine["has_more"], mine["next"]) == ("list", False, None)


def test_a_dataset_has_everything_that_a_spec_needs(client):
    dataset = client.get("/v1/datasets/mnist5k").json()
    assert list(dataset) == [
        *("id", "object", "name", "version", "status", "shape", "dtype", "range", "classes", "splits"),
        *("sha256", "size_bytes", "bundled", "error", "queue_position", "upload_kept_until", "created_at"),
        *("description", "derived_from"),
    ]
    assert (dataset["object"], dataset["status"], dataset["version"]) == ("dataset", "ready", 1)
    assert (dataset["shape"], dataset["dtype"], dataset["range"]) == ([28, 28, 1], "uint8", [0, 255])
    assert dataset["classes"] == [str(digit) for digit in range(10)]
    assert {split: counts["count"] for split, counts in dataset["splits"].items()} == {
        "train": 3600,
        "validation": 400,
        "test": 1000,
    }
    assert dataset["splits"]["test"] == {"count": 1000, "per_class": [100] * 10}
    for reference in (dataset["id"], "mnist5k@1"):
        assert client.get(f"/v1/datasets/{reference}").json() == dataset


def test_the_splits_cover_all_images_and_are_disjoint(client):
    splits = client.get("/v1/datasets/mnist5k/splits").json()
    assert list(splits) == ["object", "train", "validation", "test"]
    assert splits["object"] == "splits"
    parts = [splits[name] for name in ("train", "validation", "test")]
    assert [len(part) for part in parts] == [3600, 400, 1000]
    assert sorted(np.concatenate(parts)) == list(range(5000))
    assert all(part == sorted(part) for part in parts)


def test_unknown_datasets_are_not_found(client):
    for reference in ["nobody", "mnist5k@2", "mnist5k@", "mnist5k@x", "ds_" + "0" * 26, "%00", "é"]:
        for route in ("", "/splits"):
            assert_problem(client.get(f"/v1/datasets/{reference}{route}"), 404, "dataset_not_found")


@pytest.fixture
def uploading(database) -> str:
    """Return a dataset of `ada` that is not ready."""
    with database.write() as session:
        row = DatasetRow(id=make_id("ds"), owner="ada", name="pets", version=1, status="uploading", created_at=db_now())
        session.add(row)
        session.flush()
        return row.id


def test_an_uploading_dataset_has_null_fields_and_cannot_be_trained_on(client, spec, uploading):
    dataset = client.get(f"/v1/datasets/{uploading}").json()
    assert (dataset["status"], dataset["shape"], dataset["splits"], dataset["bundled"]) == (
        *("uploading", None, None),
        False,
    )
    assert_problem(client.get(f"/v1/datasets/{uploading}/splits"), 409, "not_ready")
    assert_problem(client.post("/v1/jobs", json={**spec, "dataset": "pets"}), 422, "dataset_unavailable", "/dataset")


def test_another_owners_resources_are_not_found(client, stranger, spec, uploading):
    assert_problem(stranger.get(f"/v1/datasets/{uploading}"), 404, "dataset_not_found")
    assert_problem(stranger.get("/v1/datasets/pets"), 404, "dataset_not_found")
    assert_problem(stranger.post("/v1/jobs", json={**spec, "dataset": uploading}), 422, "dataset_not_found", "/dataset")
    assert len(client.get("/v1/datasets").json()["data"]) == 3
    assert len(stranger.get("/v1/datasets").json()["data"]) == 2


def test_datasets_are_listed_in_pages_and_by_status(client, uploading):
    first = client.get("/v1/datasets?limit=2").json()
    rest = client.get(f"/v1/datasets?limit=2&after={first['next']}").json()
    assert [dataset["id"] for dataset in first["data"] + rest["data"]] == [
        dataset["id"] for dataset in client.get("/v1/datasets").json()["data"]
    ]
    assert [dataset["id"] for dataset in client.get("/v1/datasets?status=uploading").json()["data"]] == [uploading]
    assert_problem(client.get("/v1/datasets?after=job_01jd0000000000000000000000"), 400, "invalid_cursor")
    assert_problem(client.get("/v1/datasets?status=lost"), 400, "invalid_parameter")
    assert_problem(client.get("/v1/datasets/mnist5k?limit=1"), 400, "invalid_parameter")


def test_a_job_names_the_dataset_version_it_was_accepted_for(client, spec):
    dataset = client.get("/v1/datasets/mnist5k").json()
    for reference in ("mnist5k", "mnist5k@1", dataset["id"]):
        job = submit(client, {**spec, "dataset": reference})
        assert job["spec"]["dataset"] == reference
        assert job["dataset"] == {"id": dataset["id"], "name": "mnist5k", "version": 1}


def get_preview(client, dataset: str, index: int) -> np.ndarray:
    answer = client.get(f"/v1/datasets/{dataset}/preview/{index}")
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "image/png"
    return np.asarray(Image.open(io.BytesIO(answer.content)))


def store_images(database, worker, tmp_path, images: np.ndarray, value_range: tuple[float, float]) -> None:
    """Store a ready dataset `own` of `ada` with these images."""
    sha256 = hashlib.sha256(images.tobytes()).hexdigest()
    with database.write() as session:
        row = DatasetRow(id=make_id("ds"), owner="ada", name="own", version=1, status="ready", created_at=db_now())
        row.sha256, row.value_range = sha256, list(value_range)
        row.shape, row.dtype, row.classes = list(images.shape[1:]), images.dtype.name, ["a", "b"]
        session.add(row)
    np.save(tmp_path / "images.npy", images)
    worker.blobs.put(f"datasets/{sha256}/images.npy", tmp_path / "images.npy")


def test_every_image_of_a_bundled_dataset_has_a_preview(client):
    images = bundled.BUNDLED["mnist5k"].read(Path("/nonexistent")).images
    for index in (0, 1234, 4999):
        # Each pixel becomes a square of six, because small images are enlarged unchanged.
        np.testing.assert_array_equal(get_preview(client, "mnist5k", index)[3::6, 3::6], images[index, ..., 0])


@pytest.mark.parametrize("value_range", [(0, 255), (-1.0, 1.0)])
@pytest.mark.parametrize("channels", [1, 3])
def test_previews_scale_all_pixel_types_to_their_range(client, database, worker, tmp_path, value_range, channels):
    drawn = np.random.default_rng(0).integers(0, 256, (3, 8, 12, channels)).astype(np.uint8)
    low, high = value_range
    images = drawn if value_range == (0, 255) else (drawn / 255 * (high - low) + low).astype(np.float32)
    store_images(database, worker, tmp_path, images, value_range)
    for index in range(3):
        picture = get_preview(client, "own", index).reshape(8 * 16, 12 * 16, channels)
        np.testing.assert_array_equal(picture[8::16, 8::16], drawn[index])


def test_large_images_are_scaled_down(client, database, worker, tmp_path):
    store_images(database, worker, tmp_path, np.full((2, 512, 256, 3), 7, np.uint8), (0, 255))
    picture = get_preview(client, "own", 1)
    assert picture.shape == (192, 96, 3)
    assert (picture == 7).all()


def test_a_missing_image_is_refused_with_the_valid_indices(client, uploading):
    for index in ("5000", "-1", "9" * 30):
        problem = assert_problem(client.get(f"/v1/datasets/mnist5k/preview/{index}"), 404, "image_not_found")
        assert "0 to 4,999" in problem["detail"]
    assert_problem(client.get("/v1/datasets/mnist5k/preview/first"), 400, "invalid_parameter")
    assert "PUT /v1/datasets/" in assert_problem(client.get("/v1/datasets/pets/preview/0"), 409, "not_ready")["detail"]


def test_a_preview_reads_only_its_own_image(client, database, worker, tmp_path, monkeypatch):
    store_images(database, worker, tmp_path, np.zeros((2000, 64, 64, 1), np.uint8), (0, 255))
    read: list[int] = []
    read_range = Blobs.read_range

    def counted(self: Blobs, key: str, first: int, end: int) -> bytes:
        read.append(end - first)
        return read_range(self, key, first, end)

    monkeypatch.setattr(Blobs, "read_range", counted)
    get_preview(client, "own", 1500)
    assert sum(read) < 3 * 64 * 64


def test_a_rejected_dataset_says_why_and_what_to_do(client, spec, database, uploading):
    error = {"code": "no_images", "detail": "The upload has no images.", "member": None}
    with database.write() as session:
        row = session.get(DatasetRow, uploading)
        row.status, row.error = "rejected", error
    refusals = [
        assert_problem(client.post("/v1/jobs", json={**spec, "dataset": "pets"}), 422, "dataset_unavailable"),
        *(assert_problem(client.get(f"/v1/datasets/pets/{part}"), 409, "not_ready") for part in ("splits", "audit")),
        assert_problem(client.get("/v1/datasets/pets/ledger"), 409, "not_ready"),
    ]
    for problem in refusals:
        assert "no_images: The upload has no images." in problem["detail"]
        assert "upload the dataset again" in problem["detail"]
        assert "wait" not in problem["detail"]


def test_images_are_listed_by_split_and_class_and_only_held_out_labels_count_as_a_look(client):
    source = bundled.BUNDLED["mnist5k"].read(Path("/nonexistent"))

    def looks() -> int:
        return client.get("/v1/datasets/mnist5k/ledger").json()["splits"]["test"]["handed_out"]

    def images(**asked) -> dict:
        answer = client.get("/v1/datasets/mnist5k/images", params=asked)
        assert answer.status_code == 200, answer.text
        return answer.json()

    of_train = images(limit=200)
    assert [image["index"] for image in of_train["data"]] == source.splits["train"][:200].tolist()
    assert looks() == 0

    sevens = [index for index in source.splits["test"].tolist() if source.labels[index] == 7]
    found, after = [], 0
    while after is not None:
        page = images(split="test", **{"class": "7"}, limit=60, after=after)
        found, after = found + page["data"], page["next"]
        assert page["count"] == len(sevens)
    assert [image["index"] for image in found] == sevens
    assert {(image["split"], image["label"], image["member"]) for image in found} == {("test", "7", None)}
    dataset_id = client.get("/v1/datasets/mnist5k").json()["id"]
    assert found[0]["thumbnail"] == f"/v1/datasets/{dataset_id}/preview/{sevens[0]}"
    assert looks() == 1

    assert images(after=10_000) == {"object": "list", "data": [], "has_more": False, "next": None, "count": 3600}
    assert_problem(client.get("/v1/datasets/mnist5k/images?class=z"), 400, "invalid_parameter")
    assert_problem(client.get("/v1/datasets/nobody/images"), 404, "dataset_not_found")
