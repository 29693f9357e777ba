"""Datasets as clients see them: what there is, its shape, and which image is in which split."""

import numpy as np
import pytest

from models.database import db_now
from models.ids import new_id
from models.tables import DatasetRow
from tests.api.support import assert_problem, sqlite_only, submitted

pytestmark = sqlite_only


def test_the_bundled_sets_are_everyones(client, stranger):
    mine = client.get("/v1/datasets").json()
    assert mine == stranger.get("/v1/datasets").json()
    assert {one["name"] for one in mine["data"]} == {"digits", "mnist5k"}
    assert all(one["bundled"] for one in mine["data"])
    assert (mine["object"], mine["has_more"], mine["next"]) == ("list", False, None)


def test_a_dataset_says_all_that_a_spec_needs_to_know(client):
    dataset = client.get("/v1/datasets/mnist5k").json()
    assert list(dataset) == [
        *("id", "object", "name", "version", "status", "shape", "dtype", "range", "classes", "splits"),
        *("sha256", "size_bytes", "bundled", "error", "created_at", "description"),
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


def test_the_splits_are_those_of_the_rule_and_share_no_image(client):
    splits = client.get("/v1/datasets/mnist5k/splits").json()
    assert list(splits) == ["object", "train", "validation", "test"]
    assert splits["object"] == "splits"
    parts = [splits[name] for name in ("train", "validation", "test")]
    assert [len(part) for part in parts] == [3600, 400, 1000]
    assert sorted(np.concatenate(parts)) == list(range(5000))
    assert all(part == sorted(part) for part in parts)


@pytest.mark.parametrize("reference", ["nobody", "mnist5k@2", "mnist5k@", "mnist5k@x", "ds_" + "0" * 26, "%00", "é"])
def test_what_is_no_dataset_is_not_found(client, reference):
    for route in ("", "/splits"):
        assert_problem(client.get(f"/v1/datasets/{reference}{route}"), 404, "dataset_not_found")


@pytest.fixture
def uploading(database) -> str:
    """A dataset of `ada` that is not ready."""
    with database.write() as session:
        row = DatasetRow(id=new_id("ds"), owner="ada", name="pets", version=1, status="uploading", created_at=db_now())
        session.add(row)
        session.flush()
        return row.id


def test_what_is_not_known_yet_is_null_and_cannot_be_trained_on(client, spec, uploading):
    dataset = client.get(f"/v1/datasets/{uploading}").json()
    assert (dataset["status"], dataset["shape"], dataset["splits"], dataset["bundled"]) == (
        *("uploading", None, None),
        False,
    )
    assert_problem(client.get(f"/v1/datasets/{uploading}/splits"), 409, "not_ready")
    assert_problem(client.post("/v1/jobs", json={**spec, "dataset": "pets"}), 422, "dataset_unavailable", "/dataset")


def test_what_another_owner_has_is_not_found(client, stranger, spec, uploading):
    assert_problem(stranger.get(f"/v1/datasets/{uploading}"), 404, "dataset_not_found")
    assert_problem(stranger.get("/v1/datasets/pets"), 404, "dataset_not_found")
    assert_problem(stranger.post("/v1/jobs", json={**spec, "dataset": uploading}), 422, "dataset_not_found", "/dataset")
    assert len(client.get("/v1/datasets").json()["data"]) == 3
    assert len(stranger.get("/v1/datasets").json()["data"]) == 2


def test_datasets_come_in_pages_and_by_status(client, uploading):
    first = client.get("/v1/datasets?limit=2").json()
    rest = client.get(f"/v1/datasets?limit=2&after={first['next']}").json()
    assert [one["id"] for one in first["data"] + rest["data"]] == [
        one["id"] for one in client.get("/v1/datasets").json()["data"]
    ]
    assert [one["id"] for one in client.get("/v1/datasets?status=uploading").json()["data"]] == [uploading]
    assert_problem(client.get("/v1/datasets?after=job_01jd0000000000000000000000"), 400, "invalid_cursor")
    assert_problem(client.get("/v1/datasets?status=lost"), 400, "invalid_parameter")
    assert_problem(client.get("/v1/datasets/mnist5k?limit=1"), 400, "invalid_parameter")


def test_a_job_names_the_version_that_it_was_accepted_for(client, spec):
    dataset = client.get("/v1/datasets/mnist5k").json()
    for reference in ("mnist5k", "mnist5k@1", dataset["id"]):
        job = submitted(client, {**spec, "dataset": reference})
        assert job["spec"]["dataset"] == reference
        assert job["dataset"] == {"id": dataset["id"], "name": "mnist5k", "version": 1}
