"""The ledger over HTTP counts each look of a job or preview once, and only for its owner."""

import numpy as np
import pytest
from sqlalchemy import event, text

from models.database import db_now
from models.ids import make_id
from models.tables import DatasetRow
from tests.api.support import EPOCH, assert_problem, sqlite_only, submit, with_field

# Their SQL is proven on both databases by tests/models/store.
pytestmark = sqlite_only

SPLIT = {"count": 20, "per_class": [10, 10]}


def get_ledger(client, dataset: str = "mnist5k", **params) -> dict:
    answer = client.get(f"/v1/datasets/{dataset}/ledger", params=params)
    assert answer.status_code == 200, answer.text
    return answer.json()


def get_counts(ledger: dict, split: str) -> tuple[int, ...]:
    """Return reads, selections, labels shown and jobs of a split."""
    return tuple(ledger["splits"][split][name] for name in ("reads", "selections", "handed_out", "jobs"))


def count_rows(database) -> int:
    with database.engine.connect() as connection:
        return connection.execute(text("SELECT count(*) FROM label_reads")).scalar_one()


def train(client, worker, spec: dict, epochs: int = 2) -> str:
    """Train a job to its success and return its id."""
    job = submit(client, spec)
    held = worker.claim()
    for epoch in range(1, epochs + 1):
        worker.epoch(held, epoch)
    worker.succeed(held)
    return job["id"]


@pytest.fixture
def pets(client, database, worker, tmp_path) -> str:
    """Return a dataset of `ada` with contact sheets of its two classes."""
    with database.write() as session:
        row = DatasetRow(
            id=make_id("ds"),
            owner="ada",
            name="pets",
            version=1,
            status="ready",
            sha256="e" * 64,
            shape=[8, 8, 1],
            dtype="uint8",
            value_range=[0, 255],
            classes=["cat", "dog"],
            splits={"train": SPLIT, "validation": SPLIT, "test": SPLIT},
            size_bytes=1,
            created_at=db_now(),
        )
        session.add(row)
        session.flush()
        dataset_id = row.id
    for name in ("0", "1"):
        worker.blobs.put(f"datasets/{dataset_id}/preview/{name}.png", b"a picture")
    np.save(tmp_path / "images.npy", np.zeros((4, 8, 8, 1), np.uint8))
    worker.blobs.put(f"datasets/{'e' * 64}/images.npy", tmp_path / "images.npy")
    return dataset_id


def test_an_unused_dataset_has_an_empty_ledger(client):
    ledger = get_ledger(client)
    dataset = client.get("/v1/datasets/mnist5k").json()
    assert list(ledger) == ["object", "dataset", "explanation", "splits", "fold_reads", "entries"]
    assert ledger["object"] == "ledger"
    assert ledger["dataset"] == {name: dataset[name] for name in ("id", "name", "version")}
    for split, images in (("validation", 400), ("test", 1000)):
        assert get_counts(ledger, split) == (0, 0, 0, 0)
        assert ledger["splits"][split]["images"] == images
        assert f"None of your jobs has looked at the {images:,} {split} labels yet" in ledger["explanation"]
    assert ledger["entries"] == {"object": "list", "data": [], "has_more": False, "next": None}


def test_a_job_is_counted_with_its_epochs_and_its_one_look_at_test(client, worker, spec):
    job_id = train(client, worker, spec)
    ledger = get_ledger(client)
    assert get_counts(ledger, "validation") == (2, 0, 0, 1)
    assert get_counts(ledger, "test") == (1, 0, 0, 1)
    entries = ledger["entries"]["data"]
    assert all(entry["subject"] == {"object": "job", "id": job_id} for entry in entries)
    assert {(entry["split"], entry["epoch"], entry["what"]) for entry in entries} == {
        ("validation", 1, "measured"),
        ("validation", 2, "measured"),
        ("test", 2, "measured"),
    }
    assert [entry["id"] for entry in entries] == sorted((entry["id"] for entry in entries), reverse=True)
    assert all(entry["dataset_id"] == ledger["dataset"]["id"] for entry in entries)
    assert ledger["explanation"] == (
        "Your job has looked at the 400 validation labels twice. The more often validation results guide your "
        "choices, the better they look by chance. Your job has looked at the 1,000 test labels once. The more often "
        "test results guide your choices, the better they look by chance."
    )


def test_reading_a_jobs_results_repeatedly_adds_nothing(client, worker, spec, database):
    job_id = train(client, worker, spec)
    before = get_ledger(client)
    for _ in range(2):
        for route in ("predictions", "confusion", "metrics", "diagnosis", "model", "events"):
            client.get(f"/v1/jobs/{job_id}/{route}")
        for route in ("", "/splits", "/ledger"):
            assert client.get(f"/v1/datasets/mnist5k{route}").status_code == 200
    assert get_ledger(client) == before
    assert count_rows(database) == 3


def test_testing_every_epoch_counts_each_and_early_stopping_selects(client, worker, spec):
    early = with_field(spec, "training.early_stopping", {"monitor": "validation_loss", "patience": 2})
    submit(client, with_field(early, "evaluation", {"test": "every_epoch"}))
    held = worker.claim()
    for epoch in (1, 2, 3):
        worker.epoch(held, epoch, test_loss=EPOCH["validation_loss"], test_accuracy=0.7)
    worker.succeed(held)
    ledger = get_ledger(client)
    assert get_counts(ledger, "validation") == (3, 3, 0, 1)
    assert get_counts(ledger, "test") == (3, 0, 0, 1)
    assert "3 times; each of these looks could decide" in ledger["explanation"]


def test_another_owner_sees_none_of_it(client, stranger, worker, spec):
    train(client, worker, spec)
    theirs = get_ledger(stranger)
    assert [get_counts(theirs, split) for split in ("validation", "test")] == [(0, 0, 0, 0)] * 2
    assert theirs["entries"]["data"] == []


def test_a_contact_sheet_counts_once_for_each_split(client, pets, database):
    for name in ("cat", "dog", "cat"):
        assert client.get("/v1/datasets/pets/preview", params={"class": name}).content == b"a picture"
    ledger = get_ledger(client, "pets")
    for split in ("validation", "test"):
        assert get_counts(ledger, split) == (1, 0, 1, 0)
    assert {
        (entry["split"], entry["epoch"], entry["what"], entry["subject"]["id"]) for entry in ledger["entries"]["data"]
    } == {(split, None, "handed_out", pets) for split in ("validation", "test")}
    assert (
        "at the 20 test labels yet, but they were shown to you once, in a preview of the dataset."
        in ledger["explanation"]
    )
    assert count_rows(database) == 2


def test_a_contact_sheet_shown_before_is_served_without_a_write(client, app, pets):
    client.get("/v1/datasets/pets/preview")
    statements: list[str] = []
    event.listen(app.state.context.database.engine, "before_cursor_execute", lambda *args: statements.append(args[2]))
    assert client.get("/v1/datasets/pets/preview").status_code == 200
    assert [
        statement for statement in statements if "label_reads" in statement and not statement.startswith("SELECT")
    ] == []
    assert len([statement for statement in statements if "label_reads" in statement]) == 1


def test_responses_without_labels_are_not_counted(client, pets, database):
    assert client.get("/v1/datasets/pets/preview/3").status_code == 200
    assert client.get("/v1/datasets/pets/preview", params={"class": "bird"}).status_code == 404
    assert client.get("/v1/datasets/pets").status_code == 200
    assert count_rows(database) == 0


def test_invalid_requests_for_a_ledger_are_refused(client, stranger, pets, database):
    assert_problem(client.get("/v1/datasets/mnist5k/ledger?after=job_1"), 400, "invalid_cursor")
    assert_problem(client.get("/v1/datasets/mnist5k/ledger?limit=201"), 400, "invalid_parameter")
    assert_problem(stranger.get(f"/v1/datasets/{pets}/ledger"), 404, "dataset_not_found")
    assert_problem(client.get("/v1/datasets/nobody/ledger"), 404, "dataset_not_found")
    with database.write() as session:
        session.get_one(DatasetRow, pets).status = "checking"
    assert_problem(client.get(f"/v1/datasets/{pets}/ledger"), 409, "not_ready")


def test_a_version_reports_looks_at_earlier_versions(client, database, worker, spec, pets):
    shallow = with_field(spec, "network.blocks", [{"filters": 4}])
    train(client, worker, with_field(shallow, "dataset", "pets"))
    before = get_ledger(client, "pets@1")["splits"]

    def derive(version: int, source: str, changes: dict, **splits: dict) -> str:
        """Add a version with other digests for some splits."""
        with database.write() as session:
            base = session.get_one(DatasetRow, source)
            about = {"id": base.id, "name": base.name, "version": base.version}
            columns = (
                "owner",
                "name",
                "status",
                "shape",
                "dtype",
                "value_range",
                "classes",
                "size_bytes",
                "created_at",
            )
            row = DatasetRow(
                **{name: getattr(base, name) for name in columns},
                id=make_id("ds"),
                version=version,
                sha256=str(version) * 64,
                splits={split: {**SPLIT, **splits.get(split, {})} for split in ("train", "validation", "test")},
                derived_from={"dataset": about},
                changes=changes,
            )
            session.add(row)
            return row.id

    own = {split: {"sha256": split[0] * 64} for split in ("validation", "test")}
    second = derive(2, pets, {"relabel": {"0": "cat"}}, **own)
    third = derive(3, second, {"drop_copies": True}, **own)
    fourth = derive(4, third, {"resplit": True}, validation={"sha256": "x" * 64}, test={"sha256": "y" * 64})
    reads = {split: before[split]["reads"] for split in ("validation", "test")}
    assert min(reads.values()) > 0
    for version in (second, third):
        found = get_ledger(client, version)
        assert {split: found["splits"][split]["earlier_reads"] for split in reads} == reads
        assert get_counts(found, "test") == (0, 0, 0, 0)
        assert "In the versions that this one was made from, test labels were looked at" in found["explanation"]
    resplit = get_ledger(client, fourth)["splits"]
    assert resplit["test"]["earlier_reads"] == resplit["validation"]["earlier_reads"] == sum(reads.values())
    assert before["test"]["earlier_reads"] == 0
